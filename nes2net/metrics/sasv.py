"""Metrics of spoofing-robust speaker verification: track 2 of ASVspoof 5.

a-DCF: Shim et al., "a-DCF: an architecture agnostic metric with application to spoofing-robust
speaker verification", Odyssey 2024. t-EER: Kinnunen et al., "t-EER: Parameter-Free Tandem
Evaluation of Countermeasures and Biometric Comparators", IEEE TPAMI 2024. The min t-DCF of the
track is ``tdcf_curve(bonafide, spoof, ASVSPOOF5_WEIGHTS).min()``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError
from nes2net.metrics.eer import check_scores, det_curve
from nes2net.metrics.tdcf import C_FALSE_ALARM, C_FALSE_ALARM_SPOOF, C_MISS, P_NONTARGET, P_SPOOF, P_TARGET


def compute_a_dcf(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    """Compute the normalised minimum over thresholds of the architecture-agnostic DCF (a-DCF).

    The system should accept only bona fide trials of the target speaker; it accepts scores above
    the threshold. The cost π_target · C_miss · P_miss + π_nontarget · C_fa · P_fa,nontarget +
    π_spoof · C_fa,spoof · P_fa,spoof, with priors π and costs C of ASVspoof 5, is divided by the
    cost of accepting all or rejecting all trials, whichever is smaller. As in ASVspoof 5's package,
    the first threshold accepts all trials, and each further one rejects one more: among equal
    scores targets, then nontargets, then spoofed trials.

    Args:
        target, nontarget, spoof: Scores of the whole system, (T,), (N,) and (S,); higher is more
            likely bona fide and the claimed speaker.

    Returns:
        ``(a_dcf, threshold)``; among equal costs, the lowest threshold.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> compute_a_dcf([2.0, 3.0], [0.0], [1.0, -1.0])
    (0.0, 1.0)
    """
    thresholds, miss, nontarget_alarm, spoof_alarm = _rates_at_thresholds(
        check_scores(target, "target"), check_scores(nontarget, "nontarget"), check_scores(spoof, "spoof")
    )
    weights = P_TARGET * C_MISS, P_NONTARGET * C_FALSE_ALARM, P_SPOOF * C_FALSE_ALARM_SPOOF
    cost = weights[0] * miss + weights[1] * nontarget_alarm + weights[2] * spoof_alarm
    best = np.argmin(cost)
    return float(cost[best] / min(weights[0], weights[1] + weights[2])), float(thresholds[best])


def compute_t_eer(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    asv_target: ArrayLike,
    asv_nontarget: ArrayLike,
    asv_spoof: ArrayLike,
) -> float:
    """Compute the concurrent tandem EER (t-EER) of a countermeasure and an ASV system.

    At the t-EER, the tandem misses targets, accepts nontargets and accepts spoofed trials at equal
    rates. Each ASV threshold is paired with the countermeasure threshold at which the tandem's miss
    rate is nearest to the mean of its two false alarm rates.

    ASVspoof 5's package chooses the pair: only ASV thresholds count, one for each ASV trial, at
    which the ASV miss rate is below the mean of the ASV false alarm rates. It takes the first pair
    at which P_fa,nontarget / P_fa,spoof of the ASV system is nearest to P_fa / (1 − P_miss) of the
    countermeasure.

    Args:
        bonafide, spoof: Countermeasure scores, (B,) and (S,), with the thresholds of
            :func:`~nes2net.metrics.eer.det_curve`.
        asv_target, asv_nontarget, asv_spoof: ASV scores; trials above the threshold are accepted.

    Returns:
        The rate at which the tandem accepts spoofed trials at the chosen pair, in [0, 1].

    Raises:
        InputError: if a class has no scores, a score is NaN, or there is no pair, for example if
            both systems give higher scores to what they should reject.

    >>> compute_t_eer([1.0, 2.0], [-1.0, 0.0], [2.0, 3.0], [0.0, 1.0], [2.5, 0.5])
    0.0
    """
    cm_miss, cm_alarm, _ = det_curve(bonafide, spoof)
    _, *rates = _rates_at_thresholds(
        check_scores(asv_target, "ASV target"),
        check_scores(asv_nontarget, "ASV nontarget"),
        check_scores(asv_spoof, "ASV spoof"),
    )
    # Only miss rates below the mean false alarm rate are allowed. ``distances`` divides by ``spoof_alarm``, so it must
    # not be 0.
    miss, nontarget_alarm, spoof_alarm = rates
    allowed = (miss < (nontarget_alarm + spoof_alarm) / 2) & (spoof_alarm > 0)
    miss, nontarget_alarm, spoof_alarm = (rate[allowed] for rate in rates)

    def tandem(index: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Rates of missed targets, accepted nontargets and accepted spoofs, with countermeasure thresholds ``index``."""
        passed = 1 - cm_miss[index]
        return cm_miss[index] + passed * miss, passed * nontarget_alarm, cm_alarm[index] * spoof_alarm

    def imbalance(index: NDArray) -> NDArray:
        misses, nontargets, spoofs = tandem(index)
        return misses - (nontargets + spoofs) / 2

    # The more the countermeasure rejects, the more the imbalance cm_miss + (1 − cm_miss) · by_passed − cm_alarm · by_alarm
    # rises, up to 1. Bisect all ASV thresholds at once for the first imbalance of at least 0.
    by_passed = miss - nontarget_alarm / 2
    by_alarm = spoof_alarm / 2
    low = np.zeros(miss.size, dtype=np.int32)
    high = np.full(miss.size, cm_miss.size - 1, dtype=np.int32)
    while (low < high).any():
        middle = (low + high) >> 1
        missed = cm_miss[middle]
        negative = missed + (1 - missed) * by_passed < cm_alarm[middle] * by_alarm
        low = np.where(negative, middle + 1, low)
        high = np.where(negative, high, middle)
    before = np.maximum(low - 1, 0)
    nearest = np.where(np.abs(imbalance(before)) <= np.abs(imbalance(low)), before, low)
    with np.errstate(divide="ignore"):
        distances = np.abs(nontarget_alarm / spoof_alarm - cm_alarm[nearest] / (1 - cm_miss[nearest]))
    if not np.isfinite(distances).any():
        raise InputError(
            "t-EER has no value by the rule of ASVspoof 5, because the tandem rejects all targets wherever its errors "
            "are balanced: check that higher scores mean bona fide and the claimed speaker"
        )
    return float(tandem(nearest)[2][np.argmin(distances)])


def _rates_at_thresholds(*classes: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return thresholds, and rates of rejected targets, accepted nontargets and accepted spoofs.

    Thresholds ascend: the first accepts all trials, and each trial gives one more.
    """
    scores = np.concatenate(classes)
    index = np.argsort(scores, kind="stable")
    label = np.repeat(np.arange(3), [of_class.size for of_class in classes])[index]
    scores = scores[index]
    misses, *rejected_shares = (
        np.append(0, np.cumsum(label == number)) / of_class.size for number, of_class in enumerate(classes)
    )
    # Of two equally good pairs, compute_t_eer() takes one by the last bit of a rate: subtract from 1 to get the same bits
    # as the evaluation package.
    return np.append(scores[0] - 0.001, scores), misses, 1 - rejected_shares[0], 1 - rejected_shares[1]
