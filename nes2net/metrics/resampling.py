"""Compute a metric on a bootstrap resample from the counts of its trials.

A resample repeats trials but keeps their order, so the scores are sorted once for all resamples.
Each resample then takes a few passes over the counts of the sorted trials. This takes O(n) instead
of O(n log n) steps. A function that computes a metric in this way is called the quick form of the
metric. A metric without a quick form is computed from repeated scores.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net.metrics.dcf import (
    act_dcf,
    act_dcf_threshold,
    cllr_terms,
    compute_act_dcf,
    compute_cllr,
    compute_min_cllr,
    compute_min_dcf,
    dcf,
    min_cllr_of_counts,
)
from nes2net.metrics.eer import compute_eer, interpolated_crossing, last_of_ties, roc_corners, sorting_index
from nes2net.metrics.rates import Rates, compute_rates, rates_of_counts
from nes2net.metrics.tdcf import asv_error_rates, compute_min_tdcf, tandem_weights, tdcf

#: A metric on a resample. The argument says how often each trial of [bonafide, spoof] was drawn, (B + S,); the result
#: is a number or Rates.
Resampled = Callable[[NDArray], Any]


def quick_metric(metric: Callable[..., Any], bonafide: NDArray, spoof: NDArray) -> Resampled | None:
    """Make the quick form of ``metric``, a function of counts; None if the metric has no quick form.

    Raises:
        InputError: if the scores or the options of ``metric`` are wrong.
    """
    options: dict[str, Any] = {}
    if isinstance(metric, functools.partial) and not metric.args:
        options = metric.keywords
        metric = metric.func
    # Compare by identity, because a metric of the caller need not be hashable.
    make = next((make for function, make in _MAKERS.items() if function is metric), None)
    if make is None:
        return None
    settings = inspect.signature(metric).bind(bonafide, spoof, **options)
    settings.apply_defaults()
    metric(bonafide, spoof, **options)  # raises an error if scores or settings are wrong
    return make(**settings.arguments)


def any_metric(metric: Callable[..., Any], bonafide: NDArray, spoof: NDArray) -> Resampled:
    """Make a function of counts that computes any ``metric``: each score is repeated as often as it was drawn.

    Of a metric that returns a tuple, such as ``compute_eer``, only the first number is returned.
    """

    def evaluate(counts: NDArray) -> Any:
        """Compute ``metric`` of the resample that has each trial of [bonafide, spoof] ``counts`` (B + S,) times."""
        value = metric(np.repeat(bonafide, counts[: bonafide.size]), np.repeat(spoof, counts[bonafide.size :]))
        if isinstance(value, Rates):
            return value
        if isinstance(value, tuple):
            value = value[0]
        return float(value)

    return evaluate


def _quick_eer(bonafide: NDArray, spoof: NDArray, method: str, order: Any) -> Resampled:
    """Make the quick form of :func:`compute_eer`."""
    if method in ("arena", "roc", "sklearn"):
        return _quick_eer_of_ties(bonafide, spoof, method)
    if method == "asvspoof":
        order = None
    index = sorting_index(bonafide, spoof, order)
    is_bonafide = index < bonafide.size
    bonafide_weights = is_bonafide.astype(np.int64)

    def evaluate(counts: NDArray) -> float:
        """Compute the EER of the resample that has each trial of [bonafide, spoof] ``counts`` (B + S,) times."""
        num_bonafide, num_spoof = _class_sizes(counts, bonafide.size)
        counts = counts[index]
        # FRR − FAR rises from −1 to 1, by 1/num_bonafide or 1/num_spoof a step. Multiplied by
        # num_bonafide · num_spoof, the rise is an integer, and FRR reaches FAR at this product.
        rise = np.cumsum(counts * np.where(is_bonafide, num_spoof, num_bonafide))
        to_climb = num_bonafide * num_spoof
        crossing = int(np.searchsorted(rise, to_climb))  # index of the trial at one of whose copies FRR reaches FAR
        climbed = int(rise[crossing - 1]) if crossing else 0
        rejected_bonafide = int(counts[:crossing] @ bonafide_weights[:crossing])
        rejected_spoof = (climbed - rejected_bonafide * num_spoof) // num_bonafide
        at_bonafide = bool(is_bonafide[crossing])
        step = num_spoof if at_bonafide else num_bonafide
        copies = -((climbed - to_climb) // step)  # number of copies up to the crossing, rounded up
        after = (rejected_bonafide + copies * at_bonafide, rejected_spoof + copies * (not at_bonafide))
        before = (after[0] - at_bonafide, after[1] - (not at_bonafide))
        # The error rates at the crossing and one step before the crossing.
        frr = after[0] / num_bonafide
        far = (num_spoof - after[1]) / num_spoof
        frr_before = before[0] / num_bonafide
        far_before = (num_spoof - before[1]) / num_spoof
        gap = frr - far
        gap_before = far_before - frr_before
        if method == "interpolated":
            return frr_before + gap_before / (gap_before + gap) * (frr - frr_before)
        if gap_before <= gap:
            return (frr_before + far_before) / 2
        return (frr + far) / 2

    return evaluate


def _quick_eer_of_ties(bonafide: NDArray, spoof: NDArray, method: str) -> Resampled:
    """Make the quick form of :func:`compute_eer` by a rule that treats equal scores as one step."""
    index = sorting_index(bonafide, spoof)[::-1]  # highest score first
    is_bonafide = index < bonafide.size
    ends = last_of_ties(np.concatenate((bonafide, spoof))[index])

    def evaluate(counts: NDArray) -> float:
        """Compute the EER of the resample that has each trial of [bonafide, spoof] ``counts`` (B + S,) times."""
        num_bonafide, num_spoof = _class_sizes(counts, bonafide.size)
        counts = counts[index]
        accepted = np.cumsum(counts)[ends]
        drawn = np.diff(accepted, prepend=0) > 0  # the scores that the resample contains
        accepted_bonafide = np.cumsum(counts * is_bonafide)[ends][drawn]
        accepted_spoof = accepted[drawn] - accepted_bonafide
        if method != "sklearn":
            rejected = num_bonafide - accepted_bonafide[::-1], num_spoof - accepted_spoof[::-1]
            if method == "roc":
                rejected = np.append(rejected[0], num_bonafide), np.append(rejected[1], num_spoof)
            return interpolated_crossing(*rejected, num_bonafide, num_spoof)[0]
        corner = roc_corners(accepted_bonafide, accepted_spoof)
        frr = 1 - np.append(0, accepted_bonafide[corner]) / num_bonafide
        far = np.append(0, accepted_spoof[corner]) / num_spoof
        nearest = np.argmin(np.abs(frr - far))
        return float((frr[nearest] + far[nearest]) / 2)

    return evaluate


def _quick_min_tdcf(bonafide, spoof, asv_target, asv_nontarget, asv_spoof, version) -> Resampled:
    """Make the quick form of :func:`compute_min_tdcf`, with its arguments; the ASV scores are not resampled."""
    weights = tandem_weights(asv_error_rates(asv_target, asv_nontarget, asv_spoof), version)
    return _quick_minimum(bonafide, spoof, lambda frr, far: tdcf(frr, far, weights), ties_are_one_step=False)


def _quick_minimum(bonafide: NDArray, spoof: NDArray, cost: Callable, *, ties_are_one_step: bool) -> Resampled:
    """Make the quick form of the smallest ``cost(frr, far)`` over all thresholds; the cost is linear in both rates.

    The copies of a trial lie on a straight piece of the ROC curve. Along such a piece, a linear
    cost is smallest at one of the two ends. The steps between the ends are therefore skipped.

    Args:
        ties_are_one_step: whether equal scores are one step; if False, every trial is a step.
    """
    index = sorting_index(bonafide, spoof)
    is_bonafide = index < bonafide.size
    steps: NDArray | slice = slice(None)
    if ties_are_one_step:
        steps = last_of_ties(np.concatenate((bonafide, spoof))[index])

    def evaluate(counts: NDArray) -> float:
        """Compute the smallest cost of the resample that has each trial of [bonafide, spoof] ``counts`` times."""
        num_bonafide, num_spoof = _class_sizes(counts, bonafide.size)
        counts = counts[index]
        rejected_bonafide = np.cumsum(counts * is_bonafide)
        rejected_spoof = (np.cumsum(counts) - rejected_bonafide)[steps]
        frr = rejected_bonafide[steps] / num_bonafide
        far = (num_spoof - rejected_spoof) / num_spoof
        cost_of_accepting_all = cost(0.0, 1.0)
        return float(min(cost(frr, far).min(), cost_of_accepting_all))

    return evaluate


def _quick_combined_means(bonafide_terms: NDArray, spoof_terms: NDArray, combine: Callable) -> Resampled:
    """Make the quick form of a metric that depends only on a mean over each class.

    Args:
        bonafide_terms, spoof_terms: the number that each trial adds to the mean, (B,) and (S,).
        combine: function from the means of both classes to the metric.
    """

    def evaluate(counts: NDArray) -> float:
        """Compute the metric of the resample that has each trial of [bonafide, spoof] ``counts`` (B + S,) times."""
        num_bonafide, num_spoof = _class_sizes(counts, bonafide_terms.size)
        means = (
            counts[: bonafide_terms.size] @ bonafide_terms / num_bonafide,
            counts[bonafide_terms.size :] @ spoof_terms / num_spoof,
        )
        return float(combine(*means))

    return evaluate


def _quick_min_cllr(bonafide: NDArray, spoof: NDArray) -> Resampled:
    """Make the quick form of :func:`compute_min_cllr`; scores that share a pool in every resample are merged first.

    A tie group is a run of equal scores. A pool ends where the fraction of bona fide trials rises.
    No pool of any resample ends after a tie group of bona fide trials only, or before a tie group
    of spoofed trials only.
    """
    index = sorting_index(bonafide, spoof)
    ends = last_of_ties(np.concatenate((bonafide, spoof))[index])
    # Numbers of trials in each tie group.
    num_bonafide = np.diff(np.cumsum(index < bonafide.size)[ends], prepend=0)
    num_spoof = np.diff(ends, prepend=-1) - num_bonafide
    begins = np.append(True, (num_spoof[:-1] > 0) & (num_bonafide[1:] > 0))  # whether a pool may begin with the group
    pool = np.empty(index.size, dtype=np.int64)  # for each trial of [bonafide, spoof], the number of its pool
    pool[index] = np.repeat(np.cumsum(begins) - 1, num_bonafide + num_spoof)
    pools_of_classes = pool[: bonafide.size], pool[bonafide.size :]
    num_pools = int(begins.sum())

    def evaluate(counts: NDArray) -> float:
        """Compute the minimum Cllr of the resample that has each trial of [bonafide, spoof] ``counts`` times."""
        # Count the drawn trials in each merged group; groups without drawn trials are left out.
        counts_of_classes = counts[: bonafide.size], counts[bonafide.size :]
        drawn_bonafide, drawn_spoof = (
            np.bincount(pools, weights=weights, minlength=num_pools)
            for pools, weights in zip(pools_of_classes, counts_of_classes)
        )
        occupied = drawn_bonafide + drawn_spoof > 0
        return min_cllr_of_counts(drawn_bonafide[occupied], drawn_spoof[occupied])

    return evaluate


def _quick_rates(bonafide: NDArray, spoof: NDArray, threshold: float) -> Resampled:
    """Make the quick form of :func:`compute_rates`."""
    missed = np.flatnonzero(bonafide < threshold)
    accepted = np.flatnonzero(spoof >= threshold) + bonafide.size

    def evaluate(counts: NDArray) -> Rates:
        """Compute the rates of the resample that has each trial of [bonafide, spoof] ``counts`` (B + S,) times."""
        sizes = _class_sizes(counts, bonafide.size)
        return rates_of_counts(int(counts[missed].sum()), int(counts[accepted].sum()), *sizes)

    return evaluate


def _class_sizes(counts: NDArray, num_bonafide: int) -> tuple[int, int]:
    """Sum the ``counts`` (B + S,) of a resample to its numbers of bona fide and of spoofed trials."""
    return int(counts[:num_bonafide].sum()), int(counts[num_bonafide:].sum())


#: Metric → the function that makes the quick form of the metric. The two functions have the same arguments.
_MAKERS: dict[Callable, Callable[..., Resampled]] = {
    compute_eer: _quick_eer,
    compute_min_dcf: lambda bonafide, spoof, method, **costs: _quick_minimum(
        bonafide, spoof, lambda frr, far: dcf(frr, far, **costs), ties_are_one_step=method == "sklearn"
    ),
    compute_act_dcf: lambda bonafide, spoof, **costs: _quick_combined_means(
        bonafide < act_dcf_threshold(**costs),
        spoof >= act_dcf_threshold(**costs),
        lambda frr, far: act_dcf(frr, far, **costs),
    ),
    compute_cllr: lambda bonafide, spoof: _quick_combined_means(*cllr_terms(bonafide, spoof), lambda b, s: (b + s) / 2),
    compute_min_cllr: _quick_min_cllr,
    compute_rates: _quick_rates,
    compute_min_tdcf: _quick_min_tdcf,
}
