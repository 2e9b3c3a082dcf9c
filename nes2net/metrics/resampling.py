"""Compute metrics on bootstrap resamples from counts, which say how often each trial was drawn.

A resample repeats trials but keeps their order, so scores are sorted once. Trials that are always
drawn equally often, such as all trials of a drawn speaker, form a *cell*: a resample is one count
for each cell. The sorted trials are divided into blocks. The counts times a table, the number of
trials of each cell in each block, give the trials of each block in a resample; only the few
decisive blocks are read trial by trial. ``quick_metric`` makes such functions. For other metrics,
``any_metric`` repeats the scores.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.metrics.dcf import act_dcf, act_dcf_threshold, cllr_terms, dcf, min_cllr_of_counts
from nes2net.metrics.eer import (
    compute_eer,
    count_rejected_in_tie,
    interpolate_crossing,
    last_of_ties,
    nearest_rates,
    sorting_index,
)
from nes2net.metrics.rates import Rates, rates_of_counts
from nes2net.metrics.registry import metrics
from nes2net.metrics.sasv import SasvWeights, a_dcf
from nes2net.metrics.tdcf import asv_error_rates, tandem_weights, tdcf

# Few trials have fewer blocks, of about _MIN_BLOCK_SIZE trials.
_MAX_BLOCKS = 256
_MIN_BLOCK_SIZE = 64
_TABLE_SIZE = 1 << 22  # entries of the table for each class (32 MB)
_FEW_BLOCKS = 32  # but with very many cells, there are no fewer blocks


class Cells(NamedTuple):
    """A division of the trials into cells, whose trials occur equally often in any resample."""

    numbers: NDArray
    """The cell of each trial of [bonafide, spoof], from 0: (B + S,)."""
    size: int
    """The number of cells, C."""


#: How often each cell was drawn, (R, C) → the metric (R,), or the fields of Rates, (R, 6).
Resampled = Callable[[NDArray], NDArray]


def single_trials(num_trials: int) -> Cells:
    """Make a cell of each trial."""
    return Cells(np.arange(num_trials), num_trials)


def quick_metric(metric: Callable[..., Any], classes: Sequence[NDArray], cells: Cells) -> Resampled | None:
    """Make a function that computes ``metric`` fast from counts of cells; None if none is known.

    Inputs are not checked: the caller has already computed the metric on all trials.
    """
    options: dict[str, Any] = {}
    if isinstance(metric, functools.partial) and not metric.args:
        options = metric.keywords
        metric = metric.func
    for declared in map(metrics.get, metrics.names()):
        if declared.function is metric and declared.quick is not None:
            settings = inspect.signature(metric).bind(*classes, **options)
            settings.apply_defaults()
            return declared.quick(**settings.arguments, cells=cells)
    return None


def any_metric(metric: Callable[..., Any], classes: Sequence[NDArray], cells: Cells) -> Resampled:
    """Make a function of counts of cells that repeats scores, ascending, for a fast sort; see :func:`figures_of`."""
    ends = np.cumsum([of_class.size for of_class in classes])
    order = np.concatenate(
        [end - of_class.size + np.argsort(of_class, kind="stable") for end, of_class in zip(ends, classes)]
    )
    sorted_classes = list(map(np.sort, classes))

    def evaluate(counts: NDArray) -> Any:
        """``counts`` (N,) of the trials in ``order``."""
        return figures_of(metric(*map(np.repeat, sorted_classes, np.split(counts, ends[:-1]))))

    return _trial_by_trial(evaluate, cells._replace(numbers=cells.numbers[order]))


def figures_of(value: Any) -> Any:
    """Choose what to resample: all fields of :class:`Rates`, or the first number of another result."""
    if isinstance(value, Rates):
        return value
    if isinstance(value, tuple):
        value = value[0]
    return float(value)


def _trial_by_trial(evaluate: Callable[[NDArray], Any], cells: Cells) -> Resampled:
    return lambda weights: np.array([evaluate(weights_of_cells[cells.numbers]) for weights_of_cells in weights])


class Blocks:
    """Sorted trials of M classes in K blocks; equal scores share a block.

    Args:
        scores: (N,), ascending.
        amounts: a vector (N,) for each class: how much of it each trial is.
        cells: of the sorted trials.
        near: the trial near which blocks are small, because it decides; by default all have one size.

    Attributes:
        cells: as given.
        is_last: (N,), whether each trial is the last of equal scores.
    """

    def __init__(self, scores: NDArray, amounts: Sequence[NDArray], cells: Cells, near: int | None = None) -> None:
        self._amounts = amounts
        self.cells = cells
        ends = last_of_ties(scores)
        self.is_last = np.zeros(scores.size, dtype=bool)
        self.is_last[ends] = True
        num_blocks = int(np.clip(scores.size // _MIN_BLOCK_SIZE, 1, _MAX_BLOCKS))
        has_tables = 2 * cells.size <= scores.size  # with smaller cells, sums of trials are quicker
        if has_tables:
            num_blocks = min(num_blocks, max(_FEW_BLOCKS, _TABLE_SIZE // cells.size))
        positions = np.linspace(-1, 1, num_blocks + 1)[1:]
        middle = scores.size / 2
        if near is not None:
            positions = positions**3
            middle = near
        wished_ends = np.interp(positions, (-1, 0, 1), (0, middle, scores.size)).astype(np.int64) - 1
        # (K + 1,): the first sorted trial of each block, and their number.
        self._bounds = np.append(0, np.unique(ends[np.searchsorted(ends, wished_ends)]) + 1)
        self._tables: NDArray | None = None  # the amount of each class in each cell and block, M×C×K
        if has_tables:
            self._tables = np.empty((len(amounts), cells.size, self._bounds.size - 1))
            for table, of_class in zip(self._tables, amounts):
                for number in range(table.shape[1]):
                    trials = self.block(number)
                    table[:, number] = np.bincount(cells.numbers[trials], of_class[trials], cells.size)

    def count_rejected(self, weights: NDArray) -> NDArray:
        """Sum the amounts of each class before each block in R resamples, and in all: R×M×(K+1).

        ``weights`` (R, C) says how often each cell was drawn. Sums of counts are exact.
        """
        rejected = np.zeros((len(weights), len(self._amounts), self._bounds.size))
        in_blocks = rejected[:, :, 1:]
        if self._tables is not None:
            # In float64, in which products are fast and numbers of trials exact.
            in_blocks[:] = (weights.astype(np.float64) @ self._tables).swapaxes(0, 1)
        else:
            for sums, weights_of_cells in zip(in_blocks, weights):
                sums[:] = np.add.reduceat(self.drawn(weights_of_cells, slice(None)), self._bounds[:-1], axis=1)
        return rejected.cumsum(axis=2)

    def block(self, number: int) -> slice:
        """Return the sorted trials of a block as a slice."""
        return slice(self._bounds[number], self._bounds[number + 1])

    def drawn(self, weights: NDArray, trials: slice) -> NDArray:
        """Compute the drawn amounts of T sorted ``trials``, M×T, from draws of cells, (C,)."""
        counts = weights[self.cells.numbers[trials]]
        return np.stack([counts * of_class[trials] for of_class in self._amounts])


def _blocks_of_trials(classes: Sequence[NDArray], cells: Cells, order: Any = None) -> Blocks:
    """Sort the scores of M ``classes``; ``order`` as for :func:`compute_eer`."""
    index = sorting_index(classes[0], np.concatenate(classes[1:]), order)
    class_numbers = np.repeat(np.arange(len(classes)), [of_class.size for of_class in classes])[index]
    amounts = [class_numbers == number for number in range(len(classes))]
    return Blocks(np.concatenate(classes)[index], amounts, cells._replace(numbers=cells.numbers[index]))


def quick_eer(bonafide: NDArray, spoof: NDArray, method: str, order: Any, cells: Cells) -> Resampled:
    if method not in ("asvspoof", "interpolated", "roc"):
        return any_metric(functools.partial(compute_eer, method=method), (bonafide, spoof), cells)
    if method != "interpolated":
        order = None
    return eer_of_blocks(_blocks_of_trials((bonafide, spoof), cells, order), method)


def eer_of_blocks(blocks: Blocks, method: str = "asvspoof") -> Resampled:
    """Make the function for the EER; amounts are numbers of trials, and each trial is of one class."""

    def evaluate(weights: NDArray, rejected: NDArray) -> float:
        """Compute the EER of one resample from its counts (C,) and its row of :meth:`Blocks.count_rejected`, 2×(K+1)."""
        num_bonafide, num_spoof = rejected[:, -1].tolist()
        # FRR − FAR rises from −1 to 1, by 1/num_bonafide or 1/num_spoof at each trial. Multiplied by
        # num_bonafide · num_spoof, rises are integers, and FRR reaches FAR when they add up to this product.
        # (2,) @ (2, K + 1) below: how far FRR − FAR has risen before each block.
        rises = np.array((num_spoof, num_bonafide))
        target_rise = num_bonafide * num_spoof
        block = int(np.searchsorted(rises @ rejected, target_rise)) - 1  # the block in which FRR reaches FAR
        copies = blocks.drawn(weights, blocks.block(block))  # 2×T
        risen = rises @ rejected[:, block] + (rises @ copies).cumsum()  # (T,)
        crossing = int(np.searchsorted(risen, target_rise))  # index of the trial whose copies make FRR reach FAR
        before = rejected[:, block] + copies[:, :crossing].sum(axis=1)
        if method == "roc":  # all trials with the score of this trial are one step
            ends = np.flatnonzero(blocks.is_last[blocks.block(block)])
            tie = int(np.searchsorted(ends, crossing))
            start = ends[tie - 1] + 1 if tie else 0
            before = rejected[:, block] + copies[:, :start].sum(axis=1)
            after = before + copies[:, start : ends[tie] + 1].sum(axis=1)
            steps = np.column_stack((before, after))
        else:
            steps = count_rejected_in_tie(before, copies[:, crossing])
        if method == "asvspoof":
            return nearest_rates(steps, (num_bonafide, num_spoof))[0]
        return interpolate_crossing(steps[0], steps[1], num_bonafide, num_spoof)[0]

    return lambda weights: np.array(list(map(evaluate, weights, blocks.count_rejected(weights).astype(np.int64))))


def quick_min_tdcf(bonafide, spoof, asv_target, asv_nontarget, asv_spoof, version, cells) -> Resampled:
    # The arguments are those of compute_min_tdcf(); the ASV scores are not resampled.
    weights = tandem_weights(asv_error_rates(asv_target, asv_nontarget, asv_spoof), version)
    return _quick_minimum((bonafide, spoof), cells, lambda frr, far: tdcf(frr, far, weights), ties_are_one_step=False)


def _quick_minimum(classes: Sequence[NDArray], cells: Cells, cost: Callable, *, ties_are_one_step: bool) -> Resampled:
    """Make the function for the smallest ``cost(miss, *alarms)`` over all thresholds.

    The rate of errors of the first class is that of rejected trials, the rates of others those of
    accepted trials. The cost is linear in them and rises with each, so the misses before a block
    and the alarms after it give a lower bound. A block is read trial by trial only if its bound is
    below all costs between blocks. Copies of a trial lie on a straight piece of the ROC curve,
    where a linear cost is smallest at an end; thresholds between copies are skipped.
    """
    blocks = _blocks_of_trials(classes, cells)

    def evaluate(weights: NDArray) -> NDArray:
        """Compute the smallest cost (R,) of R resamples from their counts (R, C)."""
        rejected = blocks.count_rejected(weights)  # R×M×(K+1)
        sizes = rejected[:, :, -1]  # R×M: trials of each class and resample
        rates = _error_rates(rejected, sizes).swapaxes(0, 1)  # M×R×(K+1)
        lowest = cost(*rates).min(axis=1)  # the first column is the threshold that accepts all trials
        bounds = cost(rates[0, :, :-1], *rates[1:, :, 1:])  # R×K
        for row, block in np.argwhere(bounds < lowest[:, None]).tolist():
            if bounds[row, block] >= lowest[row]:  # an earlier block already has a lower cost
                continue
            trials = blocks.block(block)
            after = rejected[row, :, block, None] + blocks.drawn(weights[row], trials).cumsum(axis=1)  # M×T
            if ties_are_one_step:
                after = after[:, blocks.is_last[trials]]
            lowest[row] = min(lowest[row], cost(*_error_rates(after, sizes[row])).min())
        return lowest

    return evaluate


def _error_rates(rejected: NDArray, sizes: NDArray) -> NDArray:
    """Compute rates (…, M, P) from counts (…, M, P) of rejected trials, and of all trials (…, M)."""
    sizes = sizes[..., None]
    errors = sizes - rejected
    errors[..., 0, :] = rejected[..., 0, :]
    return errors / sizes


def quick_min_cllr(bonafide: NDArray, spoof: NDArray, cells: Cells) -> Resampled:
    """Make the function for :func:`compute_min_cllr`.

    Scores that share a pool in every resample are merged first. A pool ends only where the fraction
    of bona fide trials rises from one run of equal scores to the next, so the next run shares the
    pool of a purely bona fide one, and a purely spoofed one that of the run before it.
    """
    index = sorting_index(bonafide, spoof)
    ends = last_of_ties(np.concatenate((bonafide, spoof))[index])
    num_bonafide = np.diff(np.cumsum(index < bonafide.size)[ends], prepend=0)
    num_spoof = np.diff(ends, prepend=-1) - num_bonafide
    # (runs,): whether a run of equal scores begins another pool than the run before it.
    begins = np.append(True, (num_spoof[:-1] > 0) & (num_bonafide[1:] > 0))
    pool = np.empty(index.size, dtype=np.int64)  # index of the pool of each trial of [bonafide, spoof]
    pool[index] = np.repeat(np.cumsum(begins) - 1, num_bonafide + num_spoof)
    num_pools = int(begins.sum())

    def evaluate(counts: NDArray) -> float:
        of_classes = slice(bonafide.size), slice(bonafide.size, None)
        drawn = np.stack([np.bincount(pool[trials], counts[trials], num_pools) for trials in of_classes])
        return min_cllr_of_counts(*drawn[:, drawn.any(0)])  # groups without drawn trials are omitted

    return _trial_by_trial(evaluate, cells)


def _quick_sums(terms: Sequence[NDArray], cells: Cells, combine: Callable[..., float | Rates]) -> Resampled:
    """Make the function for ``combine(*sums of the terms of M classes, *numbers of their trials)``."""
    class_numbers = np.repeat(np.arange(len(terms)), [of_class.size for of_class in terms])
    is_of_class = [class_numbers == number for number in range(len(terms))]
    all_terms = np.concatenate(terms)
    columns = [*(np.where(mask, all_terms, 0) for mask in is_of_class), *is_of_class]
    sums = np.stack([np.bincount(cells.numbers, column, cells.size) for column in columns], axis=1)  # C×2M
    return lambda weights: np.array([combine(*row) for row in (weights @ sums).tolist()])


# The quick forms of metrics (`nes2net.metrics.declared`): each takes the arguments of its metric, and `cells`.


def quick_min_dcf(bonafide: NDArray, spoof: NDArray, method: str, cells: Cells, **costs: Any) -> Resampled:
    cost = functools.partial(dcf, **costs)
    return _quick_minimum((bonafide, spoof), cells, cost, ties_are_one_step=method == "sklearn")


def quick_act_dcf(bonafide: NDArray, spoof: NDArray, cells: Cells, **costs: Any) -> Resampled:
    threshold = act_dcf_threshold(**costs)

    def combine(missed: float, accepted: float, num_bonafide: float, num_spoof: float) -> float:
        return act_dcf(missed / num_bonafide, accepted / num_spoof, **costs)

    return _quick_sums((bonafide < threshold, spoof >= threshold), cells, combine)


def quick_cllr(bonafide: NDArray, spoof: NDArray, cells: Cells) -> Resampled:
    return _quick_sums(cllr_terms(bonafide, spoof), cells, lambda b, s, *sizes: (b / sizes[0] + s / sizes[1]) / 2)


def quick_rates(bonafide: NDArray, spoof: NDArray, threshold: float, cells: Cells) -> Resampled:
    return _quick_sums((bonafide < threshold, spoof >= threshold), cells, rates_of_counts)


def quick_claim_eer(
    target: NDArray, nontarget: NDArray, spoof: NDArray, against: Sequence[int], cells: Cells
) -> Resampled:
    opposing = [(target, nontarget, spoof)[number] for number in against]
    numbers = np.split(cells.numbers, np.cumsum((target.size, nontarget.size)))
    cells = cells._replace(numbers=np.concatenate([numbers[number] for number in (0, *against)]))
    return eer_of_blocks(_blocks_of_trials((target, np.concatenate(opposing)), cells), "roc")


def quick_a_dcf(
    target: NDArray,
    nontarget: NDArray,
    spoof: NDArray,
    weights: SasvWeights,
    threshold: float | None,
    cells: Cells,
) -> Resampled:
    def combine(*numbers: float) -> float:
        """Compute the cost from numbers of errors, then of trials, of each class."""
        return float(a_dcf(np.divide(numbers[:3], numbers[3:]), weights))

    if threshold is None:
        classes = (target, nontarget, spoof)
        return _quick_minimum(classes, cells, lambda *rates: a_dcf(rates, weights), ties_are_one_step=False)
    return _quick_sums((target < threshold, nontarget >= threshold, spoof >= threshold), cells, combine)
