"""Equal error rates of frames and of time, by the definitions of the PartialSpoof database.

The point-based EER counts frames: L. Zhang et al., IEEE/ACM TASLP 31, 2023 (arXiv 2204.05177). The
range-based EER counts seconds: L. Zhang, X. Wang, E. Cooper, N. Evans, J. Yamagishi, "Range-based
equal error rate for spoof localization", Interspeech 2023 (arXiv 2305.17739).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.errors import InputError
from nes2net.localisation.frames import align, coarsen_labels, coarsen_scores, pool_labels, refine_scores
from nes2net.localisation.segments import ROUNDING, SPOOF, frame_labels
from nes2net.metrics.eer import checked_scores, compute_eer, last_of_ties

Tail = Literal["bonafide", "last"]


class ScoredUtterance(NamedTuple):
    """Scores of the frames of an utterance, and the truth."""

    scores: ArrayLike
    """(T,), one for each frame of the resolution that is measured."""
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
    pooled, truth = pooled_frames(scores, labels)
    bonafide, spoof = pooled[truth == 1], pooled[truth == 0]
    return PointEer(*compute_eer(bonafide, spoof), len(bonafide), len(spoof))


def pooled_frames(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> tuple[NDArray, NDArray]:
    """Join the scores and labels of the frames of all utterances, after a check of their lengths."""
    rows = [(np.asarray(of_scores), np.asarray(of_labels)) for of_scores, of_labels in zip(scores, labels, strict=True)]
    for number, (of_scores, of_labels) in enumerate(rows):
        if of_scores.ndim != 1 or of_scores.shape != of_labels.shape:
            raise InputError(
                f"utterance {number} has scores of shape {of_scores.shape} and labels of shape {of_labels.shape}; "
                "cut both to the shorter, by nes2net.localisation.align"
            )
    if not rows:
        raise InputError("there are no utterances, so there is no error rate")
    return tuple(map(np.concatenate, zip(*rows)))  # type: ignore[return-value]


def measured_frames(
    utterances: Sequence[ScoredUtterance], resolution_ms: int, measured_at: int, *, by_segments: bool = True
) -> list[tuple[NDArray, NDArray]]:
    """Give the scores and labels (T,) of each utterance for one column of the published table.

    At the scores' own resolution the labels are pooled from labels of 10 ms. At a coarser one a
    frame has the lowest score in it, and is spoof if any frame in it is. At a finer one each score
    is repeated. The figure is honest at a finer resolution and optimistic at a coarser one.

    Args:
        resolution_ms: length of a frame of the scores, a multiple of 10.
        measured_at: a resolution in ms; one divides the other.
        by_segments: labels of frames finer than the scores come from the segments, as published; if
            False, they are pooled from labels of 10 ms.

    Raises:
        InputError: if one resolution is not a multiple of the other, or an utterance has no scores.
    """
    pooled = [pool_labels(_labels_10ms(one), _factor(resolution_ms, 10)) for one in utterances]
    aligned = [align(one.scores, labels) for one, labels in zip(utterances, pooled)]
    if measured_at >= resolution_ms:
        factor = _factor(measured_at, resolution_ms)
        return [(coarsen_scores(scores, factor), coarsen_labels(labels, factor)) for scores, labels in aligned]
    factor = _factor(resolution_ms, measured_at)
    return [
        align(
            refine_scores(scores, factor),
            frame_labels(one.segments, measured_at, one.duration)
            if by_segments
            else pool_labels(_labels_10ms(one), _factor(measured_at, 10)),
        )
        for one, (scores, _) in zip(utterances, aligned)
    ]


def range_eer(utterances: Sequence[ScoredUtterance], resolution_ms: float, tail: Tail = "bonafide") -> RangeEer:
    """Compute the EER over the seconds of all utterances.

    Frame t lasts from t times its length to the next frame or the end of the utterance; frames that
    start later are dropped. The seconds of spoofed segments are spoofed, and all others are bona
    fide. A frame is called spoof if its score is at or below the threshold. The EER is (FPR +
    FNR)/2 at the first of −∞ and all scores in ascending order where ``|FPR − FNR|`` is smallest. It
    is exact: the published script searches by bisection, which need not end.

    Args:
        resolution_ms: length of a frame.
        tail: the time behind the last frame. It is not called spoof (``"bonafide"``, as published),
            or belongs to the last frame (``"last"``, as in WeDefense).

    Raises:
        InputError: if a class has no time, there are no scores, one is NaN, or a segment lies
            outside of its utterance.

    >>> half = ScoredUtterance([1.0, 1.0, -1.0, 1.0], [("spoof", 0.03, 0.08)], 0.08)
    >>> result = range_eer([half], 20)
    >>> round(result.fpr, 6), round(result.fnr, 6), round(result.eer, 6)
    (0.0, 0.6, 0.3)
    """
    time = timed_frames(utterances, resolution_ms, tail)
    bonafide_seconds, spoof_seconds = float(time.bonafide_totals.sum()), float(time.spoof_totals.sum())
    for label, total in (("bona fide", bonafide_seconds), ("spoofed", spoof_seconds)):
        if not total > 0:
            raise InputError(f"there is no {label} time; a range-based EER needs both classes")
    ends = last_of_ties(time.scores)
    fpr = np.append(0.0, time.bonafide.cumsum()[ends] / bonafide_seconds)
    fnr = np.append(1.0, 1 - time.spoof.cumsum()[ends] / spoof_seconds)
    nearest = int(np.argmin(np.abs(fpr - fnr)))
    threshold = float(time.scores[ends[nearest - 1]]) if nearest else -np.inf
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
    """The bona fide part of each utterance, its frames and the rest."""
    spoof_totals: NDArray


def timed_frames(utterances: Sequence[ScoredUtterance], resolution_ms: float, tail: Tail = "bonafide") -> TimedFrames:
    """Measure in seconds how much of each frame is bona fide and how much spoofed.

    Raises:
        InputError: if there are no scores, one is NaN, or a segment lies outside of its utterance.
    """
    rows = [_seconds(utterance, resolution_ms / 1000, tail) for utterance in utterances]
    scores = checked_scores(np.concatenate([row[0] for row in rows]) if rows else [], "frame")
    order = np.argsort(scores, kind="stable")
    number = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row[0]) for row in rows])
    bonafide, spoof = (np.concatenate([row[column] for row in rows])[order] for column in (1, 2))
    totals = np.array([row[3:] for row in rows])
    return TimedFrames(scores[order], bonafide, spoof, number[order], totals[:, 0], totals[:, 1])


def _seconds(utterance: ScoredUtterance, step: float, tail: Tail) -> tuple[NDArray, NDArray, NDArray, float, float]:
    """Scores, bona fide and spoofed seconds of the frames of one utterance, and both totals."""
    scores, duration = np.asarray(utterance.scores, np.float64), float(utterance.duration)
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
    """The stretches of ``segments`` that are spoof, in order, overlapping and touching ones joined.

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
            start, end = joined[-1][0], max(end, joined.pop()[1])
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
