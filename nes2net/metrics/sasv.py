"""Metrics of spoofing-robust speaker verification: track 2 of ASVspoof 5.

a-DCF: Shim et al., "a-DCF: an architecture agnostic metric with application to spoofing-robust
speaker verification", Odyssey 2024. t-EER: Kinnunen et al., "t-EER: Parameter-Free Tandem
Evaluation of Countermeasures and Biometric Comparators", IEEE TPAMI 2024. The min t-DCF of the
track is ``tdcf_curve(bonafide, spoof, ASVSPOOF5_WEIGHTS).min()``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.metrics.eer import checked_scores, det_curve, last_of_ties
from nes2net.metrics.tdcf import C_FALSE_ALARM, C_FALSE_ALARM_SPOOF, C_MISS, P_NONTARGET, P_SPOOF, P_TARGET


def compute_a_dcf(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    """Compute the normalised minimum of the architecture-agnostic detection cost (a-DCF).

    The system is to accept bona fide trials of the target speaker only. With the priors π and costs
    C of ASVspoof 5, the cost at a threshold is π_target · C_miss · P_miss + π_nontarget · C_fa ·
    P_fa,nontarget + π_spoof · C_fa,spoof · P_fa,spoof. It is divided by the cost of accepting all
    or rejecting all, whichever is cheaper.

    Args:
        target, nontarget, spoof: Scores of the whole system, shapes (T,), (N,) and (S,); higher is
            more the claimed speaker and bona fide.

    Returns:
        ``(a_dcf, threshold)``: The smallest cost with an observed score as threshold, above which a
        trial is accepted, and the lowest score that attains it. No observed score accepts all
        trials, so a useless system may cost up to 1.58.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> compute_a_dcf([2.0, 3.0], [0.0], [1.0, -1.0])
    (0.0, 1.0)
    """
    thresholds, miss, nontarget_alarm, spoof_alarm = _rates(
        checked_scores(target, "target"), checked_scores(nontarget, "nontarget"), checked_scores(spoof, "spoof")
    )
    weights = P_TARGET * C_MISS, P_NONTARGET * C_FALSE_ALARM, P_SPOOF * C_FALSE_ALARM_SPOOF
    cost = weights[0] * miss + weights[1] * nontarget_alarm + weights[2] * spoof_alarm
    best = np.argmin(cost)
    return float(cost[best] / min(weights[0], weights[1] + weights[2])), float(thresholds[best])


def compute_t_eer(
    bonafide: ArrayLike, spoof: ArrayLike, asv_target: ArrayLike, asv_nontarget: ArrayLike, asv_spoof: ArrayLike
) -> float:
    """Compute the concurrent tandem EER (t-EER) of a countermeasure and an ASV system.

    It is the error rate where the tandem misses targets, accepts nontargets and accepts spoofed
    trials equally often. For each threshold of the ASV system, the countermeasure's threshold is
    the one where misses are nearest to the mean of the two false alarm rates. Among these pairs,
    the one is taken whose rates of misses and accepted nontargets are nearest to each other.

    Args:
        bonafide, spoof: Scores of the countermeasure, shapes (B,) and (S,). Its thresholds come
            from :func:`~nes2net.metrics.eer.det_curve`.
        asv_target, asv_nontarget, asv_spoof: Scores of the ASV system, which accepts above its
            threshold.

    Returns:
        The rate at which the tandem accepts spoofed trials there, a fraction in [0, 1].

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> compute_t_eer([1.0, 2.0], [-1.0, 0.0], [2.0, 3.0], [0.0, 1.0], [2.5, 0.5])
    0.0
    """
    cm_miss, cm_alarm, _ = det_curve(bonafide, spoof)
    _, *rates = _rates(
        checked_scores(asv_target, "ASV target"),
        checked_scores(asv_nontarget, "ASV nontarget"),
        checked_scores(asv_spoof, "ASV spoof"),
    )
    # First the threshold below all scores, which accepts everything.
    miss, nontarget_alarm, spoof_alarm = (np.append(first, rate) for first, rate in zip((0, 1, 1), rates))

    def tandem(index: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Compute the rates of misses and of accepted nontargets and spoofs at each ASV threshold.

        ``index`` is the countermeasure's threshold for each of them.
        """
        passed = 1 - cm_miss[index]
        return cm_miss[index] + passed * miss, passed * nontarget_alarm, cm_alarm[index] * spoof_alarm

    def imbalance(index: NDArray) -> NDArray:
        misses, nontargets, spoofs = tandem(index)
        return misses - (nontargets + spoofs) / 2

    # As the countermeasure rejects more, misses rise and alarms fall, so the imbalance rises to 1.
    # Bisect for the first threshold where it is not negative, for all ASV thresholds at once.
    by_passed, by_alarm = miss - nontarget_alarm / 2, spoof_alarm / 2
    low, high = np.zeros(miss.size, dtype=np.int32), np.full(miss.size, cm_miss.size - 1, dtype=np.int32)
    while (low < high).any():
        middle = (low + high) >> 1
        missed = cm_miss[middle]
        negative = missed + (1 - missed) * by_passed < cm_alarm[middle] * by_alarm
        low, high = np.where(negative, middle + 1, low), np.where(negative, high, middle)
    before = np.maximum(low - 1, 0)
    nearest = np.where(np.abs(imbalance(before)) <= np.abs(imbalance(low)), before, low)
    misses, nontargets, spoofs = tandem(nearest)
    return float(spoofs[np.argmin(np.abs(misses - nontargets))])


def _rates(target: NDArray, nontarget: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Compute the error rates at each distinct score, ascending.

    Returns the thresholds, the share of targets at or below each, and the shares of nontargets and
    of spoofed trials above it.
    """
    classes = (target, nontarget, spoof)
    scores = np.concatenate(classes)
    index = np.argsort(scores, kind="stable")
    label = np.repeat(np.arange(3), [scores.size for scores in classes])[index]
    ends = last_of_ties(scores[index])
    rejected = [np.cumsum(label == i)[ends] for i in range(3)]
    alarms = [(scores.size - count) / scores.size for scores, count in zip(classes[1:], rejected[1:])]
    return scores[index][ends], rejected[0] / target.size, *alarms
