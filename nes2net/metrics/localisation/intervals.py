"""Bootstrap intervals of figures that are computed over frames or seconds.

Frames of one utterance depend on each other, so whole utterances are drawn. A corpus has millions
of frames, but the EER thresholds of all resamples lie close together. The frames are sorted by
score and divided into a few bins; from the amount of each class in each utterance and bin follows
the *window*, a range of bins that contains all thresholds. Each resample reads only the frames in
the window. The intervals are the same as if all frames were read.
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
from nes2net.metrics.intervals import Interval, check_draws, draw_counts, percentiles
from nes2net.metrics.localisation.metrics import (
    ScoredUtterance,
    Tail,
    TimedFrames,
    class_sums,
    join_frames,
    sort_frames,
    time_frames,
)
from nes2net.metrics.resampling import Resampled, quick_metric, single_trials

_CHUNK = 64  # number of resamples whose sums are computed together
_BINS = 32  # largest number of bins of the sorted frames
_FEW_FRAMES = 100_000  # a window with at most this many frames is not narrowed further
_MAX_KEPT = 100_000_000  # the draws are kept for the next metric if they take at most this many bytes


def range_eer_interval(
    utterances: Sequence[ScoredUtterance],
    resolution_ms: float,
    tail: Tail = "bonafide",
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Compute the bootstrap interval ``(low, high)`` of :func:`~nes2net.metrics.localisation.metrics.range_eer`.

    Args:
        utterances, resolution_ms, tail: as for
            :func:`~nes2net.metrics.localisation.metrics.range_eer`.
        num_resamples: at least 1. Utterances are drawn with replacement; a resample that lacks a
            class is drawn again.
        confidence: between 0 and 1.
        seed: 0 or more.

    Raises:
        InputError: if the EER cannot be computed, or a setting is out of range.
    """
    time = time_frames(utterances, resolution_ms, tail)
    return range_interval_of(time, num_resamples=num_resamples, confidence=confidence, seed=seed)


def range_interval_of(
    time: TimedFrames, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Compute :func:`range_eer_interval` from the result of :func:`time_frames`."""
    resamples = _Resamples(time.totals, num_resamples, seed)
    window, amounts_below = _window_of_thresholds(time, resamples)
    ends = last_of_ties(window.scores)
    sums_below = resamples.sums(amounts_below)

    def eer(index: int) -> float:
        weights = resamples.counts(index).take(window.utterance)  # how often each frame of the window was drawn
        bonafide, spoof = sums_below[index]  # seconds below the window
        sizes = resamples.sizes[index]
        # (distinct scores + 1,): first at a threshold below the window, then above each of its scores.
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
) -> Interval:
    """Compute the bootstrap interval ``(low, high)`` of :func:`~nes2net.metrics.localisation.metrics.point_eer`.

    Arguments: see :func:`~nes2net.metrics.localisation.metrics.point_eer` and
    :func:`range_eer_interval`.

    Raises:
        InputError: if the EER cannot be computed, or a setting is out of range.
    """
    frames = sort_frames(join_frames(scores, labels))
    return point_interval_of(frames, num_resamples=num_resamples, confidence=confidence, seed=seed)


def point_interval_of(
    frames: TimedFrames, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Compute :func:`point_eer_interval` from the result of :func:`sort_frames`."""
    resamples = _Resamples(frames.totals, num_resamples, seed)
    window, amounts_below = _window_of_thresholds(frames, resamples)
    # In each class, two more trials, with the scores −∞ and +∞, stand for all frames below and above the window.
    outside = np.array([-np.inf, np.inf])
    elements = []
    scores = []
    for num_frames in (window.bonafide, window.spoof):
        in_class = np.flatnonzero(num_frames)
        elements.append((window.utterance[in_class], num_frames[in_class].astype(np.int64)))
        scores.append(np.append(window.scores[in_class], outside))
    evaluate: Resampled | None = quick_metric(
        compute_eer, scores[0], scores[1], single_trials(len(scores[0]) + len(scores[1]))
    )
    assert evaluate is not None  # quick_metric() knows compute_eer()

    sums_below = resamples.sums(amounts_below).round().astype(np.int64)
    sizes = resamples.sizes.round().astype(np.int64)

    def eer(index: int) -> Any:
        draws_of_utterances = resamples.counts(index)
        # Order of the frames: in the window, below it, above it.
        trial_counts = []
        for (utterance, num_frames), num_below, size in zip(elements, sums_below[index], sizes[index]):
            in_window = draws_of_utterances.take(utterance) * num_frames
            num_above = size - num_below - in_window.sum()
            trial_counts.append(np.append(in_window, (num_below, num_above)))
        return evaluate(np.concatenate(trial_counts)[None])[0]

    return percentiles(resamples.figures(eer), confidence)


def interval_of_sums(
    sums: ArrayLike,
    figure: Callable[[NDArray], float],
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Compute the percentile bootstrap interval of a figure of sums over utterances.

    Resamples in which the figure is NaN are omitted; if none remains, both bounds are NaN.

    Args:
        sums: what each utterance adds to each of S sums, (U, S).
        figure: function from the sums of a resample, (S,), to a number.
        num_resamples, confidence, seed: as for :func:`range_eer_interval`.

    Raises:
        InputError: if there are no utterances, or if a setting is out of range.

    >>> low, high = interval_of_sums([[1, 2], [0, 2], [1, 2]], lambda sums: sums[0] / sums[1])
    >>> round(low, 3), round(high, 3)
    (0.0, 0.5)
    """
    rows = np.asarray(sums, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise InputError(
            f"expected sums (U, S) of at least one utterance, got shape {rows.shape}: pass a row for each utterance"
        )
    # All in one class, so no resample lacks one.
    values = np.array([figure(sums) for sums in _Resamples(np.ones((len(rows), 1)), num_resamples, seed).sums(rows)])
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    return percentiles(values, confidence)


class _Resamples:
    """Resamples of utterances, drawn with replacement. Each resample has both classes.

    Args:
        totals: (U, C), the amount of each class in each utterance, in frames or in seconds.
        number: R, the number of resamples.

    Raises:
        InputError: if no utterance has a class, or ``number`` or ``seed`` is out of range.
    """

    def __init__(self, totals: NDArray, number: int, seed: int) -> None:
        check_draws(number, seed)
        class_sums(totals)  # raises InputError if a class has nothing
        self.totals = totals
        self.number = number
        self.seed = seed
        # Indices of resamples whose first draw lacks a class; counts() draws these again.
        self.drawn_again: frozenset[int] = frozenset()
        self.sizes = self.sums(totals)
        """(R, C), the amount of each class in each resample."""
        if lacking := np.flatnonzero((self.sizes <= 0).any(1)).tolist():
            self.drawn_again = frozenset(lacking)
            self.sizes = self.sums(totals)

    def counts(self, index: int) -> NDArray:
        """Count how often a resample contains each utterance, (U,)."""
        size = len(self.totals)
        if size * self.number <= _MAX_KEPT and index not in self.drawn_again:
            return _cached_draws(size, self.number, self.seed)[index]
        rng = np.random.default_rng([self.seed, index])
        counts = draw_counts(rng, size)
        while index in self.drawn_again and not (counts @ self.totals > 0).all():
            counts = draw_counts(rng, size)
        return counts

    def sums(self, amounts: NDArray) -> NDArray:
        """Sum ``amounts`` (…, U, S) over the utterances of each resample: (…, R, S)."""
        # In chunks, so that they take little memory.
        chunks = np.array_split(np.arange(self.number), -(-self.number // _CHUNK))
        rows = (np.array([self.counts(index) for index in chunk], np.float64) for chunk in chunks)
        return np.concatenate([counts @ amounts for counts in rows], axis=-2)

    def figures(self, figure: Callable[[int], float]) -> NDArray:
        """Compute ``figure(index)`` for the index of each resample, in threads: (R,)."""
        # Threads run in parallel, because NumPy releases Python's global lock.
        with ThreadPoolExecutor(usable_processors()) as pool:
            return np.array(list(bootstrap_progress(pool.map(figure, range(self.number)), self.number)))


@lru_cache(maxsize=1)
def _cached_draws(num_utterances: int, num_resamples: int, seed: int) -> NDArray:
    """Count how often each resample draws each utterance, (R, U); cached, because all metrics use the same draws."""
    # 8 bits suffice: the probability of a count above 255 is below 1/256!, where ! is the factorial.
    counts = np.empty((num_resamples, num_utterances), np.uint8)
    for index in range(num_resamples):
        # the generator of _Resamples.counts, which draws the same without the cache
        counts[index] = draw_counts(np.random.default_rng([seed, index]), num_utterances)
    counts.flags.writeable = False
    return counts


def _window_of_thresholds(frames: TimedFrames, resamples: _Resamples) -> tuple[TimedFrames, NDArray]:
    """Find the range of ``frames`` with all EER thresholds, and the amounts below it, (U, 2)."""
    amounts_below = np.zeros_like(resamples.totals)
    previous_size = np.inf
    while _FEW_FRAMES < len(frames.scores) < previous_size / 2:  # stop if narrowing does not halve the window
        previous_size = len(frames.scores)
        frames, amounts_below = _narrow_window(frames, amounts_below, resamples)
    return frames, amounts_below


def _narrow_window(frames: TimedFrames, amounts_below: NDArray, resamples: _Resamples) -> tuple[TimedFrames, NDArray]:
    """Narrow the window ``frames`` by one division into bins; amounts below it are (U, 2)."""
    # Equal scores are in the same bin. ``ends``: index of the first frame after each bin.
    ends = last_of_ties(frames.scores) + 1
    count = min(_BINS, 1 + len(frames.scores) // 500)  # a bin has 500 frames or more
    ends = np.unique(ends[np.searchsorted(ends, np.arange(1, count + 1) * len(frames.scores) // count)])
    # (2, U, bins): the amount of each class in each utterance up to the end of each bin.
    amounts = np.empty((2, len(amounts_below), len(ends)))
    for column, (start, end) in enumerate(pairwise((0, *ends))):
        for class_amounts, frame_amounts in zip(amounts, (frames.bonafide, frames.spoof)):
            sums = np.bincount(frames.utterance[start:end], frame_amounts[start:end], len(amounts_below))
            class_amounts[:, column] = sums
    amounts.cumsum(2, out=amounts)
    amounts += amounts_below.T[:, :, None]
    fpr, recall = resamples.sums(amounts) / resamples.sizes.T[:, :, None]  # R×bins
    rise = fpr + recall - 1  # FPR − FNR after each bin
    rise[:, -1] = 1  # FPR reaches FNR in the last bin at the latest, even if there is time after the last frame
    crossed = (rise >= 0).argmax(1)  # for each resample, the bin in which FPR reaches FNR
    # Include the neighbouring bins, because rounding may move a crossing into them.
    first = max(0, int(crossed.min()) - 1)
    last = min(len(ends), int(crossed.max()) + 2)
    start = 0
    if first:
        start = ends[first - 1]
        amounts_below = amounts[:, :, first - 1].T
    window = slice(start, ends[last - 1])
    columns = ("scores", "bonafide", "spoof", "utterance")
    narrowed = frames._replace(**{name: getattr(frames, name)[window] for name in columns})
    return narrowed, amounts_below
