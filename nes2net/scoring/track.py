"""A score along time: the windows of a long recording, read in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nes2net.data.audio import SAMPLE_RATE, stream_audio
from nes2net.data.crop import ASVSPOOF_SAMPLES
from nes2net.errors import InputError
from nes2net.inference import eval_twin, scores_of, waveform_of

if TYPE_CHECKING:
    from nes2net.detector import Detector

#: Seconds of a window: what detectors are trained on, 64,600 samples.
TRACK_WINDOW = ASVSPOOF_SAMPLES / SAMPLE_RATE


@dataclass(frozen=True)
class Track:
    """Scores along a recording; higher means more bona fide.

    ``times`` (K,) float64 are the centres of the windows in seconds and ``scores`` (K,) float32 their scores. ``window`` is how much of
    the recording one score hears and ``duration`` how long the recording is, both in seconds; ``window`` is no more than ``duration``.
    """

    times: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)
    window: float
    duration: float

    def __len__(self) -> int:
        return len(self.times)


def score_track(
    detector: Detector,
    audio: str | Path | np.ndarray | Tensor,
    sample_rate: float = SAMPLE_RATE,
    *,
    window: float = TRACK_WINDOW,
    hop: float = 0.5,
    batch_size: int = 8,
) -> Track:
    """As :meth:`Detector.score_track`, which see."""
    length, step = window_samples(detector, window, hop)
    if batch_size < 1:
        raise InputError(f"batch_size is at least 1, not {batch_size}")
    blocks = stream_audio(audio) if isinstance(audio, (str, Path)) else [waveform_of(audio, sample_rate)]
    detector = eval_twin(detector)
    starts: list[int] = []
    scores: list[float] = []
    end = 0
    windows = sliding_windows(blocks, length, step)
    while batch := list(islice(windows, batch_size)):
        batch_starts, waveforms = zip(*batch)
        end = batch_starts[-1] + len(waveforms[-1])
        if end < detector.min_samples:
            waveforms = [np.resize(waveforms[0], detector.min_samples)]  # repeated, as score() does
        starts += batch_starts
        scores += scores_of(detector, torch.from_numpy(np.stack(waveforms)))
    heard = min(length, end) / SAMPLE_RATE
    times = np.array(starts) / SAMPLE_RATE + heard / 2
    return Track(times, np.array(scores, np.float32), heard, end / SAMPLE_RATE)


def sliding_windows(blocks: Iterable[np.ndarray], length: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """(start, samples) of every ``hop``-th window of ``length`` samples of a recording that comes in ``blocks``.

    The last one ends where the recording does. One shorter than a window is a window by itself.

    >>> [(start, "".join(x)) for start, x in sliding_windows([np.array(list("abcde")), np.array(list("fghi"))], 4, 3)]
    [(0, 'abcd'), (3, 'defg'), (5, 'fghi')]
    """
    held, first = np.zeros(0, np.float32), 0  # ``held`` begins with sample number ``first``
    start, last = 0, None  # of the next window and the one before it
    pieces: list[np.ndarray] = []
    end = 0
    for block in blocks:
        pieces.append(block)
        end += len(block)
        # Two windows of samples: within a long hop too, no more is kept than the last window may need.
        if end < min(start + length, first + 2 * length):
            continue
        held, pieces = np.concatenate([held, *pieces]), []
        while start + length <= end:
            yield start, held[start - first : start - first + length]
            last, start = start, start + hop
        # Before the next window only what the last one may need, which ends with the recording.
        drop = max(0, min(start - first, len(held) - length))
        held, first = held[drop:], first + drop
    held = np.concatenate([held, *pieces])
    if last is None:
        yield 0, held
    elif last + length < end:
        yield end - length, held[-length:]


def window_samples(detector: Detector, window: float, hop: float) -> tuple[int, int]:
    """``window`` and ``hop`` (seconds) in samples; :class:`InputError` if they are not positive, or too short for ``detector``."""
    for name, seconds in (("window", window), ("hop", hop)):
        if not 0.5 / SAMPLE_RATE < seconds < float("inf"):
            raise InputError(f"the {name} is a positive number of seconds, not {seconds}")
    length = round(window * SAMPLE_RATE)
    if length < detector.min_samples:
        shortest = detector.min_samples / SAMPLE_RATE
        raise InputError(f"a window of {window:g} s is too short for this detector, which needs {shortest:.4g} s")
    return length, round(hop * SAMPLE_RATE)
