"""Scores along a long recording, one per window; the recording is read in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from nes2net.audio.read import SAMPLE_RATE
from nes2net.audio.remarks import Listener
from nes2net.errors import InputError
from nes2net.published_models import length_of_training
from nes2net.scoring.batches import default_batch_size
from nes2net.scoring.kernel import score_or_raise
from nes2net.scoring.scorer import Scorer, check_takes_audio_alone, depends_on_batch
from nes2net.scoring.waveforms import Audio, stream_of

#: Seconds beyond which ``nes2net predict`` scores along a recording. In one piece, the memory and
#: the time of a transformer grow with the square of its length.
LONG_RECORDING = 120.0
#: The least span of the score axis, so that noise does not look like a cliff. Scores are logits: the
#: medians of the classes lie 9.6 apart for AASIST on 2019 LA, 12.4 for SLS on In-the-Wild, and 1.4
#: for the demonstration's small wav2vec 2.0, whose EER is 28.5 %.
LEAST_SPAN = 4.0


@dataclass(frozen=True)
class Track:
    """Scores along a recording; higher means more bona fide."""

    times: np.ndarray = field(repr=False)
    """(K,) float64: the centres of the windows in seconds."""
    scores: np.ndarray = field(repr=False)
    """(K,) float32: their scores."""
    window: float
    """Length of the window of one score in seconds; at most ``duration``."""
    duration: float
    """Length of the recording in seconds."""
    remark: str = ""
    """What is remarkable about it (:mod:`nes2net.audio.remarks`); empty if nothing is."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def score(self) -> float:
        """The mean of the scores: one score for the recording."""
        return float(self.scores.mean(dtype=np.float64))

    @property
    def lowest(self) -> tuple[float, float, float]:
        """The window least like bona fide speech: its start and end in seconds, and its score."""
        place = int(self.scores.argmin())
        start = float(self.times[place]) - self.window / 2
        return start, start + self.window, float(self.scores[place])


def score_track(
    scorer: Scorer,
    audio: Audio,
    sample_rate: float | None = None,
    *,
    window: float | None = None,
    hop: float = 0.5,
    batch_size: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Track:
    """Score a recording along time, as :meth:`nes2net.Detector.score_track`.

    Args:
        progress: is called after each batch with the seconds up to which windows are scored.
    """
    check_takes_audio_alone(scorer)
    trained_on = length_of_training(scorer.record)
    length, step = window_samples(scorer, trained_on / SAMPLE_RATE if window is None else window, hop)
    batch_size = default_batch_size(scorer.computes_on) if batch_size is None else batch_size
    if batch_size < 1:
        raise InputError(f"`batch_size` is at least 1, not {batch_size}")
    if depends_on_batch(scorer):  # each window alone
        batch_size = 1
    blocks = stream_of(audio, sample_rate)
    listener = Listener()
    starts: list[int] = []
    scores: list[float] = []
    end = 0
    windows = sliding_windows(listener.heard(blocks), length, step)
    while batch := list(islice(windows, batch_size)):
        batch_starts, waveforms = zip(*batch)
        end = batch_starts[-1] + len(waveforms[-1])
        if end < scorer.min_samples:
            waveforms = (np.resize(waveforms[0], scorer.min_samples),)  # repeated, as score() does
        starts += batch_starts
        scores += score_or_raise(scorer, torch.from_numpy(np.stack(waveforms)))
        if progress is not None:
            progress(end / SAMPLE_RATE)
    heard = min(length, end) / SAMPLE_RATE
    times = np.array(starts) / SAMPLE_RATE + heard / 2
    remark = listener.remark(trained_on, scorer.min_samples)
    return Track(times, np.array(scores, np.float32), heard, end / SAMPLE_RATE, remark)


def least_span(score_rule: str) -> float:
    """The least span of an axis of scores by this rule: :data:`LEAST_SPAN`, or all of a probability."""
    return 1.0 if score_rule in ("probability", "cosine") else LEAST_SPAN


def sliding_windows(blocks: Iterable[np.ndarray], length: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a recording into windows of ``length`` samples, one every ``hop`` samples.

    The last window ends with the recording. A recording shorter than a window is one window.

    Args:
        blocks: consecutive pieces of the recording, (N,) each.

    Yields:
        The number of the first sample of each window, and its samples.

    >>> [(start, "".join(x)) for start, x in sliding_windows([np.array(list("abcde")), np.array(list("fghi"))], 4, 3)]
    [(0, 'abcd'), (3, 'defg'), (5, 'fghi')]
    """
    held: np.ndarray = np.zeros(0, np.float32)
    first = end = 0  # ``held`` and ``pieces`` hold the samples from number ``first`` up to ``end``
    pieces: list[np.ndarray] = []
    start, last = 0, None  # starts of the next window and of the one before it
    for block in blocks:
        pieces.append(block)
        end += len(block)
        # At most two windows of samples are kept, also within a long hop: the last window may need
        # them.
        if end < min(start + length, first + 2 * length):
            continue
        held, pieces = np.concatenate([held, *pieces]), []
        while start + length <= end:
            yield start, held[start - first : start - first + length]
            last, start = start, start + hop
        # Drop what neither the next window nor the last one, which ends with the recording, may
        # need.
        drop = max(0, min(start - first, len(held) - length))
        held, first = held[drop:], first + drop
    held = np.concatenate([held, *pieces])
    if last is None:
        yield 0, held
    elif last + length < end:
        yield end - length, held[-length:]


def window_samples(scorer: Scorer, window: float, hop: float) -> tuple[int, int]:
    """Convert ``window`` and ``hop`` from seconds to samples.

    A window is cut to what ``scorer`` reads of it, if the next one begins before that ends.

    Raises:
        InputError: if one of them is not positive, the window is too short for ``scorer``, or there
            would be gaps between what it reads of the windows.
    """
    for name, seconds in (("window", window), ("hop", hop)):
        if not 0.5 / SAMPLE_RATE < seconds < float("inf"):
            raise InputError(f"the {name} must be a positive number of seconds, not {seconds}")
    length, step = round(window * SAMPLE_RATE), round(hop * SAMPLE_RATE)
    if length < scorer.min_samples:
        shortest = scorer.min_samples / SAMPLE_RATE
        raise InputError(f"a window of {window:g} s is too short for this detector, which needs {shortest:.4g} s")
    if (most := scorer.used_samples.most) is not None and length > most:
        if step > most:
            raise InputError(
                f"a window of {window:g} s is too long for this detector, which reads its first {most / SAMPLE_RATE:g} s: "
                "take a shorter `window`, or a shorter `hop`"
            )
        length = most
    return length, step
