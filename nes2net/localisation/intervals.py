"""Bootstrap intervals over utterances of figures that are made of frames or seconds.

Frames of one utterance are not independent, so whole utterances are drawn. A corpus has millions of
frames, but the thresholds at which the resamples have their EER lie close together. Therefore the
sorted frames are first summed in a few bins for each utterance, which tells the bins that matter.
All resamples walk only through the frames of these bins. The result is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.errors import InputError
from nes2net.localisation.metrics import ScoredUtterance, Tail, TimedFrames, pooled_frames, timed_frames
from nes2net.machine.progress import bootstrap_progress
from nes2net.metrics.eer import checked_scores, compute_eer, last_of_ties
from nes2net.metrics.intervals import check_draws, draw_counts, percentiles
from nes2net.metrics.resampling import Resampled, quick_metric

_CHUNK = 64  # resamples whose bins are summed at once


def range_eer_interval(
    utterances: Sequence[ScoredUtterance],
    resolution_ms: float,
    tail: Tail = "bonafide",
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of :func:`~nes2net.localisation.metrics.range_eer`.

    Args:
        utterances, resolution_ms, tail: as for the metric.
        num_resamples: draws of all utterances with replacement, at least 1. A draw without one of
            the classes is repeated.
        confidence: share of the draws inside of the interval, between 0 and 1.
        seed: seed of the draws, 0 or more.

    Raises:
        InputError: as the metric, or if a setting is out of range.
    """
    window, below, draws = _window(timed_frames(utterances, resolution_ms, tail), num_resamples, seed)
    ends = last_of_ties(window.scores)
    totals = np.stack([window.bonafide_totals, window.spoof_totals], 1)
    values = []
    for counts in draws:
        weights = counts[window.utterance]
        (bonafide, spoof), sizes = counts @ below, counts @ totals
        fpr = np.append(bonafide, bonafide + (weights * window.bonafide).cumsum()[ends]) / sizes[0]
        fnr = 1 - np.append(spoof, spoof + (weights * window.spoof).cumsum()[ends]) / sizes[1]
        nearest = np.argmin(np.abs(fpr - fnr))
        values.append(float((fpr[nearest] + fnr[nearest]) / 2))
    return percentiles(np.array(values), confidence)


def point_eer_interval(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of :func:`~nes2net.localisation.metrics.point_eer`.

    Args:
        scores, labels: as for the metric.
        num_resamples, confidence, seed: as for :func:`range_eer_interval`.

    Raises:
        InputError: as the metric, or if a setting is out of range.
    """
    pooled, truth = pooled_frames(scores, labels)
    number = np.repeat(np.arange(len(scores), dtype=np.int32), [len(np.asarray(row)) for row in scores])
    known = truth >= 0
    pooled, truth, number = checked_scores(pooled, "frame")[known], truth[known], number[known]
    order = np.lexsort((truth == 0, pooled))  # bona fide first among equal scores
    bonafide, spoof = (truth[order] == label for label in (1, 0))
    number = number[order]
    totals: list[Any] = [np.bincount(number, of_class, len(scores)) for of_class in (bonafide, spoof)]
    frames = TimedFrames(pooled[order], bonafide.astype(np.float64), spoof.astype(np.float64), number, *totals)
    window, below, draws = _window(frames, num_resamples, seed)
    classes = [window.bonafide > 0, ~(window.bonafide > 0)]
    # The frames outside of the window are one trial of each class below and above it.
    outside = np.array([-np.inf, np.inf])
    evaluate: Resampled | None = quick_metric(compute_eer, *(np.append(window.scores[c], outside) for c in classes))
    assert evaluate is not None
    values = []
    for counts in draws:
        trials = []
        for column, (of_class, total) in enumerate(zip(classes, totals)):
            inside, lower = counts[window.utterance[of_class]], round(counts @ below[:, column])
            trials.append(np.append(inside, (lower, round(counts @ total) - lower - int(inside.sum()))))
        values.append(evaluate(np.concatenate(trials)))
    return percentiles(np.array(values), confidence)


def interval_of_sums(
    sums: ArrayLike,
    figure: Callable[[NDArray], float],
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a figure that depends on sums over utterances.

    Draws in which the figure is not defined (NaN) are left out; if none remain, the interval is
    NaN.

    Args:
        sums: (U, S), what each utterance adds.
        figure: takes the sums of a resample, (S,), and gives a number.
        num_resamples, confidence, seed: as for :func:`range_eer_interval`.

    Raises:
        InputError: if there are no utterances, or a setting is out of range.

    >>> low, high = interval_of_sums([[1, 2], [0, 2], [1, 2]], lambda sums: sums[0] / sums[1])
    >>> round(low, 3), round(high, 3)
    (0.0, 0.5)
    """
    check_draws(num_resamples, seed)
    rows = np.asarray(sums, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise InputError(f"expected sums of at least one utterance, got shape {rows.shape}")
    draws = (draw_counts(np.random.default_rng([seed, number]), len(rows)) for number in range(num_resamples))
    values = np.array([figure(counts @ rows) for counts in draws])
    values = values[~np.isnan(values)]
    return percentiles(values, confidence) if len(values) else (np.nan, np.nan)


def _window(frames: TimedFrames, num_resamples: int, seed: int) -> tuple[TimedFrames, NDArray, Iterable[NDArray]]:
    """The frames among which the EER of every resample lies, what is below them, and the resamples.

    What is below is the amount of both classes that each utterance has there, (U, 2). A resample says how often
    each utterance was drawn, (U,).
    """
    check_draws(num_resamples, seed)
    totals = np.stack([frames.bonafide_totals, frames.spoof_totals], 1)
    for label, total in zip(("bona fide", "spoofed"), totals.sum(0)):
        if not total > 0:
            raise InputError(f"there is no {label} time or frame; an error rate needs both classes")
    # Bins of frames with about as many frames each; equal scores share a bin. ``ends`` are the indices behind them.
    ends = last_of_ties(frames.scores) + 1
    count = min(64, 1 + len(frames.scores) // 500)
    ends = np.unique(ends[np.searchsorted(ends, np.arange(1, count + 1) * len(frames.scores) // count)])
    bins = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))  # of each frame
    # B, S: the amount of both classes that each utterance has in each bin, (U, bins).
    in_bins = [
        np.bincount(frames.utterance * len(ends) + bins, weights, len(totals) * len(ends)).reshape(len(totals), -1)
        for weights in (frames.bonafide, frames.spoof)
    ]
    draws = _draws(totals, num_resamples, seed)
    crossed: list[int] = []  # the bin of each resample in which the first rate reaches the second
    while chunk := [*itertools.islice(draws, _CHUNK)]:
        counts = np.array(chunk, np.float64)
        sizes = counts @ totals
        bonafide, spoof = ((counts @ of_class).cumsum(1) for of_class in in_bins)  # R×bins
        rise = bonafide / sizes[:, :1] + spoof / sizes[:, 1:] - 1  # FPR − FNR behind each bin
        rise[:, -1] = 1  # with time behind the last frame it may stay below 0
        crossed += (rise >= 0).argmax(1).tolist()
    # Rounding may move a crossing at the edge of a bin to its neighbour.
    first, last = max(0, min(crossed) - 1), min(len(ends), max(crossed) + 2)
    window = slice(ends[first - 1] if first else 0, ends[last - 1])
    below = np.stack([of_class[:, :first].sum(1) for of_class in in_bins], 1)
    columns = ("scores", "bonafide", "spoof", "utterance")
    return (
        frames._replace(**{name: getattr(frames, name)[window] for name in columns}),
        below,
        bootstrap_progress(_draws(totals, num_resamples, seed), num_resamples),
    )


def _draws(totals: NDArray, num_resamples: int, seed: int) -> Iterator[NDArray]:
    """How often each utterance is in a resample, (U,); each resample has both classes."""
    for number in range(num_resamples):
        rng = np.random.default_rng([seed, number])
        while not ((counts := draw_counts(rng, len(totals))) @ totals > 0).all():
            pass
        yield counts
