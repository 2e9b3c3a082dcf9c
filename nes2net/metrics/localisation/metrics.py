"""Equal error rates of frames and of time, by the definitions of the PartialSpoof database.

The point-based EER counts frames: L. Zhang et al., IEEE/ACM TASLP 31, 2023 (arXiv 2204.05177). The
range-based EER counts seconds: L. Zhang, X. Wang, E. Cooper, N. Evans, J. Yamagishi, "Range-based
equal error rate for spoof localization", Interspeech 2023 (arXiv 2305.17739).

In reading order: ``point_eer`` over frames, ``measured_frames`` for its resolutions, ``range_eer``
over seconds; each has a variant ``…_of`` for frames that were already sorted or timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError
from nes2net.metrics.eer import checked_scores, eer_of_sorted, last_of_ties
from nes2net.metrics.localisation.segments import ROUNDING, SPOOF, frame_labels

Tail = Literal["bonafide", "last"]


class ScoredUtterance(NamedTuple):
    """Scores of the frames of an utterance, and the truth."""

    scores: ArrayLike
    """(T,), one score for each frame."""
    segments: Sequence[tuple]
    """(label, start, end) in seconds, ``"bonafide"`` or ``"spoof"``."""
    duration: float
    """In seconds."""
    labels_10ms: NDArray | None = None
    """Labels of frames of 10 ms; None for labels made from the ``segments``."""
    name: str = "an utterance"


class PointEer(NamedTuple):
    """An EER over frames, a fraction, with the numbers of frames that it was measured on."""

    eer: float
    threshold: float
    """The highest score called spoof."""
    num_bonafide: int
    num_spoof: int


class RangeEer(NamedTuple):
    """An EER over seconds, a fraction, with the seconds that it was measured on."""

    eer: float
    threshold: float
    """The highest score called spoof."""
    fpr: float
    """The share of the bona fide seconds that is called spoof."""
    fnr: float
    """The share of the spoofed seconds that is not called spoof."""
    bonafide_seconds: float
    spoof_seconds: float


# Point-based EER


def point_eer(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> PointEer:
    """Compute the EER over all frames of all utterances by the ASVspoof rule.

    See :func:`nes2net.metrics.compute_eer`.

    Args:
        scores: (T,) of each utterance.
        labels: (T,) of each utterance: 1 bona fide, 0 spoof; frames of −1 are left out.

    Raises:
        InputError: if scores and labels do not have the same lengths, a score is NaN, or a class
            has no frames.

    >>> point_eer([[2.0, -1.0, 1.0], [0.5, -2.0]], [[1, 0, 1], [0, 1]]).eer
    0.41666666666666663
    """
    return point_eer_of(sorted_frames(joined_frames(scores, labels)))


def point_eer_of(frames: TimedFrames) -> PointEer:
    """Compute :func:`point_eer` of frames that are already sorted."""
    num_bonafide, num_spoof = (int(total) for total in frames.totals.sum(0))
    for name, number in (("bona fide", num_bonafide), ("spoofed", num_spoof)):
        if not number:
            raise InputError(f"there are no {name} frames; an error rate needs both classes")
    eer, threshold = eer_of_sorted(frames.scores, frames.bonafide, frames.spoof)
    return PointEer(eer, threshold, num_bonafide, num_spoof)


def sorted_frames(frames: Frames) -> TimedFrames:
    """Sort frames by their scores, bona fide first among equal scores, and count them.

    Equal neighbours in an utterance, as at a finer resolution than the scores', become one counted
    element.

    Raises:
        InputError: if there are no frames, or a score is NaN.
    """
    scores = checked_scores(frames.scores, "frame")
    labels = frames.labels
    num_utterances = len(frames.counts)
    begins = np.append(True, (scores[1:] != scores[:-1]) | (labels[1:] != labels[:-1]))
    begins[frames.starts[frames.counts > 0]] = True
    number = np.arange(num_utterances, dtype=np.int32).repeat(frames.counts)[begins]
    copies = np.diff(np.flatnonzero(begins), append=len(begins)).astype(np.int32)
    scores = scores[begins]
    labels = labels[begins]
    del frames, begins  # of the caller's frames, which may be its last use, some 200 MB
    order = np.argsort(scores)
    if (labels < 0).any():
        order = order[labels[order] >= 0]
    scores = scores[order]
    bonafide = labels[order] == 1
    tied = scores[1:] == scores[:-1]
    if (wrong := np.flatnonzero(tied & bonafide[1:] & ~bonafide[:-1])).size:
        run = np.append(False, ~tied).cumsum(dtype=np.int32)  # of equal scores
        mixed = np.zeros(run[-1] + 1, bool)
        mixed[run[wrong]] = True
        indices = np.flatnonzero(mixed[run])
        order[indices] = order[indices][np.lexsort((~bonafide[indices], run[indices]))]
        bonafide = labels[order] == 1
    number = number[order]
    copies = copies[order]
    amounts = copies * bonafide, copies * ~bonafide
    totals = (np.bincount(number, of_class, num_utterances) for of_class in amounts)
    return TimedFrames(scores, *amounts, number, *totals)


def joined_frames(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> Frames:
    """Check the lengths of scores and labels, and join the frames of all utterances."""
    rows = [(np.asarray(of_scores), np.asarray(of_labels)) for of_scores, of_labels in zip(scores, labels, strict=True)]
    for number, (of_scores, of_labels) in enumerate(rows):
        if of_scores.ndim != 1 or of_scores.shape != of_labels.shape:
            raise InputError(
                f"utterance {number} has scores of shape {of_scores.shape} and labels of shape {of_labels.shape}; "
                "cut both to the shorter, by nes2net.metrics.localisation.align"
            )
    if not rows:
        raise InputError("there are no utterances, so there is no error rate")
    joined, truth = map(np.concatenate, zip(*rows))
    return Frames(joined, truth, np.array([len(of_scores) for of_scores, _ in rows]))


def measured_frames(
    utterances: Sequence[ScoredUtterance], resolution_ms: int, measured_at: int, *, by_segments: bool = True
) -> list[tuple[NDArray, NDArray]]:
    """The scores and labels (T,) of each utterance for one column of the published table.

    At the scores' own resolution the labels are pooled from labels of 10 ms. At a coarser
    resolution a frame has the lowest score of its frames, and is spoof if any of them is. At a
    finer resolution each score is repeated. The figure is honest at a finer resolution and
    optimistic at a coarser one.

    Args:
        resolution_ms: length of a frame of the scores, a multiple of 10.
        measured_at: a resolution in ms; one divides the other.
        by_segments: labels of frames finer than the scores come from the segments, as published; if
            False, they are pooled from labels of 10 ms.

    Raises:
        InputError: if one resolution is not a multiple of the other, or an utterance has no scores.
    """
    frames = measured(utterances, resolution_ms, measured_at, by_segments=by_segments)
    ends = frames.counts.cumsum()[:-1]
    return list(zip(np.split(frames.scores, ends), np.split(frames.labels, ends)))


class Frames(NamedTuple):
    """The frames of all utterances, one utterance after another."""

    scores: NDArray
    """(N,)."""
    labels: NDArray
    """(N,): 1 bona fide, 0 spoof; frames of −1 are not measured."""
    counts: NDArray
    """(U,), the number of frames of each utterance."""

    @property
    def starts(self) -> NDArray:
        """(U,), the index of the first frame of each utterance."""
        return self.counts.cumsum() - self.counts


def measured(
    utterances: Sequence[ScoredUtterance],
    resolution_ms: int,
    measured_at: int,
    *,
    by_segments: bool = True,
    own: Frames | None = None,
) -> Frames:
    """The :func:`measured_frames` of all utterances in one row; ``own`` are those at ``resolution_ms``, if known."""
    frames = own
    if frames is None:
        pooled = _pooled(utterances, _factor(resolution_ms, 10))
        scores, counts = _joined([np.asarray(utterance.scores) for utterance in utterances])
        if not counts.all():
            raise InputError(f"{utterances[int(counts.argmin())].name} has no scores")
        frames = _aligned(scores, counts, *pooled)
    if measured_at > resolution_ms:
        # Frames left over at the end of an utterance give one more frame.
        factor = _factor(measured_at, resolution_ms)
        counts = -(-frames.counts // factor)
        first = frames.starts.repeat(counts) + _places(counts) * factor
        return Frames(np.minimum.reduceat(frames.scores, first), np.minimum.reduceat(frames.labels, first), counts)
    if measured_at < resolution_ms:
        factor = _factor(resolution_ms, measured_at)
        if by_segments:
            finer = _joined([frame_labels(u.segments, measured_at, u.duration) for u in utterances])
        else:
            finer = _pooled(utterances, _factor(measured_at, 10))
        return _aligned(frames.scores.repeat(factor), frames.counts * factor, *finer)
    return frames


def _joined(rows: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    """Join the rows of all utterances; return the joined row and the length of each."""
    return np.concatenate(rows), np.array([len(row) for row in rows])


def _places(counts: NDArray) -> NDArray:
    """The index of each number within its utterance, for ``counts`` numbers in each utterance."""
    return np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)


def _cut(values: NDArray, counts: NDArray, lengths: NDArray) -> NDArray:
    """Cut the ``counts`` values of each utterance to the first ``lengths``."""
    if (counts == lengths).all():
        return values
    starts = counts.cumsum() - counts
    steps = np.zeros(len(values) + 1, np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    return values[steps[:-1].cumsum(dtype=np.int8).view(bool)]


def _pooled(utterances: Sequence[ScoredUtterance], factor: int) -> tuple[NDArray, NDArray]:
    """:func:`~nes2net.metrics.localisation.frames.pool_labels` of all utterances, joined."""
    labels, counts = _joined([_labels_10ms(utterance) for utterance in utterances])
    if not counts.all():
        raise InputError(f"{utterances[int(counts.argmin())].name} has no labels")
    num_frames = np.maximum(counts // factor, 1)
    used = np.where(counts < factor, counts, num_frames * factor)
    first = (used.cumsum() - used).repeat(num_frames) + _places(num_frames) * factor
    return np.minimum.reduceat(_cut(labels, counts, used), first), num_frames


def _aligned(scores: NDArray, score_counts: NDArray, labels: NDArray, label_counts: NDArray) -> Frames:
    """:func:`~nes2net.metrics.localisation.frames.align` of all utterances, joined."""
    counts = np.minimum(score_counts, label_counts)
    return Frames(_cut(scores, score_counts, counts), _cut(labels, label_counts, counts), counts)


# Range-based EER


def range_eer(utterances: Sequence[ScoredUtterance], resolution_ms: float, tail: Tail = "bonafide") -> RangeEer:
    """Compute the EER over the seconds of all utterances.

    Frame t lasts from t times its length to the next frame or the end of the utterance; frames that
    start later are dropped. The seconds of spoofed segments are spoofed, and all others are bona
    fide. A frame is called spoof if its score is at or below the threshold. The EER is (FPR +
    FNR)/2 at the first of −∞ and all scores in ascending order where ``|FPR − FNR|`` is smallest.
    The search is exact; the bisection of the published script may not end.

    Args:
        resolution_ms: length of a frame.
        tail: the time after the last frame. It is not called spoof (``"bonafide"``, as published),
            or belongs to the last frame (``"last"``, as in WeDefense).

    Raises:
        InputError: if a class has no time, there are no scores, one is NaN, or a segment lies
            outside of its utterance.

    >>> half = ScoredUtterance([1.0, 1.0, -1.0, 1.0], [("spoof", 0.03, 0.08)], 0.08)
    >>> result = range_eer([half], 20)
    >>> round(result.fpr, 6), round(result.fnr, 6), round(result.eer, 6)
    (0.0, 0.6, 0.3)
    """
    return range_eer_of(timed_frames(utterances, resolution_ms, tail))


def range_eer_of(time: TimedFrames) -> RangeEer:
    """Compute :func:`range_eer` of frames that are already timed."""
    bonafide_seconds = float(time.bonafide_totals.sum())
    spoof_seconds = float(time.spoof_totals.sum())
    for label, total in (("bona fide", bonafide_seconds), ("spoofed", spoof_seconds)):
        if not total > 0:
            raise InputError(f"there is no {label} time; a range-based EER needs both classes")
    ends = last_of_ties(time.scores)
    fpr = np.append(0.0, time.bonafide.cumsum()[ends] / bonafide_seconds)
    fnr = np.append(1.0, 1 - time.spoof.cumsum()[ends] / spoof_seconds)
    nearest = int(np.argmin(np.abs(fpr - fnr)))
    threshold = -np.inf
    if nearest:
        threshold = float(time.scores[ends[nearest - 1]])
    rates = float(fpr[nearest]), float(fnr[nearest])
    return RangeEer(sum(rates) / 2, threshold, *rates, bonafide_seconds, spoof_seconds)


class TimedFrames(NamedTuple):
    """The frames of all utterances in ascending order of their scores, all (N,), and totals (U,)."""

    scores: NDArray
    bonafide: NDArray
    """The bona fide part of each frame, in seconds or frames."""
    spoof: NDArray
    utterance: NDArray
    """The number of its utterance."""
    bonafide_totals: NDArray
    """The bona fide part of each utterance, including the time after its frames."""
    spoof_totals: NDArray

    @property
    def totals(self) -> NDArray:
        """The amount of both classes in each utterance, (U, 2)."""
        return np.stack([self.bonafide_totals, self.spoof_totals], 1)


def timed_frames(utterances: Sequence[ScoredUtterance], resolution_ms: float, tail: Tail = "bonafide") -> TimedFrames:
    """Measure the bona fide and the spoofed seconds of each frame.

    Raises:
        InputError: if there are no scores, one is NaN, or a segment lies outside of its utterance.
    """
    rows = [_seconds(utterance, resolution_ms / 1000, tail) for utterance in utterances]
    scores = checked_scores(np.concatenate([np.zeros(0), *(row[0] for row in rows)]), "frame")
    order = np.argsort(scores, kind="stable")
    number = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row[0]) for row in rows])
    bonafide, spoof = (np.concatenate([row[column] for row in rows])[order] for column in (1, 2))
    totals = np.array([row[3:] for row in rows])
    return TimedFrames(scores[order], bonafide, spoof, number[order], totals[:, 0], totals[:, 1])


def _seconds(utterance: ScoredUtterance, step: float, tail: Tail) -> tuple[NDArray, NDArray, NDArray, float, float]:
    """Scores, bona fide and spoofed seconds of the frames of one utterance, and both totals."""
    scores = np.asarray(utterance.scores, np.float64)
    duration = float(utterance.duration)
    if scores.ndim != 1 or not 0 <= duration < np.inf:
        raise InputError(f"{utterance.name}: expected a row of scores and a duration, got {scores.shape}, {duration} s")
    edges = np.arange(len(scores) + 1) * step
    count = int(np.searchsorted(edges[:-1], duration))  # frames that start before the end
    edges = np.minimum(edges[: count + 1], duration)
    if tail == "last" and count:
        edges[-1] = duration
    knots = np.array([*chain.from_iterable(spoofed_time(utterance.segments, utterance.name, duration))] or [0.0])
    lengths = np.diff(knots)
    lengths[1::2] = 0  # between the spoofed stretches
    until = np.append(0.0, lengths.cumsum())  # spoofed seconds until each knot
    spoof = np.diff(np.interp(edges, knots, until))
    total = float(until[-1])
    return scores[:count], np.maximum(np.diff(edges) - spoof, 0), spoof, duration - total, total


def spoofed_time(segments: Sequence[tuple], name: str, duration: float) -> list[tuple[float, float]]:
    """The spoofed stretches of ``segments`` in order; overlapping and touching segments are joined.

    Raises:
        InputError: if a segment lies outside of 0 to ``duration``, by more than a millisecond.
    """
    joined: list[tuple[float, float]] = []
    for label, start, end, *_ in sorted(segments, key=lambda segment: segment[1]):
        if not 0 <= start <= end <= duration + ROUNDING:
            raise InputError(f"{name}: a segment from {start} to {end} s is not within its {duration} s")
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


def _factor(longer: int, shorter: int) -> int:
    if longer % shorter:
        raise InputError(f"frames of {longer} ms cannot be made of frames of {shorter} ms: one must divide the other")
    return longer // shorter
