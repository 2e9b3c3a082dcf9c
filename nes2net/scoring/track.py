"""Scores along a recording, which is read in pieces: one per window, or one per frame.

Frames are scored in one piece; in a long recording they are scored in overlapping windows on a
fixed grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from nes2net.data.audio.blocks import pushed
from nes2net.data.audio.remarks import Channels, Listener, Remark
from nes2net.data.audio.sources import Audio, blocks_of
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.lib.errors import InputError, listed
from nes2net.scoring.kernel import (
    Scorer,
    SegmentScorer,
    check_takes_audio_alone,
    chosen_batch_size,
    default_batch_size,
    scoring_mode,
    start_rows,
)
from nes2net.scoring.score_length import length_of_training
from nes2net.scoring.stream import Batches, HeldSamples, Stream, Window

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
        lowest = int(self.scores.argmin())
        start = float(self.times[lowest]) - self.window / 2
        return start, start + self.window, float(self.scores[lowest])


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
    compared = channels or Channels()
    stream = Stream(
        scorer, SAMPLE_RATE, window=window, hop=hop, batch_size=batch_size, channels=compared, progress=progress
    )
    blocks = blocks_of(audio, sample_rate, None if channels else compared)
    scored = list(pushed(blocks, stream))
    starts, ends, scores = zip(*scored)
    window = ends[0]  # or the whole of a shorter recording
    times = np.array(starts) + window / 2
    return Track(times, np.array(scores, np.float32), window, ends[-1], stream.remark)


def least_span(score_rule: str) -> float:
    """The least span of an axis of scores by this rule: :data:`LEAST_SPAN`, or all of a probability."""
    return 1.0 if score_rule in ("probability", "cosine") else LEAST_SPAN


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
    blocks = pushed(blocks_of(audio, sample_rate, listener.channels), listener)
    windows = pushed(blocks, FrameWindows(grid.longest, grid.step))
    kept_scores: list[np.ndarray] = []
    end = 0
    with scoring_mode(scorer):
        for batch in pushed(windows, Batches(batch_size)):
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
                kept_scores.append(scores[first:last].copy())  # a view would keep the logits in memory
            if progress is not None:
                progress(end / SAMPLE_RATE)
    remark = listener.remark(length_of_training(scorer.provenance), scorer.min_samples)
    return FrameScores(np.concatenate(kept_scores)[: -(-end // frame)], resolution_ms, end / SAMPLE_RATE, remark)


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
    chosen_ms = next((offered for offered in resolutions if math.isclose(offered, resolution_ms)), None)
    if chosen_ms is None:
        offered = listed([f"{offered:g}" for offered in resolutions])
        raise InputError(
            f"this detector scores segments of {offered} ms, not of {resolution_ms:g} ms: change `resolution_ms`"
        )
    return chosen_ms


class FrameWindows:
    """Cuts a recording that arrives into windows of 2·``step`` samples, one every ``step``.

    The last window ends with the recording and has more than ``step`` samples. A recording of at
    most ``longest`` samples is one window. It is a :class:`nes2net.data.audio.blocks.Stage`.

    >>> windows = FrameWindows(6, 2)
    >>> [(w.start, "".join(w.samples)) for w in (*windows.push(np.array(list("abcdefghi"))), *windows.finish())]
    [(0, 'abcd'), (2, 'cdef'), (4, 'efgh'), (6, 'ghi')]
    """

    def __init__(self, longest: int, step: int) -> None:
        self._longest = longest
        self._step = step
        self._held = HeldSamples()
        self._start = 0  # of the next window

    def push(self, block: np.ndarray) -> Iterator[Window]:
        """Take the next samples (N,); yield the windows behind which there are more samples."""
        samples = self._held
        samples.append(block)
        if samples.end <= self._longest:
            return
        while self._start + 2 * self._step < samples.end:
            window = Window(self._start, samples.cut(self._start, 2 * self._step), False)
            self._start += self._step
            yield window
        samples.drop(self._start)

    def finish(self) -> Iterator[Window]:
        """Yield the last window."""
        yield Window(self._start, self._held.cut(self._start, self._held.end - self._start), True)


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
        longest_frames = None
        if most_frames is not None:
            longest_frames = (most_frames - 1) * hop
        limits = [scorer.used_samples.most, longest_frames]
        most_samples = min((limit for limit in limits if limit is not None), default=None)
        unit = 2 * math.lcm(*scorer.backend.resolutions) * hop  # half a step is whole frames, too
        step = max(1, round(WINDOW_STEP * SAMPLE_RATE / unit)) * unit
        longest = round(LONGEST_PIECE * SAMPLE_RATE)
        if most_samples is not None:
            step = min(step, most_samples // 2 // unit * unit)
            longest = min(longest, most_samples)
            if not step:
                raise InputError(
                    f"this detector reads {most_samples / SAMPLE_RATE:g} s at once, less than four of its longest segments of "
                    f"{scorer.resolutions[-1]:g} ms: it cannot score segments along a recording"
                )
        return cls(longest, step)
