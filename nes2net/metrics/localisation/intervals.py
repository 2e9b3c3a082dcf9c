"""Bootstrap intervals over utterances, for figures of frames or seconds.

Frames of one utterance are not independent, so whole utterances are drawn. A corpus has millions of
frames, but the EER thresholds of the resamples lie close together. The sorted frames are therefore
first summed in a few bins for each utterance, to find the bins with the thresholds. All resamples
walk only through the frames of these bins. The result is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError
from nes2net.lib.progress import bootstrap_progress
from nes2net.lib.this_process import usable_processors
from nes2net.metrics.eer import compute_eer, last_of_ties
from nes2net.metrics.intervals import check_draws, draw_counts, percentiles
from nes2net.metrics.localisation.metrics import (
    ScoredUtterance,
    Tail,
    TimedFrames,
    joined_frames,
    sorted_frames,
    timed_frames,
)
from nes2net.metrics.resampling import Resampled, quick_metric

_CHUNK = 64  # resamples whose bins are summed at once
_BINS = 32
_FEW = 100_000  # with at most so many frames, the window is not narrowed
_KEPT = 100_000_000  # draws of at most so many numbers are kept for the next figure


def range_eer_interval(
    utterances: Sequence[ScoredUtterance],
    resolution_ms: float,
    tail: Tail = "bonafide",
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of :func:`~nes2net.metrics.localisation.metrics.range_eer`.

    Args:
        utterances, resolution_ms, tail: as for the metric.
        num_resamples: draws of all utterances with replacement, at least 1. A draw without one of
            the classes is repeated.
        confidence: share of the draws inside of the interval, between 0 and 1.
        seed: seed of the draws, 0 or more.

    Raises:
        InputError: as the metric, or if a setting is out of range.
    """
    time = timed_frames(utterances, resolution_ms, tail)
    return range_interval_of(time, num_resamples=num_resamples, confidence=confidence, seed=seed)


def range_interval_of(
    time: TimedFrames, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Compute :func:`range_eer_interval` of frames that were timed already."""
    resamples = _Resamples(time.totals, num_resamples, seed)
    window, below = _window(time, resamples)
    ends = last_of_ties(window.scores)

    lower = resamples.sums(below)

    def eer(index: int) -> float:
        weights = resamples.counts(index).take(window.utterance)
        bonafide, spoof = lower[index]
        sizes = resamples.sizes[index]
        fpr = np.append(bonafide, bonafide + (weights * window.bonafide).cumsum()[ends]) / sizes[0]
        fnr = 1 - np.append(spoof, spoof + (weights * window.spoof).cumsum()[ends]) / sizes[1]
        nearest = np.argmin(np.abs(fpr - fnr))
        return float((fpr[nearest] + fnr[nearest]) / 2)

    return percentiles(resamples.figures(eer), confidence)


def point_eer_interval(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of :func:`~nes2net.metrics.localisation.metrics.point_eer`.

    Args:
        scores, labels: as for the metric.
        num_resamples, confidence, seed: as for :func:`range_eer_interval`.

    Raises:
        InputError: as the metric, or if a setting is out of range.
    """
    frames = sorted_frames(joined_frames(scores, labels))
    return point_interval_of(frames, num_resamples=num_resamples, confidence=confidence, seed=seed)


def point_interval_of(
    frames: TimedFrames, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Compute :func:`point_eer_interval` of frames that were sorted already."""
    resamples = _Resamples(frames.totals, num_resamples, seed)
    window, below = _window(frames, resamples)
    amounts = window.bonafide, window.spoof
    classes = [np.flatnonzero(of_class) for of_class in amounts]
    elements = [(window.utterance[of_class], amount[of_class]) for of_class, amount in zip(classes, amounts)]
    # The frames outside of the window are one trial of each class below and above it.
    outside = np.array([-np.inf, np.inf])
    evaluate: Resampled | None = quick_metric(compute_eer, *(np.append(window.scores[c], outside) for c in classes))
    assert evaluate is not None

    lower = resamples.sums(below).round().astype(np.int64)
    sizes = resamples.sizes.round().astype(np.int64)

    def eer(index: int) -> Any:
        counts = resamples.counts(index)
        trials = []
        for (utterance, amount), below_it, size in zip(elements, lower[index], sizes[index]):
            inside = counts.take(utterance) * amount.astype(np.int64)
            trials.append(np.append(inside, (below_it, size - below_it - inside.sum())))
        return evaluate(np.concatenate(trials))

    return percentiles(resamples.figures(eer), confidence)


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
        sums: (U, S), the contribution of each utterance.
        figure: function from the sums of a resample, (S,), to a number.
        num_resamples, confidence, seed: as for :func:`range_eer_interval`.

    Raises:
        InputError: if there are no utterances, or a setting is out of range.

    >>> low, high = interval_of_sums([[1, 2], [0, 2], [1, 2]], lambda sums: sums[0] / sums[1])
    >>> round(low, 3), round(high, 3)
    (0.0, 0.5)
    """
    rows = np.asarray(sums, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise InputError(f"expected sums of at least one utterance, got shape {rows.shape}")
    values = np.array([figure(sums) for sums in _Resamples(np.ones((len(rows), 1)), num_resamples, seed).sums(rows)])
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    return percentiles(values, confidence)


class _Resamples:
    """Draws of all utterances with replacement.

    Args:
        totals: (U, C), the amount of each class in each utterance; every draw has some of each
            class.
        number: R, the number of draws.
    """

    def __init__(self, totals: NDArray, number: int, seed: int) -> None:
        check_draws(number, seed)
        for label, total in zip(("bona fide", "spoofed"), totals.sum(0)):
            if not total > 0:
                raise InputError(f"there is no {label} time or frame; an error rate needs both classes")
        self.totals = totals
        self.number = number
        self.seed = seed
        self.drawn_again: frozenset[int] = frozenset()
        self.sizes = self.sums(totals)
        """(R, C), the amount of each class in each draw."""
        if lacking := np.flatnonzero((self.sizes <= 0).any(1)).tolist():
            self.drawn_again = frozenset(lacking)
            self.sizes = self.sums(totals)

    def counts(self, index: int) -> NDArray:
        """How often each utterance is in a draw, (U,)."""
        size = len(self.totals)
        if size * self.number <= _KEPT and index not in self.drawn_again:
            return _kept_draws(size, self.number, self.seed)[index]
        rng = np.random.default_rng([self.seed, index])
        counts = draw_counts(rng, size)
        while index in self.drawn_again and not (counts @ self.totals > 0).all():
            counts = draw_counts(rng, size)
        return counts

    def sums(self, amounts: NDArray) -> NDArray:
        """Add up ``amounts`` (…, U, S) of the utterances of each draw: (…, R, S)."""
        chunks = np.array_split(np.arange(self.number), -(-self.number // _CHUNK))
        rows = (np.array([self.counts(index) for index in chunk], np.float64) for chunk in chunks)
        return np.concatenate([counts @ amounts for counts in rows], axis=-2)

    def figures(self, figure: Callable[[int], float]) -> NDArray:
        """Compute ``figure``, a function of the index of a draw, for all draws, (R,)."""
        # Threads help, because NumPy releases Python's lock.
        with ThreadPoolExecutor(usable_processors()) as pool:
            return np.array(list(bootstrap_progress(pool.map(figure, range(self.number)), self.number)))


@lru_cache(maxsize=1)
def _kept_draws(size: int, number: int, seed: int) -> NDArray:
    """The first draw of each resample, (R, U), which all figures of an evaluation use."""
    # 8 bits suffice: one of more than 255 utterances is drawn 256 times once in 256! draws.
    counts = np.empty((number, size), np.uint8)
    for index in range(number):
        counts[index] = draw_counts(np.random.default_rng([seed, index]), size)
    counts.flags.writeable = False
    return counts


def _window(frames: TimedFrames, resamples: _Resamples) -> tuple[TimedFrames, NDArray]:
    """The frames among which the EER of every resample lies, and the amounts below them.

    These are the amounts of both classes below the frames in each utterance, (U, 2).
    """
    below = np.zeros_like(resamples.totals)
    before = np.inf
    while _FEW < len(frames.scores) < before / 2:
        before = len(frames.scores)
        frames, below = _narrowed(frames, below, resamples)
    return frames, below


def _narrowed(frames: TimedFrames, below: NDArray, resamples: _Resamples) -> tuple[TimedFrames, NDArray]:
    """A narrower window, found by the sums of ``frames`` in bins, and the amounts below it."""
    # Bins of about as many frames each; equal scores share a bin. ``ends`` are the indices after the bins.
    ends = last_of_ties(frames.scores) + 1
    count = min(_BINS, 1 + len(frames.scores) // 500)
    ends = np.unique(ends[np.searchsorted(ends, np.arange(1, count + 1) * len(frames.scores) // count)])
    until = np.empty((2, len(below), len(ends)))  # the amount of each class in each utterance below the end of each bin
    for column, (start, end) in enumerate(pairwise((0, *ends))):
        for of_class, amounts in zip(until, (frames.bonafide, frames.spoof)):
            of_class[:, column] = np.bincount(frames.utterance[start:end], amounts[start:end], len(below))
    until.cumsum(2, out=until)
    until += below.T[:, :, None]
    bonafide, spoof = resamples.sums(until) / resamples.sizes.T[:, :, None]  # R×bins
    rise = bonafide + spoof - 1  # FPR − FNR after each bin
    rise[:, -1] = 1  # with time after the last frame it may stay below 0
    crossed = (rise >= 0).argmax(1)  # the bin of each resample in which the first rate reaches the second
    # Rounding may move a crossing at the edge of a bin to its neighbour.
    first = max(0, int(crossed.min()) - 1)
    last = min(len(ends), int(crossed.max()) + 2)
    start = 0
    if first:
        start = ends[first - 1]
        below = until[:, :, first - 1].T
    window = slice(start, ends[last - 1])
    columns = ("scores", "bonafide", "spoof", "utterance")
    narrowed = frames._replace(**{name: getattr(frames, name)[window] for name in columns})
    return narrowed, below
