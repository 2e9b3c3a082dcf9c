"""Score windows or frames along a recording, which is read in blocks.

Frames of a long recording are scored in overlapping windows at equal distances.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nes2net.data.audio.blocks import pre_emphasise, push_all
from nes2net.data.audio.remarks import Channels, Listener, Remark
from nes2net.data.audio.sources import Audio, blocks_of
from nes2net.data.audio.speech import SpeechFrames
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.lib.errors import InputError, join_names
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import StretchRule, fake_stretches
from nes2net.models.network import Network
from nes2net.scoring.kernel import (
    Scorer,
    check_takes_audio_alone,
    choose_batch_size,
    default_batch_size,
    scores_segments,
    scoring_mode,
    start_rows,
    values_or_raise,
)
from nes2net.scoring.score_length import length_of_training
from nes2net.scoring.stream import Batches, HeldSamples, SecondsDone, Stream, Window

#: Seconds of the longest recording that ``nes2net predict`` scores in one piece, not in windows:
#: memory and time of a transformer grow with the square of the length.
LONG_RECORDING = 120.0
#: Smallest span of the score axis of a plot of logits: with less, noise looks like a large change.
#: The medians of the classes are 9.6 apart for AASIST on 2019 LA, 12.4 for SLS on In-the-Wild, 1.4
#: for a small wav2vec 2.0 trained in minutes (EER 28.5 %).
MIN_SPAN = 4.0


_NO_REMARK = Remark()


@dataclass(frozen=True)
class Track:
    """Scores of windows; higher means more bona fide."""

    times: NDArray = field(repr=False)
    """(K,) float64: centres of the windows in seconds."""
    scores: NDArray = field(repr=False)
    """(K,) float32."""
    window: float
    """Seconds of a window; at most ``duration``."""
    duration: float
    """Seconds of the recording."""
    remark: Remark = _NO_REMARK
    """Such as silence or clipping."""
    speech: NDArray | None = field(default=None, repr=False)
    """(K,) float64: share of speech in each window, if measured."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def judged(self) -> float:
        """Share that the windows cover; below 1 with gaps."""
        return self.share_of(np.ones(len(self), bool))

    def share_of(self, is_chosen: NDArray) -> float:
        """Share of the recording that the chosen windows, (K,) bool, cover."""
        if not is_chosen.any():
            return 0.0
        # Where two windows overlap, count the seconds once.
        covered = self.window + np.minimum(np.diff(self.times[is_chosen]), self.window).sum()
        return min(1.0, float(covered / self.duration))

    @property
    def score(self) -> float:
        """The mean of the scores."""
        return float(self.scores.mean(dtype=np.float64))

    @property
    def lowest(self) -> tuple[float, float, float]:
        """(start, end, score) of the window least like bona fide; in seconds."""
        lowest = int(self.scores.argmin())
        start = float(self.times[lowest]) - self.window / 2
        return start, start + self.window, float(self.scores[lowest])


def score_track(
    stream: Stream, audio: Audio, sample_rate: float | None = None, channels: Channels | None = None
) -> Track:
    """Score windows along ``audio`` by ``stream`` of 16 kHz, for :meth:`nes2net.Detector.score_track`.

    Args:
        channels: compares the channels of ``audio``, for ``stream``; None if ``audio`` is their mean.
    """
    frames = SpeechFrames()
    blocks = push_all(blocks_of(audio, sample_rate, channels), frames)
    scored = list(push_all(blocks, stream))
    starts, ends, scores = zip(*scored)
    # The first window begins at 0 s; a shorter recording is itself the only window.
    window = ends[0]
    times = np.array(starts) + window / 2
    speech = np.array([frames.share(start, end) for start, end in zip(starts, ends)])
    return Track(times, np.array(scores, np.float32), window, ends[-1], stream.remark, speech)


def min_axis_span(score_rule: str) -> float:
    """Smallest span of a score axis: 1 for probabilities and cosines, else :data:`MIN_SPAN`."""
    return 1.0 if score_rule in ("probability", "cosine") else MIN_SPAN


#: Seconds up to which all frames of a recording are scored at once, as published networks do; all
#: utterances of PartialSpoof are shorter.
MAX_PIECE_SECONDS = 30.0
#: Seconds between the starts of windows, roughly, if frames of a longer recording are scored; a
#: window is twice as long.
WINDOW_STEP = 10.0


@dataclass(frozen=True)
class FrameScores:
    """Scores of frames; higher means more bona fide."""

    scores: NDArray = field(repr=False)
    """(T,) float32; frame t begins at t · ``resolution_ms``."""
    resolution_ms: float
    """Length of a frame in ms."""
    duration: float
    """Seconds; the last frame may end a little before."""
    remark: Remark = _NO_REMARK
    """Such as silence or clipping."""
    rule: StretchRule | None = None
    """Finds fake stretches; None if not asked for."""

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def stretches(self) -> list[Segment]:
        """The fake stretches that :attr:`rule` finds."""
        assert self.rule is not None
        return fake_stretches(self.scores, self.resolution_ms, self.duration, self.rule)

    @property
    def times(self) -> NDArray:
        """(T,) float64: starts of the frames in seconds."""
        return np.arange(len(self)) * self.resolution_ms / 1000

    @property
    def track(self) -> Track:
        """The same scores as a :class:`Track`."""
        window = self.resolution_ms / 1000
        return Track(self.times + window / 2, self.scores, window, self.duration)


def frame_scores(
    scorer: Scorer,
    audio: Audio,
    sample_rate: float | None = None,
    *,
    resolution_ms: float | None = None,
    batch_size: int | None = None,
    progress: SecondsDone | None = None,
    channels: Channels | None = None,
    is_emphasised: bool = False,
) -> FrameScores:
    """Score frames, for :meth:`nes2net.Detector.frame_scores`.

    Up to 30 s are scored at once, longer recordings in windows of about 20 s, one about every 10 s,
    or less if the detector reads less. The middle half of each window is kept, and both ends of the
    recording. Windows begin where frames of any length begin, at positions that depend only on the
    detector, so scores do not depend on reading or batching.

    Args:
        resolution_ms: ms of a frame; None for the shortest.
        batch_size: windows at once; None for as many samples as 8 utterances of 4 s on a CPU, 64 on
            a GPU.
        progress: called after each batch with the end of its last window in seconds.
        is_emphasised: whether ``audio`` already has the pre-emphasis of ``scorer``.

    Raises:
        InputError: if ``scorer`` does not score such frames, or fuses other systems; if audio
            cannot be read; or if a score is not finite.
    """
    check_takes_audio_alone(scorer)
    resolution_ms = choose_resolution(scorer, resolution_ms)
    assert scores_segments(scorer)
    grid = WindowGrid.of(scorer)
    # By default, a batch of windows has as many samples as the device's default batch of utterances of 4 s.
    usual = max(1, default_batch_size(scorer.computes_on) * ASVSPOOF_SAMPLES // (2 * grid.step))
    batch_size = choose_batch_size(scorer, batch_size, usual)
    frame = round(resolution_ms * SAMPLE_RATE / 1000)  # in samples
    step = grid.step // frame  # in frames
    listener = Listener(channels)
    blocks = push_all(blocks_of(audio, sample_rate, None if channels else listener.channels), listener)
    emphasised = pre_emphasise(blocks, 0.0 if is_emphasised else scorer.pre_emphasis)
    windows = cut_frame_windows(emphasised, grid.longest, grid.step)
    kept_scores: list[NDArray] = []
    end = 0
    with scoring_mode(scorer):
        for batch in push_all(windows, Batches(batch_size)):
            waveforms = np.stack([window.samples for window in batch])
            if waveforms.shape[1] < scorer.min_samples:  # a single short window is repeated, as in Detector.score()
                waveforms = np.resize(waveforms, (1, scorer.min_samples))
            computed = start_rows(
                scorer,
                "score is {}",
                lambda waveform: scorer.segment_scores(waveform)[resolution_ms],
                torch.from_numpy(waveforms),
            )
            for window, scores in zip(batch, values_or_raise(computed())):
                end = window.start + len(window.samples)
                # Keep only the frames in the middle half of a window, except at both ends of the recording.
                first = 0 if window.start == 0 else step // 2  # in frames, like ``last``
                last = -(-len(window.samples) // frame) if window.is_last else step + step // 2
                if len(scores) < last and not window.is_last:
                    raise InputError(
                        f"the detector gives {len(scores)} scores for {len(window.samples) / SAMPLE_RATE:g} s, which have "
                        f"more frames of {frame} samples: correct the resolutions that its back-end declares"
                    )
                kept_scores.append(scores[first:last].copy())  # copied, because a view would keep the logits in memory
            if progress is not None:
                progress(end / SAMPLE_RATE)
    remark = listener.remark(length_of_training(scorer.provenance), scorer.min_samples)
    return FrameScores(np.concatenate(kept_scores)[: -(-end // frame)], resolution_ms, end / SAMPLE_RATE, remark)


def choose_resolution(scorer: Scorer, resolution_ms: float | None) -> float:
    """Choose the ms of a frame: ``resolution_ms``, else the shortest.

    Raises:
        InputError: if ``scorer`` does not score frames of this length.
    """
    if not scores_segments(scorer):
        raise InputError(
            f"this detector ('{scorer.config['backend']['name']}') scores recordings, not their segments: use a checkpoint "
            "that was trained on segments, or score along the time with `score_track`"
        )
    if resolution_ms is None:
        return scorer.resolutions[0]
    chosen_ms = next((offered for offered in scorer.resolutions if math.isclose(offered, resolution_ms)), None)
    if chosen_ms is None:
        offered = join_names([f"{offered:g}" for offered in scorer.resolutions])
        raise InputError(
            f"this detector scores segments of {offered} ms, not of {resolution_ms:g} ms: change `resolution_ms`"
        )
    return chosen_ms


def cut_frame_windows(blocks: Iterable[NDArray], longest: int, step: int) -> Iterator[Window]:
    """Cut a recording in ``blocks`` (N,) into windows of 2·``step`` samples every ``step`` samples.

    At most ``longest`` samples are one window. Else the last window ends with the recording, and
    has more than ``step`` samples.

    >>> [(w.start, "".join(w.samples)) for w in cut_frame_windows([np.array(list("abcdefghi"))], 6, 2)]
    [(0, 'abcd'), (2, 'cdef'), (4, 'efgh'), (6, 'ghi')]
    """
    samples = HeldSamples()
    start = 0  # number of the first sample of the next window
    for block in blocks:
        samples.append(block)
        if samples.end <= longest:
            continue
        while start + 2 * step < samples.end:
            yield Window(start, samples.cut(start, 2 * step), False)
            start += step
        samples.drop(start)
    yield Window(start, samples.cut(start, samples.end - start), True)


class WindowGrid(NamedTuple):
    """How :func:`cut_frame_windows` cuts a recording, in samples."""

    longest: int
    """Longest recording in a single window."""
    step: int
    """Distance of windows: an even number of frames of every resolution."""

    @classmethod
    def of(cls, scorer: Network) -> WindowGrid:
        """Choose for the detector ``scorer``.

        Raises:
            InputError: if it reads too little at once for a window.
        """
        # ``scorer.resolutions`` are lengths in ms. ``scorer.backend.resolutions`` are the same lengths in frames of the
        # front-end, which have ``hop`` samples.
        hop = round(scorer.resolutions[0] / min(scorer.backend.resolutions) * SAMPLE_RATE / 1000)
        most_frames = scorer.backend.max_frames
        longest_frames = (most_frames - 1) * hop if most_frames is not None else None
        limits = [scorer.used_samples.most, longest_frames]
        most_samples = min((limit for limit in limits if limit is not None), default=None)
        # With the factor 2, half a step is a whole number of frames.
        unit = 2 * math.lcm(*scorer.backend.resolutions) * hop
        step = max(1, round(WINDOW_STEP * SAMPLE_RATE / unit)) * unit
        longest = round(MAX_PIECE_SECONDS * SAMPLE_RATE)
        # Make the windows shorter if the detector reads less audio at once.
        if most_samples is not None:
            step = min(step, most_samples // 2 // unit * unit)
            longest = min(longest, most_samples)
            if not step:
                raise InputError(
                    f"this detector reads {most_samples / SAMPLE_RATE:g} s at once, less than four of its longest segments of "
                    f"{scorer.resolutions[-1]:g} ms: it cannot score segments along a recording: use another detector"
                )
        return cls(longest, step)
