"""Scores along a recording, which is read in pieces: one per window, or one per frame.

Frames are scored in one piece; in a long recording they are scored in overlapping windows on a
fixed grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.data.audio.remarks import Channels, Listener, Remark
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.lib.errors import InputError, listed
from nes2net.scoring.heard import length_of_training
from nes2net.scoring.kernel import (
    Scorer,
    SegmentScorer,
    check_takes_audio_alone,
    chosen_batch_size,
    default_batch_size,
    score_or_raise,
    scoring_mode,
    start_rows,
)
from nes2net.scoring.waveforms import Audio, stream_of

#: Seconds beyond which ``nes2net predict`` scores along a recording. In one piece, the memory and
#: the time of a transformer grow with the square of its length.
LONG_RECORDING = 120.0
#: The least span of the score axis, so that noise does not look like a cliff. Scores are logits: the
#: medians of the classes lie 9.6 apart for AASIST on 2019 LA, 12.4 for SLS on In-the-Wild, and 1.4
#: for a small wav2vec 2.0 that was trained in minutes, whose EER is 28.5 %.
LEAST_SPAN = 4.0


_NOTHING = Remark()


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
    remark: Remark = _NOTHING
    """What is remarkable about it."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def judged(self) -> float:
        """Share of the recording that lies in a window: below 1 if the windows have gaps."""
        covered = self.window + np.minimum(np.diff(self.times), self.window).sum()
        return min(1.0, float(covered / self.duration))

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
    channels: Channels | None = None,
) -> Track:
    """Score a recording along time, as :meth:`nes2net.Detector.score_track`.

    Args:
        channels: compared the channels of which ``audio`` is the mean; None if it has its own.
        progress: is called after each batch with the seconds up to which windows are scored.
    """
    check_takes_audio_alone(scorer)
    trained_on = length_of_training(scorer.record)
    length, step = window_samples(scorer, trained_on / SAMPLE_RATE if window is None else window, hop)
    batch_size = chosen_batch_size(scorer, batch_size)
    listener = Listener(channels)
    blocks = stream_of(audio, sample_rate, None if channels else listener.channels)
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

    A window is cut to the part that ``scorer`` reads, if the next window begins before that part
    ends.

    Raises:
        InputError: if one of them is not positive, the window is too short for ``scorer``, or there
            would be gaps between the parts that it reads.
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


#: Seconds up to which a recording is scored in one piece. The authors' networks score whole
#: utterances, and PartialSpoof's utterances are shorter.
LONGEST_PIECE = 30.0
#: Approximate seconds from one window of a longer recording to the next; a window is twice as long.
WINDOW_STEP = 10.0


@dataclass(frozen=True)
class FrameScores:
    """Scores of the frames of a recording; higher means more bona fide."""

    scores: np.ndarray = field(repr=False)
    """(T,) float32. Frame t begins t times the resolution after the beginning of the recording."""
    resolution_ms: float
    """Length of a frame in ms."""
    duration: float
    """Length of the recording in seconds; the frames may end a little before it."""
    remark: Remark = _NOTHING
    """What is remarkable about it."""

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def times(self) -> np.ndarray:
        """(T,) float64: the beginnings of the frames in seconds."""
        return np.arange(len(self)) * self.resolution_ms / 1000

    @property
    def track(self) -> Track:
        """The same as a track, whose windows are the frames."""
        window = self.resolution_ms / 1000
        return Track(self.times + window / 2, self.scores, window, self.duration)


def frame_scores(
    scorer: SegmentScorer,
    audio: Audio,
    sample_rate: float | None = None,
    *,
    resolution_ms: float | None = None,
    batch_size: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> FrameScores:
    """Score the frames of a recording, as :meth:`nes2net.Detector.frame_scores`.

    Up to 30 s are scored in one piece. A longer recording is scored in windows of about 20 s that
    begin about every 10 s. The middle half of each window is kept, and also the outer quarter of
    the first and of the last one. Windows begin at whole frames of every resolution, and their
    places depend on nothing else, so the scores do not depend on how the recording is read or
    batched. A detector that reads less at once has shorter pieces and windows.

    Args:
        batch_size: windows that are computed at once; None for as many as have the samples of 8
            utterances of 4 s on a CPU, or of 64 on a GPU.
        progress: is called after each batch with the seconds up to which frames are scored.
    """
    check_takes_audio_alone(scorer)
    resolution_ms = chosen_resolution(scorer, resolution_ms)
    grid = Grid.of(scorer)
    # As many samples as in scoring utterances of 4 s.
    usual = max(1, default_batch_size(scorer.computes_on) * ASVSPOOF_SAMPLES // (2 * grid.step))
    batch_size = chosen_batch_size(scorer, batch_size, usual)
    frame = round(resolution_ms * SAMPLE_RATE / 1000)
    step = grid.step // frame
    listener = Listener()
    blocks = stream_of(audio, sample_rate, listener.channels)
    kept: list[np.ndarray] = []
    end = 0
    with scoring_mode(scorer):
        for batch in _batches(windows(listener.heard(blocks), grid.longest, grid.step), batch_size):
            waveforms = np.stack([window.samples for window in batch])
            if waveforms.shape[1] < scorer.min_samples:  # one window, repeated as score() does
                waveforms = np.resize(waveforms, (1, scorer.min_samples))
            computed = start_rows(
                scorer,
                "score is {}",
                lambda waveform: scorer.segment_scores(waveform)[resolution_ms],
                torch.from_numpy(waveforms),
            )
            for window, scores in zip(batch, computed()):
                if isinstance(scores, str):
                    raise InputError(scores)
                end = window.start + len(window.samples)
                # All but the first and the last half step; the recording's own ends are kept.
                first = 0 if window.start == 0 else step // 2
                last = -(-len(window.samples) // frame) if window.is_last else step + step // 2
                if len(scores) < last and not window.is_last:
                    raise InputError(
                        f"the detector gives {len(scores)} scores for {len(window.samples) / SAMPLE_RATE:g} s, which have "
                        f"more frames of {frame} samples: its back-end declares wrong resolutions"
                    )
                kept.append(scores[first:last].copy())  # a view would keep the logits in memory
            if progress is not None:
                progress(end / SAMPLE_RATE)
    remark = listener.remark(length_of_training(scorer.record), scorer.min_samples)
    return FrameScores(np.concatenate(kept)[: -(-end // frame)], resolution_ms, end / SAMPLE_RATE, remark)


def chosen_resolution(scorer: Scorer, resolution_ms: float | None) -> float:
    """The length of a frame in ms that was asked for, or for None the shortest that ``scorer`` scores.

    Raises:
        InputError: if ``scorer`` does not score frames of that length, or none at all.
    """
    resolutions = tuple(getattr(scorer, "resolutions", ()))  # exported detectors have none
    if not resolutions:
        raise InputError(
            f"this detector ('{scorer.config['backend']['name']}') scores recordings, not their segments: take one that was "
            "trained on segments (docs/localisation.md), or score along the time with `score_track`"
        )
    if resolution_ms is None:
        return resolutions[0]
    found = next((known for known in resolutions if math.isclose(known, resolution_ms)), None)
    if found is None:
        known = listed([f"{known:g}" for known in resolutions])
        raise InputError(
            f"this detector scores segments of {known} ms, not of {resolution_ms:g} ms: change `resolution_ms`"
        )
    return found


class Window(NamedTuple):
    """A piece of a recording that is scored at once."""

    start: int
    """Number of its first sample."""
    samples: np.ndarray
    """(N,) float32."""
    is_last: bool


def windows(blocks: Iterable[np.ndarray], longest: int, step: int) -> Iterator[Window]:
    """Cut a recording into windows of 2·``step`` samples, one every ``step``.

    The last window ends with the recording and has more than ``step`` samples. A recording of at
    most ``longest`` samples is one window.

    Args:
        blocks: consecutive pieces of the recording, (N,) each.

    >>> [(w.start, "".join(w.samples)) for w in windows([np.array(list("abcdefghi"))], 6, 2)]
    [(0, 'abcd'), (2, 'cdef'), (4, 'efgh'), (6, 'ghi')]
    """
    held: np.ndarray = np.zeros(0, np.float32)
    pieces: list[np.ndarray] = []
    start = end = 0  # ``held`` and ``pieces`` hold the samples from number ``start`` up to ``end``
    for block in blocks:
        pieces.append(block)
        end += len(block)
        if end <= max(longest, start + 2 * step):
            continue
        held, pieces = np.concatenate([*([held] if len(held) else []), *pieces]), []
        first = start
        while start + 2 * step < end:
            yield Window(start, held[start - first : start - first + 2 * step], False)
            start += step
        held = held[start - first :].copy()  # a view would keep all samples in memory
    yield Window(start, np.concatenate([*([held] if len(held) else []), *pieces]), True)


class Grid(NamedTuple):
    """How a recording is cut, in samples."""

    longest: int
    """Longest recording that is one piece."""
    step: int
    """From one window to the next, an even number of frames of every resolution."""

    @classmethod
    def of(cls, scorer: SegmentScorer) -> Grid:
        """The grid for ``scorer``.

        Raises:
            InputError: if it does not read enough at once for a window.
        """
        hop = round(scorer.resolutions[0] / min(scorer.backend.resolutions) * SAMPLE_RATE / 1000)
        most_frames = scorer.backend.max_frames
        limits = [scorer.used_samples.most, None if most_frames is None else (most_frames - 1) * hop]
        most = min((limit for limit in limits if limit is not None), default=None)
        unit = 2 * math.lcm(*scorer.backend.resolutions) * hop  # half a step is whole frames, too
        step = max(1, round(WINDOW_STEP * SAMPLE_RATE / unit)) * unit
        longest = round(LONGEST_PIECE * SAMPLE_RATE)
        if most is not None:
            step, longest = min(step, most // 2 // unit * unit), min(longest, most)
            if not step:
                raise InputError(
                    f"this detector reads {most / SAMPLE_RATE:g} s at once, less than four of its longest segments of "
                    f"{scorer.resolutions[-1]:g} ms: it cannot score segments along a recording"
                )
        return cls(longest, step)


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Batches of at most ``size`` consecutive windows of one length."""
    for _, equal in groupby(windows, lambda window: len(window.samples)):
        while batch := list(islice(equal, size)):
            yield batch
