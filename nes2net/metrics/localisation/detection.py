"""Measure how well fake stretches are detected: F1 and overlap at a threshold, and errors of boundaries.

Spoof is the class to detect. F1 (van Rijsbergen, "Information Retrieval", 1979) is computed over
frames as in the ADD 2023 challenge (J. Yi et al., arXiv 2305.13774, track 2), or over seconds. The
intersection over union is Jaccard's index. Boundaries are compared as in music segmentation: each
true boundary is matched with at most one detected boundary, within a tolerance (D. Turnbull et al.,
"A supervised approach for detecting boundaries in music using difference features and boosting",
ISMIR 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError
from nes2net.metrics.localisation.metrics import spoofed_time


class Detection(NamedTuple):
    """Figures that say how well spoof is detected, each in [0, 1]; a figure whose denominator is 0 is NaN."""

    precision: float
    """Precision: hits / (hits + false alarms)."""
    recall: float
    """Recall: hits / (hits + misses)."""
    f1: float
    """The harmonic mean of precision and recall: 2·hits / (2·hits + false alarms + misses)."""
    iou: float
    """Intersection over union: hits / (hits + false alarms + misses)."""


def detection(counts: ArrayLike) -> Detection:
    """Compute precision, recall, F1 and intersection over union from hits, false alarms and misses.

    Args:
        counts: hits, false alarms and misses, shape (3,); each is a number of frames, of boundaries
            or of seconds. If ``counts`` has a row for each utterance, shape (U, 3), the rows are
            summed.

    >>> detection([3.0, 1.0, 1.0])
    Detection(precision=0.75, recall=0.75, f1=0.75, iou=0.6)
    """
    hits, false_alarms, misses = np.atleast_2d(np.asarray(counts, np.float64)).sum(0).tolist()
    return Detection(
        _ratio(hits, hits + false_alarms),
        _ratio(hits, hits + misses),
        _ratio(2 * hits, 2 * hits + false_alarms + misses),
        _ratio(hits, hits + false_alarms + misses),
    )


def overlap_of_segments(
    truth: Sequence[Sequence[tuple]], found: Sequence[Sequence[tuple]], durations: Sequence[float]
) -> NDArray:
    """Measure the seconds of hits, false alarms and misses in each utterance, (U, 3); spoof is the class to detect.

    Overlapping segments are joined, so that their common time counts once.

    Args:
        truth, found: true and detected segments of each utterance; segments with a label other than
            ``"spoof"`` count as bona fide.
        durations: durations of the utterances in seconds.

    Raises:
        InputError: if a segment lies outside of its utterance.

    >>> overlap_of_segments([[("spoof", 0.0, 1.0)]], [[("spoof", 0.5, 2.0)]], [4.0])
    array([[0.5, 1. , 0.5]])
    """
    seconds_of_utterances = []
    for number, (*true_and_found, duration) in enumerate(zip(truth, found, durations, strict=True)):
        true, detected = (spoofed_time(segments, f"utterance {number}", duration) for segments in true_and_found)
        hits = 0.0
        for detected_start, detected_end in detected:
            hits += sum(max(0.0, min(detected_end, end) - max(detected_start, start)) for start, end in true)
        lengths = [sum(end - start for start, end in stretches) for stretches in (detected, true)]
        # False alarms are detected seconds that are not spoofed; misses are spoofed seconds that
        # are not detected.
        seconds_of_utterances.append([hits, *(max(0.0, length - hits) for length in lengths)])
    return np.array(seconds_of_utterances)


class Boundaries(NamedTuple):
    """Result of comparing true with detected boundaries between bona fide and spoof."""

    counts: NDArray
    """(U, 3): hits, false alarms and misses of each utterance, for :func:`detection`."""
    distances: NDArray
    """(H,): distance between the detected and the true boundary of each of H hits, in seconds."""

    @property
    def mean_distance(self) -> float:
        """Mean distance of a detected boundary from its true boundary in seconds; NaN without hits."""
        return float(self.distances.mean()) if len(self.distances) else float("nan")


def match_boundaries(
    truth: Sequence[Sequence[tuple]],
    found: Sequence[Sequence[tuple]],
    durations: Sequence[float],
    tolerance: float = 0.04,
) -> Boundaries:
    """Match detected boundaries with true boundaries, one to one.

    A hit is a pair of a true and a detected boundary that are at most ``tolerance`` apart. The
    matching has as many hits as possible. If several matchings have this number of hits, the
    matching with the smallest sum of distances is taken. Boundaries within the tolerance of the
    beginning or the end of an utterance do not count. Scores of frames can locate a boundary only
    to half a frame.

    Args:
        truth, found, durations: as for :func:`overlap_of_segments`.
        tolerance: largest distance of a hit in seconds; the default, two frames of 20 ms, is an
            assumption.

    Raises:
        InputError: if a segment lies outside of its utterance, or if the tolerance is not above 0.

    >>> result = match_boundaries([[("spoof", 1.0, 2.0)]], [[("spoof", 1.03, 2.5)]], [4.0])
    >>> result.counts.tolist(), round(result.mean_distance, 6)
    ([[1, 1, 1]], 0.03)
    """
    if not tolerance > 0:
        raise InputError(f"the tolerance must be above 0 seconds, got {tolerance}")
    from scipy.optimize import linear_sum_assignment  # for a fast start-up: scoring does not need SciPy

    counts = []
    distances = [np.zeros(0)]
    for number, (*true_and_found, duration) in enumerate(zip(truth, found, durations, strict=True)):
        times = []  # the times of the true boundaries, then the times of the detected boundaries
        for segments in true_and_found:
            edges = np.array(spoofed_time(segments, f"utterance {number}", duration)).ravel()
            times.append(edges[(edges > tolerance) & (edges < duration - tolerance)])
        pair_distances = np.abs(np.subtract.outer(*times))
        # The value of a hit is larger than any sum of distances. The matching with the largest sum of values therefore
        # has the most hits.
        limit = tolerance + _ROUNDING
        pair_values = np.where(pair_distances <= limit, (pair_distances.size + 1) * limit - pair_distances, 0)
        pairs = linear_sum_assignment(pair_values, maximize=True)
        hit_distances = pair_distances[pairs][pair_values[pairs] > 0]
        num_hits = len(hit_distances)
        distances.append(hit_distances)
        counts.append([num_hits, len(times[1]) - num_hits, len(times[0]) - num_hits])
    return Boundaries(np.array(counts), np.concatenate(distances))


_ROUNDING = 1e-9  # seconds


def _ratio(numerator: float, denominator: float) -> float:
    """Divide ``numerator`` by ``denominator``; NaN if the denominator is 0."""
    return numerator / denominator if denominator else float("nan")
