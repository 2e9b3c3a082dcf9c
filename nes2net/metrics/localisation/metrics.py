"""Equal error rates of frames and of time, by the definitions of the PartialSpoof database.

The point-based EER counts frames: L. Zhang et al., IEEE/ACM TASLP 31, 2023 (arXiv 2204.05177). The
range-based EER counts seconds: L. Zhang, X. Wang, E. Cooper, N. Evans, J. Yamagishi, "Range-based
equal error rate for spoof localization", Interspeech 2023 (arXiv 2305.17739).

In reading order: ``measure_frames`` prepares frames for ``point_eer``; ``range_eer`` counts
seconds; ``point_eer_of`` and ``range_eer_of`` take sorted frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError
from nes2net.metrics.eer import check_scores, eer_of_sorted, last_of_ties
from nes2net.metrics.intervals import Interval
from nes2net.metrics.localisation.segments import ROUNDING, SPOOF, frame_labels

Tail = Literal["bonafide", "last"]
"""Class of the time after the last frame, see :func:`range_eer`."""


class ScoredUtterance(NamedTuple):
    """An utterance with frame scores and true segments."""

    scores: ArrayLike
    """(T,)."""
    segments: Sequence[tuple]
    """(label, start, end) in seconds; a label is ``"bonafide"`` or ``"spoof"``."""
    duration: float
    """In seconds."""
    labels_10ms: NDArray | None = None
    """By default made from ``segments``."""
    name: str = "an utterance"
    """For error messages."""


class PointEer(NamedTuple):
    """An EER over frames, as a fraction, and the number of frames of each class."""

    eer: float
    threshold: float
    """The highest score that is called spoof."""
    num_bonafide: int
    num_spoof: int


class RangeEer(NamedTuple):
    """An EER over seconds, as a fraction, and the seconds of each class."""

    eer: float
    threshold: float
    """The highest score that is called spoof."""
    fpr: float
    """Fraction of bona fide time that is called spoof."""
    fnr: float
    """Fraction of spoofed time that is not called spoof."""
    bonafide_seconds: float
    spoof_seconds: float


# Point-based EER


def point_eer(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> PointEer:
    """Compute the point-based EER: over all frames of all utterances, by the ASVspoof rule.

    Args:
        scores: frame scores of each utterance, (T,).
        labels: frame labels of each utterance, (T,): 1 bona fide, 0 spoof; −1 is ignored.

    Raises:
        InputError: if lengths differ, a score is NaN, or a class has no frames.

    >>> point_eer([[2.0, -1.0, 1.0], [0.5, -2.0]], [[1, 0, 1], [0, 1]]).eer
    0.41666666666666663
    """
    return point_eer_of(sort_frames(join_frames(scores, labels)))


def point_eer_of(frames: TimedFrames) -> PointEer:
    """Compute :func:`point_eer` from :func:`sort_frames`.

    Raises:
        InputError: if a class has no frames.
    """
    numbers = class_sums(frames.totals).astype(int).tolist()
    return PointEer(*eer_of_sorted(frames.scores, frames.bonafide, frames.spoof), *numbers)


def sort_frames(frames: Frames) -> TimedFrames:
    """Sort frames by score, bona fide first among equal scores, without frames of label −1.

    Neighbouring frames of an utterance with equal scores and labels are merged; scores that were
    repeated for a finer resolution have many. Amounts in the result are numbers of frames.

    Raises:
        InputError: if there are no frames, or a score is NaN.
    """
    scores = check_scores(frames.scores, "frame")
    labels = frames.labels
    num_utterances = len(frames.counts)
    # (N,): whether a frame begins a run that becomes one element; each utterance begins a run.
    begins = np.append(True, (scores[1:] != scores[:-1]) | (labels[1:] != labels[:-1]))
    begins[frames.starts[frames.counts > 0]] = True
    utterance = np.arange(num_utterances, dtype=np.int32).repeat(frames.counts)[begins]
    copies = np.diff(np.flatnonzero(begins), append=len(begins)).astype(np.int32)
    scores = scores[begins]
    labels = labels[begins]
    del frames, begins  # this frees about 200 MB if the caller does not keep the frames
    order = np.lexsort((labels != 1, scores))
    if (labels < 0).any():
        order = order[labels[order] >= 0]
    scores = scores[order]
    bonafide = labels[order] == 1
    utterance = utterance[order]
    copies = copies[order]
    amounts = copies * bonafide, copies * ~bonafide
    totals = [np.bincount(utterance, of_class, num_utterances) for of_class in amounts]
    return TimedFrames(scores, *amounts, utterance, np.stack(totals, 1))


def join_frames(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> Frames:
    """Join the frames of all utterances; ``scores`` and ``labels`` have (T,) for each.

    Raises:
        InputError: if there are no utterances, or scores and labels differ in length.
    """
    score_rows = []
    label_rows = []
    for number, (utterance_scores, utterance_labels) in enumerate(zip(scores, labels, strict=True)):
        score_row = np.asarray(utterance_scores)
        label_row = np.asarray(utterance_labels)
        if score_row.ndim != 1 or score_row.shape != label_row.shape:
            raise InputError(
                f"utterance {number} has scores of shape {score_row.shape} and labels of shape {label_row.shape}; "
                "cut both to the shorter, by nes2net.metrics.localisation.align"
            )
        score_rows.append(score_row)
        label_rows.append(label_row)
    if not score_rows:
        raise InputError("there are no utterances, but an error rate needs at least one: give some")
    joined_scores, counts = _join_rows(score_rows)
    return Frames(joined_scores, np.concatenate(label_rows), counts)


def measure_frames(
    utterances: Sequence[ScoredUtterance], resolution_ms: int, measured_at: int, *, by_segments: bool = True
) -> list[tuple[NDArray, NDArray]]:
    """Prepare (scores, labels), (T,) each, of each utterance at one resolution, as published.

    At the resolution of the scores, 10-ms labels are pooled by
    :func:`~nes2net.metrics.localisation.frames.pool_labels`. A coarser frame has the lowest score
    and the lowest label of its frames, which makes the EER optimistic. For a finer resolution,
    scores are repeated.

    Args:
        resolution_ms: frames of the scores in ms, a multiple of 10.
        measured_at: resolution of the EER in ms, a multiple or a divisor of ``resolution_ms``.
        by_segments: whether finer labels are made from segments, as published, or from 10-ms
            labels.

    Raises:
        InputError: if neither resolution is a multiple of the other, or an utterance has no scores.
    """
    frames = measure_joined_frames(utterances, resolution_ms, measured_at, by_segments=by_segments)
    ends = frames.counts.cumsum()[:-1]
    return list(zip(np.split(frames.scores, ends), np.split(frames.labels, ends)))


class Frames(NamedTuple):
    """Frames of all utterances, one utterance after another."""

    scores: NDArray
    """(N,)."""
    labels: NDArray
    """(N,): 1 bona fide, 0 spoof, −1 ignored."""
    counts: NDArray
    """(U,), the number of frames of each utterance."""

    @property
    def starts(self) -> NDArray:
        """(U,), the index of the first frame of each utterance."""
        return self.counts.cumsum() - self.counts


def measure_joined_frames(
    utterances: Sequence[ScoredUtterance],
    resolution_ms: int,
    measured_at: int,
    *,
    by_segments: bool = True,
    score_frames: Frames | None = None,
) -> Frames:
    """Prepare frames by :func:`measure_frames`, with the same errors, for all utterances in one.

    Args:
        score_frames: the result for ``measured_at = resolution_ms``, if known.
    """
    frames = score_frames
    if frames is None:
        pooled = _pool_labels(utterances, _frames_in_longer_frame(resolution_ms, 10))
        scores, counts = _join_rows([np.asarray(utterance.scores) for utterance in utterances])
        if not counts.all():
            raise InputError(f"{utterances[int(counts.argmin())].name} has no scores: score it, or omit it")
        frames = _align_frames(scores, counts, *pooled)
    if measured_at > resolution_ms:
        # Frames that remain at the end of an utterance form one more long frame.
        factor = _frames_in_longer_frame(measured_at, resolution_ms)
        counts = -(-frames.counts // factor)  # rounded up
        # For each long frame, the index of its first short one. A long frame is as bad as its worst.
        first = frames.starts.repeat(counts) + _positions_in_utterances(counts) * factor
        return Frames(np.minimum.reduceat(frames.scores, first), np.minimum.reduceat(frames.labels, first), counts)
    if measured_at < resolution_ms:
        factor = _frames_in_longer_frame(resolution_ms, measured_at)
        if by_segments:
            finer = _join_rows([frame_labels(u.segments, measured_at, u.duration) for u in utterances])
        else:
            finer = _pool_labels(utterances, _frames_in_longer_frame(measured_at, 10))
        return _align_frames(frames.scores.repeat(factor), frames.counts * factor, *finer)
    return frames


def _join_rows(rows: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    return np.concatenate(rows), np.array([len(row) for row in rows])


def _positions_in_utterances(counts: NDArray) -> NDArray:
    """Number the frames of each utterance from 0, such as (2, 1) → (0, 1, 0)."""
    return np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)


def _cut_each_utterance(values: NDArray, counts: NDArray, lengths: NDArray) -> NDArray:
    """Keep the first ``lengths`` (U,) of each utterance's ``counts`` (U,) values."""
    if (counts == lengths).all():
        return values
    # For each utterance in turn: how many values to keep, and how many to drop at its end.
    is_kept = np.tile([True, False], len(counts))
    return values[is_kept.repeat(np.stack((lengths, counts - lengths), 1).ravel())]


def _pool_labels(utterances: Sequence[ScoredUtterance], factor: int) -> tuple[NDArray, NDArray]:
    """Pool 10-ms labels by ``factor``: labels (N,), and numbers of long frames (U,).

    Raises InputError if an utterance has no labels.
    """
    labels, counts = _join_rows([_labels_10ms(utterance) for utterance in utterances])
    if not counts.all():
        raise InputError(f"{utterances[int(counts.argmin())].name} has no labels: add labels, or omit it")
    num_frames = np.maximum(counts // factor, 1)
    used = np.where(counts < factor, counts, num_frames * factor)  # how many labels of each utterance are pooled
    # (N,): where the labels of each long frame begin, among the used labels of all utterances.
    first = (used.cumsum() - used).repeat(num_frames) + _positions_in_utterances(num_frames) * factor
    return np.minimum.reduceat(_cut_each_utterance(labels, counts, used), first), num_frames


def _align_frames(scores: NDArray, score_counts: NDArray, labels: NDArray, label_counts: NDArray) -> Frames:
    counts = np.minimum(score_counts, label_counts)
    return Frames(
        _cut_each_utterance(scores, score_counts, counts), _cut_each_utterance(labels, label_counts, counts), counts
    )


# Range-based EER


def range_eer(utterances: Sequence[ScoredUtterance], resolution_ms: float, tail: Tail = "bonafide") -> RangeEer:
    """Compute the range-based EER, which is over the seconds of all utterances.

    Frame t begins at t times the length of a frame and lasts until the next frame or the end of the
    utterance; later frames are ignored. Time outside of spoofed segments is bona fide. A frame is
    called spoof if its score is at or below the threshold. The EER is (FPR + FNR)/2 at the first of
    the thresholds −∞ and all scores, ascending, where ``|FPR − FNR|`` is smallest. (The published
    script searches by a bisection that may never end.)

    Args:
        resolution_ms: length of a frame in ms.
        tail: class of the time after the last frame: ``"bonafide"`` as published, or ``"last"`` for
            the class of the last frame, as in WeDefense.

    Raises:
        InputError: if a class has no time, there are no scores, a score is NaN, or a segment lies
            outside of its utterance.

    >>> half = ScoredUtterance([1.0, 1.0, -1.0, 1.0], [("spoof", 0.03, 0.08)], 0.08)
    >>> result = range_eer([half], 20)
    >>> round(result.fpr, 6), round(result.fnr, 6), round(result.eer, 6)
    (0.0, 0.6, 0.3)
    """
    return range_eer_of(time_frames(utterances, resolution_ms, tail))


def range_eer_of(time: TimedFrames) -> RangeEer:
    """Compute :func:`range_eer` from :func:`time_frames`.

    Raises:
        InputError: if a class has no time.
    """
    seconds = class_sums(time.totals)
    ends = last_of_ties(time.scores)
    # (distinct scores + 1,): at a threshold below all scores, then at each.
    fpr = np.append(0.0, time.bonafide.cumsum()[ends] / seconds[0])
    fnr = np.append(1.0, 1 - time.spoof.cumsum()[ends] / seconds[1])
    nearest = int(np.argmin(np.abs(fpr - fnr)))
    threshold = float(time.scores[ends[nearest - 1]]) if nearest else -np.inf
    rates = float(fpr[nearest]), float(fnr[nearest])
    return RangeEer(sum(rates) / 2, threshold, *rates, *seconds.tolist())


class TimedFrames(NamedTuple):
    """Frames of all utterances by ascending score, with amounts (seconds or frames) of each class."""

    scores: NDArray
    """(N,)."""
    bonafide: NDArray
    """(N,), bona fide amounts."""
    spoof: NDArray
    """(N,), spoofed amounts."""
    utterance: NDArray
    """(N,), the number of each frame's utterance, from 0."""
    totals: NDArray
    """(U, 2), bona fide and spoofed amounts of utterances, with the time after the last frame."""


def class_sums(totals: NDArray) -> NDArray:
    """Sum the amounts (U, C) of C classes over all utterances: (C,).

    Raises:
        InputError: if a class has none.
    """
    sums = totals.sum(0)
    for kind, amount in zip(("bona fide", "spoofed"), sums):
        if not amount > 0:
            raise InputError(
                f"there are no {kind} frames or seconds, but an error rate needs both classes: add utterances"
            )
    return sums


def time_frames(utterances: Sequence[ScoredUtterance], resolution_ms: float, tail: Tail = "bonafide") -> TimedFrames:
    """Measure the seconds of each class in each frame, and sort the frames; see :func:`range_eer`.

    Raises:
        InputError: if there are no scores, a score is NaN, or a segment lies outside of its
            utterance.
    """
    rows = [_seconds_of_frames(utterance, resolution_ms / 1000, tail) for utterance in utterances]
    scores = check_scores(np.concatenate([np.zeros(0), *(row.scores for row in rows)]), "frame")
    order = np.argsort(scores, kind="stable")
    utterance = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row.scores) for row in rows])
    # (N,) seconds, by ascending score
    bonafide, spoof = np.concatenate([row.seconds for row in rows], 1)[:, order]
    return TimedFrames(scores[order], bonafide, spoof, utterance[order], np.array([row.total for row in rows]))


class _FrameSeconds(NamedTuple):
    scores: NDArray
    """(T,)."""
    seconds: NDArray
    """(2, T), bona fide and spoofed seconds of frames."""
    total: tuple[float, float]
    """Bona fide and spoofed seconds of the utterance."""


def _seconds_of_frames(utterance: ScoredUtterance, step: float, tail: Tail) -> _FrameSeconds:
    """Measure frames of ``step`` seconds; raise InputError for an invalid duration or segment."""
    scores = np.asarray(utterance.scores, np.float64)
    duration = float(utterance.duration)
    if scores.ndim != 1 or not 0 <= duration < np.inf:
        raise InputError(
            f"{utterance.name}: expected one score per frame, shape (T,), and a finite duration of at least 0 s, got shape "
            f"{scores.shape} and {duration} s: correct them"
        )
    edges = np.arange(len(scores) + 1) * step
    count = int(np.searchsorted(edges[:-1], duration))  # number of frames that start before the utterance ends
    edges = np.minimum(edges[: count + 1], duration)
    if tail == "last" and count:
        edges[-1] = duration
    # The spoofed time before t is piecewise linear in t, with knots at starts and ends of spoofed stretches.
    knots = np.array([*chain.from_iterable(spoofed_time(utterance.segments, utterance.name, duration))] or [0.0])
    lengths = np.diff(knots)
    lengths[1::2] = 0  # the time between two stretches is not spoofed
    spoofed_before = np.append(0.0, lengths.cumsum())  # the spoofed seconds before each knot
    spoof = np.diff(np.interp(edges, knots, spoofed_before))
    total = float(spoofed_before[-1])
    seconds = np.stack((np.maximum(np.diff(edges) - spoof, 0), spoof))
    return _FrameSeconds(scores[:count], seconds, (duration - total, total))


def spoofed_time(segments: Sequence[tuple], name: str, duration: float) -> list[Interval]:
    """List (start, end) of the spoofed stretches in order, joined where they touch or overlap.

    No stretch ends after ``duration`` in seconds; ``name`` is for messages.

    Raises:
        InputError: if a segment begins before 0, or ends over 1 ms after ``duration``.
    """
    joined: list[Interval] = []
    for label, start, end, *_ in sorted(segments, key=lambda segment: segment[1]):
        if not 0 <= start <= end <= duration + ROUNDING:
            raise InputError(
                f"{name}: a segment from {start} to {end} s is not within its {duration} s: correct one of them"
            )
        if label != SPOOF or start >= min(end, duration):
            continue
        if joined and start <= joined[-1][1]:
            start, joined_end = joined.pop()
            end = max(end, joined_end)
        joined.append((start, min(end, duration)))
    return joined


def _labels_10ms(utterance: ScoredUtterance) -> NDArray:
    if utterance.labels_10ms is not None:
        return utterance.labels_10ms
    return frame_labels(utterance.segments, 10, utterance.duration)


def _frames_in_longer_frame(longer: int, shorter: int) -> int:
    if longer % shorter:
        raise InputError(f"frames of {longer} ms cannot be made of frames of {shorter} ms: one must divide the other")
    return longer // shorter
