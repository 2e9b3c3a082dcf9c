"""Detection costs: the detection cost functions of ASVspoof 5 (track 1) and CtrSVDD, and Cllr."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import check_known, check_setting
from nes2net.metrics.eer import check_classes, det_curve, last_of_ties, roc_hull, roc_points, sort_trials

# Evaluation plan of ASVspoof 5, track 1: prior of spoofing and costs of the two errors.
ASVSPOOF5_COSTS = "ASVspoof 5, track 1"
P_SPOOF = 0.05
C_MISS = 1.0
C_FALSE_ALARM = 10.0


def compute_min_dcf(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    p_spoof: float = P_SPOOF,
    c_miss: float = C_MISS,
    c_fa: float = C_FALSE_ALARM,
    method: str = "asvspoof",
    normalize: bool = True,
) -> float:
    """Compute the smallest detection cost (minDCF) over all thresholds θ.

    DCF(θ) = c_miss · (1 − p_spoof) · FRR(θ) + c_fa · p_spoof · FAR(θ). The normalised cost is
    DCF(θ) / min(c_miss · (1 − p_spoof), c_fa · p_spoof). Defaults: evaluation plan of ASVspoof 5,
    track 1. For the costs published on CtrSVDD, ½ FRR + ½ FAR, pass
    ``p_spoof=0.5, c_fa=1, method="sklearn", normalize=False``.

    Args:
        bonafide, spoof: Scores (B,) and (S,); higher is more bona fide.
        p_spoof: Prior probability of a spoofed trial, between 0 and 1.
        c_miss, c_fa: Costs of a miss and of a false alarm, above 0.
        method: Thresholds of :func:`~nes2net.metrics.eer.det_curve` (``"asvspoof"``) or
            :func:`~nes2net.metrics.eer.roc_points` (``"sklearn"``); they differ for scores that
            both classes share.
        normalize: Whether to divide by the cost of accepting all or rejecting all trials,
            whichever is smaller.

    Returns:
        The cost, at least 0; normalised at most 1, the cost of a useless system.

    Raises:
        InputError: if a class has no scores, a score is NaN, a cost is not positive, ``p_spoof`` is
            not between 0 and 1, or the method is unknown.

    >>> compute_min_dcf([1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 1.5, -2.0])
    0.25
    """
    curves = {"asvspoof": det_curve, "sklearn": roc_points}
    check_known([method], curves, "unknown threshold method")
    frr, far, _ = curves[method](bonafide, spoof)
    return float(dcf(frr, far, p_spoof, c_miss, c_fa, normalize).min())


def compute_act_dcf(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    p_spoof: float = P_SPOOF,
    c_miss: float = C_MISS,
    c_fa: float = C_FALSE_ALARM,
) -> float:
    """Compute the actual detection cost (actDCF) of natural-log likelihood ratios.

    It is the normalised DCF of :func:`compute_min_dcf`, with its arguments and errors, at the
    threshold −ln(c_miss · (1 − p_spoof) / (c_fa · p_spoof)). It is at least 0 and may exceed 1;
    actDCF − minDCF is the calibration loss. Source: evaluation plan of ASVspoof 5, track 1.

    >>> compute_act_dcf([2.0, 3.0], [-2.0, -1.0])
    0.0
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    threshold = act_dcf_threshold(p_spoof, c_miss, c_fa)
    frr = float(np.mean(bonafide < threshold))
    far = float(np.mean(spoof >= threshold))
    return act_dcf(frr, far, p_spoof, c_miss, c_fa)


def compute_cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Compute the cost (Cllr), in bits, of natural-log likelihood ratios.

    Cllr = ½ · (mean log2(1 + e^−b) + mean log2(1 + e^s)) over bona fide scores b and spoofed scores
    s: 0 for perfect scores, 1 for all-zero scores, above 1 for misleading scores. Source: Brümmer
    and du Preez, "Application-independent evaluation of speaker detection", Computer Speech &
    Language 20, 2006.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> compute_cllr([0.0], [0.0])
    1.0
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    bonafide_costs, spoof_costs = cllr_terms(bonafide, spoof)
    return float((np.mean(bonafide_costs) + np.mean(spoof_costs)) / 2)


def compute_min_cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Compute Cllr in bits, in [0, 1], after the best monotone calibration of the scores.

    The result is the discrimination loss; :func:`compute_cllr` minus the result is the calibration
    loss. The scores are calibrated by "pool adjacent violators" (Brümmer and du Preez, 2006,
    section 5); equal scores share a pool. Errors are those of :func:`compute_cllr`.

    >>> compute_min_cllr([1.0, 2.0], [0.0]), compute_min_cllr([0.0], [1.0])
    (0.0, 1.0)
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    scores, is_bonafide = sort_trials(bonafide, spoof)
    ends = last_of_ties(scores)
    num_bonafide = np.diff(np.cumsum(is_bonafide)[ends], prepend=0)  # number of bona fide trials at each distinct score
    num_trials = np.diff(ends, prepend=-1)
    return min_cllr_of_counts(num_bonafide, num_trials - num_bonafide)


def min_cllr_of_counts(bonafide: NDArray, spoof: NDArray) -> float:
    """Compute the minimum Cllr in bits from the numbers of trials at N distinct, ascending scores.

    Args:
        bonafide, spoof: numbers of trials (N,); each score has at least one trial.
    """
    pools = roc_hull(bonafide, spoof)[:-1]  # the best monotone calibration gives one value to all scores of a pool
    # LR of a pool: its fraction of the bona fide trials over its fraction of the spoofed trials.
    shares = [np.add.reduceat(counts, pools) / counts.sum() for counts in (bonafide, spoof)]
    both = shares[0] + shares[1]
    cost = 0.0
    for share in shares:
        # A bona fide trial costs log2(1 + 1/LR) bits, a spoofed trial log2(1 + LR): both are
        # log2(both / share).
        share_is_positive = share > 0
        cost += share[share_is_positive] @ np.log2(both[share_is_positive] / share[share_is_positive])
    return float(cost / 2)


def cllr_terms(bonafide: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray]:
    """Compute each trial's cost in bits: log2(1 + e^−b), (B,), and log2(1 + e^s), (S,)."""
    return np.logaddexp(0, -bonafide) / math.log(2), np.logaddexp(0, spoof) / math.log(2)


def act_dcf_threshold(p_spoof: float, c_miss: float, c_fa: float) -> float:
    """Compute the natural-log likelihood ratio at or above which a trial is accepted.

    Raises:
        InputError: if a cost is not positive or ``p_spoof`` is not between 0 and 1.
    """
    _check_costs(p_spoof, c_miss, c_fa)
    return -math.log(c_miss * (1 - p_spoof) / (c_fa * p_spoof))


def dcf(frr, far, p_spoof: float, c_miss: float, c_fa: float, normalize: bool):
    """Compute the detection cost at a threshold; rates are numbers, or arrays over thresholds."""
    _check_costs(p_spoof, c_miss, c_fa)
    p_bonafide = 1 - p_spoof
    # 1 - p_bonafide may differ from p_spoof in the last bit: keep it, or published digits may change.
    cost = frr * c_miss * p_bonafide + far * c_fa * (1 - p_bonafide)
    if not normalize:
        return cost
    return cost / min(c_miss * p_bonafide, c_fa * (1 - p_bonafide))


def act_dcf(frr, far, p_spoof: float, c_miss: float, c_fa: float):
    """Compute the normalised :func:`dcf` with ASVspoof 5's order of operations, for equal digits."""
    miss_weight = c_miss * (1 - p_spoof)
    alarm_weight = c_fa * p_spoof
    return (miss_weight * frr + alarm_weight * far) / min(miss_weight, alarm_weight)


def _check_costs(p_spoof: float, c_miss: float, c_fa: float) -> None:
    check_setting("p_spoof", p_spoof, 0 < p_spoof < 1, "between 0 and 1")
    check_setting("c_miss", c_miss, c_miss > 0, "a cost above 0")
    check_setting("c_fa", c_fa, c_fa > 0, "a cost above 0")
