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
from nes2net.metrics.eer import checked_scores, det_curve
from nes2net.metrics.tdcf import C_FALSE_ALARM, C_FALSE_ALARM_SPOOF, C_MISS, P_NONTARGET, P_SPOOF, P_TARGET


def compute_a_dcf(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    """Compute the normalised minimum, over all thresholds, of the architecture-agnostic detection cost (a-DCF).

    The system should accept only bona fide trials of the target speaker. With the priors π and
    costs C of ASVspoof 5, the cost at a threshold is π_target · C_miss · P_miss + π_nontarget ·
    C_fa · P_fa,nontarget + π_spoof · C_fa,spoof · P_fa,spoof. This cost is divided by the cost of
    accepting all trials or of rejecting all trials, whichever is smaller. A trial is accepted if its
    score is above the threshold. As in the evaluation package of ASVspoof 5, the first threshold
    accepts all trials, and each further threshold rejects one more trial. Among equal scores,
    targets are rejected first, then nontargets, then spoofed trials.

    Args:
        target, nontarget, spoof: Scores of the whole system, shapes (T,), (N,) and (S,); a higher
            score means that a trial is more likely bona fide and of the claimed speaker.

    Returns:
        ``(a_dcf, threshold)``: The smallest cost, and the lowest threshold with this cost.

    Raises:
        InputError: if a class has no scores, or if a score is NaN.

    >>> compute_a_dcf([2.0, 3.0], [0.0], [1.0, -1.0])
    (0.0, 1.0)
    """
    thresholds, miss, nontarget_alarm, spoof_alarm = _rates_at_thresholds(
        checked_scores(target, "target"), checked_scores(nontarget, "nontarget"), checked_scores(spoof, "spoof")
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

    At the t-EER, three error rates of the tandem are equal: the rates of missed targets, of
    accepted nontargets and of accepted spoofed trials. Each threshold of the ASV system is paired
    with one threshold of the countermeasure: the threshold at which the tandem's miss rate is
    nearest to the mean of the tandem's two false alarm rates.

    One of these pairs is chosen by the rule of the evaluation package of ASVspoof 5. Each ASV trial
    gives one threshold. The rule uses only ASV thresholds at which the miss rate of the ASV system
    is below the mean of its two false alarm rates. It takes the first pair at which
    P_fa,nontarget / P_fa,spoof of the ASV system is nearest to P_fa / (1 − P_miss) of the
    countermeasure.

    Args:
        bonafide, spoof: Scores of the countermeasure, shapes (B,) and (S,). The thresholds of the
            countermeasure come from :func:`~nes2net.metrics.eer.det_curve`.
        asv_target, asv_nontarget, asv_spoof: Scores of the ASV system, which accepts a trial if the
            score is above the threshold.

    Returns:
        The rate at which the tandem accepts spoofed trials at the chosen pair of thresholds, a
        fraction in [0, 1].

    Raises:
        InputError: if a class has no scores, if a score is NaN, or if no pair is found, for example
            if both systems give higher scores to the classes that they should reject.

    >>> compute_t_eer([1.0, 2.0], [-1.0, 0.0], [2.0, 3.0], [0.0, 1.0], [2.5, 0.5])
    0.0
    """
    cm_miss, cm_alarm, _ = det_curve(bonafide, spoof)
    _, *rates = _rates_at_thresholds(
        checked_scores(asv_target, "ASV target"),
        checked_scores(asv_nontarget, "ASV nontarget"),
        checked_scores(asv_spoof, "ASV spoof"),
    )
    # Only thresholds with a miss rate below the mean false alarm rate are allowed. Thresholds at which no spoofed trial
    # is accepted are left out, because ``distances`` divides by ``spoof_alarm``.
    miss, nontarget_alarm, spoof_alarm = rates
    allowed = (miss < (nontarget_alarm + spoof_alarm) / 2) & (spoof_alarm > 0)
    miss, nontarget_alarm, spoof_alarm = (rate[allowed] for rate in rates)

    def tandem(index: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        passed = 1 - cm_miss[index]
        return cm_miss[index] + passed * miss, passed * nontarget_alarm, cm_alarm[index] * spoof_alarm

    def imbalance(index: NDArray) -> NDArray:
        misses, nontargets, spoofs = tandem(index)
        return misses - (nontargets + spoofs) / 2

    # If the countermeasure rejects more trials, misses rise and false alarms fall, so the imbalance rises, up to 1.
    # Find the first threshold of the countermeasure at which the imbalance is at least 0, by bisection for all ASV
    # thresholds at once. The imbalance is cm_miss + (1 − cm_miss) · by_passed − cm_alarm · by_alarm.
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
    # Choose one of the pairs of thresholds.
    with np.errstate(divide="ignore"):
        distances = np.abs(nontarget_alarm / spoof_alarm - cm_alarm[nearest] / (1 - cm_miss[nearest]))
    if not np.isfinite(distances).any():
        raise InputError(
            "t-EER has no value by the rule of ASVspoof 5, because the tandem rejects all targets wherever its errors "
            "are balanced: check that higher scores mean bona fide and the claimed speaker"
        )
    return float(tandem(nearest)[2][np.argmin(distances)])


def _rates_at_thresholds(*classes: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Compute the error rates of targets, nontargets and spoofed trials at all thresholds, in ascending order.

    Each trial gives one threshold.

    Args:
        classes: scores of targets, of nontargets and of spoofed trials.

    Returns:
        The thresholds, and at each threshold the rates of rejected targets, accepted nontargets and
        accepted spoofed trials. The first threshold accepts all trials.
    """
    scores = np.concatenate(classes)
    index = np.argsort(scores, kind="stable")
    label = np.repeat(np.arange(3), [of_class.size for of_class in classes])[index]
    scores = scores[index]
    misses, *rejected_shares = (
        np.append(0, np.cumsum(label == number)) / of_class.size for number, of_class in enumerate(classes)
    )
    # If two pairs of thresholds are equally good by the rule, the last bit of an error rate decides which pair
    # compute_t_eer() takes. To get the same bits as the evaluation package, subtract the rejected fractions from 1.
    return np.append(scores[0] - 0.001, scores), misses, 1 - rejected_shares[0], 1 - rejected_shares[1]
