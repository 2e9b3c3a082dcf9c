"""Bootstrap intervals of figures that are computed over frames or seconds.

Frames of one utterance depend on each other, so whole utterances are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Unpack

from nes2net.lib.errors import InputError
from nes2net.lib.output.progress import bootstrap_progress
from nes2net.metrics.intervals import Interval, Resampling, check_draws, drawing_of_groups, percentiles, values_of_draws
from nes2net.metrics.localisation.metrics import (
    ScoredUtterance,
    Tail,
    TimedFrames,
    join_frames,
    point_eer_of,
    range_eer_of,
    sort_frames,
    time_frames,
)
from nes2net.metrics.resampling import Blocks, Cells, Resampled, eer_of_blocks, single_trials


class IntervalDraws(Resampling, total=False):
    """How the bootstrap draws, and the share of the draws in the interval."""

    confidence: float


def range_eer_interval(
    utterances: Sequence[ScoredUtterance],
    resolution_ms: float,
    tail: Tail = "bonafide",
    **draws: Unpack[IntervalDraws],
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
    return range_interval_of(time_frames(utterances, resolution_ms, tail), **draws)


def range_interval_of(time: TimedFrames, **draws: Unpack[IntervalDraws]) -> Interval:
    """Compute :func:`range_eer_interval` from the result of :func:`time_frames`."""
    blocks = _blocks_of_frames(time, range_eer_of(time).threshold)

    def eer(weights: NDArray, rejected: NDArray) -> float:
        """Compute the EER of one resample from draws of utterances (U,) and amounts before each block, 2×(K+1)."""
        sizes = weights @ time.totals
        # FPR − FNR before each block. FPR may stay lower, if there is time after the last frame.
        rise = (rejected / sizes[:, None]).sum(axis=0) - 1
        block = min(int(np.searchsorted(rise, 0)), rise.size - 1) - 1  # the block in which FPR reaches FNR
        trials = blocks.block(block)
        after = rejected[:, block, None] + blocks.drawn(weights, trials).cumsum(axis=1)[:, blocks.is_last[trials]]
        # At a threshold below the block, then at each of its scores.
        called_spoof, hits = np.column_stack((rejected[:, block], after)) / sizes[:, None]
        nearest = np.argmin(np.abs(called_spoof - (1 - hits)))
        return float((called_spoof[nearest] + (1 - hits[nearest])) / 2)

    def evaluate(weights: NDArray) -> NDArray:
        return np.array(list(map(eer, weights, blocks.count_rejected(weights))))

    return _interval(evaluate, blocks.cells, time.totals, **draws)


def point_eer_interval(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    **draws: Unpack[IntervalDraws],
) -> Interval:
    """Compute the bootstrap interval ``(low, high)`` of :func:`~nes2net.metrics.localisation.metrics.point_eer`.

    Arguments: see :func:`~nes2net.metrics.localisation.metrics.point_eer` and
    :func:`range_eer_interval`.

    Raises:
        InputError: if the EER cannot be computed, or a setting is out of range.
    """
    return point_interval_of(sort_frames(join_frames(scores, labels)), **draws)


def point_interval_of(frames: TimedFrames, **draws: Unpack[IntervalDraws]) -> Interval:
    """Compute :func:`point_eer_interval` from the result of :func:`sort_frames`."""
    blocks = _blocks_of_frames(frames, point_eer_of(frames).threshold)
    return _interval(eer_of_blocks(blocks), blocks.cells, frames.totals, **draws)


def _blocks_of_frames(frames: TimedFrames, threshold: float) -> Blocks:
    near = int(np.searchsorted(frames.scores, threshold))
    cells = Cells(frames.utterance, len(frames.totals))
    return Blocks(frames.scores, (frames.bonafide, frames.spoof), cells, near)


def _interval(
    evaluate: Resampled,
    cells: Cells,
    totals: NDArray,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """``totals`` (C, K): how much of each of K classes is in a cell; a draw that lacks a class is repeated.

    Resamples whose value is NaN are omitted; if none remains, both bounds are NaN.
    """
    check_draws(num_resamples, seed)
    drawing = drawing_of_groups(seed, cells, [np.flatnonzero(amounts > 0) for amounts in totals.T])
    # In one thread: the products of count_rejected() have threads of their own.
    draws = values_of_draws([evaluate], drawing, num_resamples)
    values = np.array(list(bootstrap_progress(draws, num_resamples)))
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    return percentiles(values, confidence)


def interval_of_sums(
    sums: ArrayLike,
    figure: Callable[[NDArray], float],
    **draws: Unpack[IntervalDraws],
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
    return _interval(
        lambda weights: np.array([figure(sums) for sums in weights @ rows]),
        single_trials(len(rows)),
        rows[:, :0],  # no class has to be drawn
        **draws,
    )
