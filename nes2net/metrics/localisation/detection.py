"""Measure how well fake stretches are detected: F1 and overlap at a threshold, and errors of boundaries.

Spoof is the class to detect. F1 (van Rijsbergen, "Information Retrieval", 1979) is computed over
frames as in the ADD 2023 challenge (J. Yi et al., arXiv 2305.13774, track 2), or over seconds. The
intersection over union is Jaccard's index. Boundaries are matched one to one within a tolerance, as
in music segmentation (D. Turnbull et al., "A supervised approach for detecting boundaries in music
using difference features and boosting", ISMIR 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import check_setting
from nes2net.metrics.localisation.metrics import spoofed_time


class Detection(NamedTuple):
    """Figures of detecting spoof, in [0, 1]; NaN if a denominator is 0."""

    precision: float
    """Hits / (hits + false alarms)."""
    recall: float
    """Hits / (hits + misses)."""
    f1: float
    """2·hits / (2·hits + false alarms + misses)."""
    iou: float
    """Intersection over union: hits / (hits + false alarms + misses)."""


def detection(counts: ArrayLike) -> Detection:
    """Compute precision, recall, F1 and intersection over union.

    Args:
        counts: hits, false alarms and misses in frames, boundaries or seconds, (3,), or (U, 3) with
            a row for each utterance, which are summed.

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
    """Measure the seconds of hits, false alarms and misses in each utterance, (U, 3).

    Overlapping segments are joined.

    Args:
        truth, found: segments of each utterance; labels other than ``"spoof"`` count as bona fide.
        durations: in seconds.

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
        # Detected but not spoofed seconds, and spoofed but not detected seconds.
        seconds_of_utterances.append([hits, *(max(0.0, length - hits) for length in lengths)])
    return np.array(seconds_of_utterances)


class Boundaries(NamedTuple):
    """Matched boundaries between bona fide and spoof."""

    counts: NDArray
    """(U, 3): hits, false alarms and misses of each utterance, for :func:`detection`."""
    distances: NDArray
    """(H,): seconds between the detected and the true boundary of each hit."""

    @property
    def mean_distance(self) -> float:
        """Mean distance of the hits in seconds; NaN without hits."""
        return float(self.distances.mean()) if len(self.distances) else float("nan")


def match_boundaries(
    truth: Sequence[Sequence[tuple]],
    found: Sequence[Sequence[tuple]],
    durations: Sequence[float],
    tolerance: float = 0.04,
) -> Boundaries:
    """Match detected boundaries with true boundaries, one to one.

    A hit is a pair at most ``tolerance`` apart. The matching has the most hits, and of these
    matchings the smallest sum of distances. Boundaries within the tolerance of the beginning or end
    of an utterance do not count. Scores of frames locate a boundary only to half a frame.

    Args:
        truth, found, durations: as for :func:`overlap_of_segments`.
        tolerance: in seconds; the default, two frames of 20 ms, is an assumption.

    Raises:
        InputError: if a segment lies outside of its utterance, or the tolerance is not above 0.

    >>> result = match_boundaries([[("spoof", 1.0, 2.0)]], [[("spoof", 1.03, 2.5)]], [4.0])
    >>> result.counts.tolist(), round(result.mean_distance, 6)
    ([[1, 1, 1]], 0.03)
    """
    check_setting("tolerance", tolerance, tolerance > 0, "above 0 seconds")
    from scipy.optimize import linear_sum_assignment  # for a fast start-up: scoring does not need SciPy

    counts = []
    distances = [np.zeros(0)]
    for number, (*true_and_found, duration) in enumerate(zip(truth, found, durations, strict=True)):
        times = []  # the times of the true boundaries, then the times of the detected boundaries
        for segments in true_and_found:
            edges = np.array(spoofed_time(segments, f"utterance {number}", duration)).ravel()
            times.append(edges[(edges > tolerance) & (edges < duration - tolerance)])
        pair_distances = np.abs(np.subtract.outer(*times))
        # A hit is worth more than any sum of distances, so the largest sum has the most hits.
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
    """NaN if the denominator is 0."""
    return numerator / denominator if denominator else float("nan")
