"""Metrics of spoofing-robust speaker verification: SASV 2022, and track 2 of ASVspoof 5.

a-DCF: Shim et al., "a-DCF: an architecture agnostic metric with application to spoofing-robust
speaker verification", Odyssey 2024. t-EER: Kinnunen et al., "t-EER: Parameter-Free Tandem
Evaluation of Countermeasures and Biometric Comparators", IEEE TPAMI 2024. The min t-DCF of the
track is ``tdcf_curve(bonafide, spoof, ASVSPOOF5_WEIGHTS).min()``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, as_input_error, check_setting, refuse
from nes2net.metrics.eer import check_scores, compute_eer, det_curve
from nes2net.metrics.tdcf import C_FALSE_ALARM, C_FALSE_ALARM_SPOOF, C_MISS, P_NONTARGET, P_SPOOF, P_TARGET

SASV_CLASSES = ("target", "nontarget", "spoof")


class SasvWeights(NamedTuple):
    """Cost times prior of the error on each class: w_t, w_n, w_s."""

    target: float
    nontarget: float
    spoof: float

    @classmethod
    def parse(cls, costs: str, priors: str) -> SasvWeights:
        """Read costs and priors of the command line.

        Raises:
            InputError: if a text has another form, or priors do not add up to 1.

        >>> SasvWeights.parse("miss:1,other:10,fake:20", "target:0.5,other:0.3,fake:0.2")
        SasvWeights(target=0.5, nontarget=3.0, spoof=4.0)
        """
        prior = _numbers(priors, ("target", "other", "fake"))
        adds_up = abs(math.fsum(prior) - 1) <= _PRIOR_TOLERANCE
        check_setting("priors", priors, adds_up, "numbers that add up to 1")
        cost = _numbers(costs, ("miss", "other", "fake"))
        return check_weights(cls(*np.multiply(cost, prior).tolist()))

    @property
    def threshold(self) -> float:
        """Log-likelihood ratio from which accepting costs less."""
        return math.log((self.nontarget + self.spoof) / self.target)


_PRIOR_TOLERANCE = 1e-9
ASVSPOOF5_SASV_WEIGHTS = SasvWeights(P_TARGET * C_MISS, P_NONTARGET * C_FALSE_ALARM, P_SPOOF * C_FALSE_ALARM_SPOOF)


def _numbers(text: str, names: Sequence[str]) -> list[float]:
    """Read the numbers of a text such as ``miss:1,other:10,fake:10``, in the order of ``names``."""
    pairs = dict(part.partition(":")[::2] for part in text.split(","))
    with as_input_error(
        f"expected {', '.join(f'{name}:NUMBER' for name in names)}, not '{text}'", ValueError, KeyError
    ):
        numbers = [float(pairs.pop(name)) for name in names]
        if pairs:
            raise ValueError(f"more than {len(names)} numbers")
    return numbers


def check_weights(weights: SasvWeights) -> SasvWeights:
    target, nontarget, spoof = weights
    fits = min(nontarget, spoof) >= 0 < min(target, nontarget + spoof)
    check_setting("weights", weights, fits, "at least 0, and above 0 for targets and another class")
    return SasvWeights(target, nontarget, spoof)


def compute_sasv_eers(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> tuple[float, ...]:
    """Compute SASV-EER, SV-EER and SPF-EER of SASV 2022, by the rule ``"roc"``.

    Targets against all others, nontargets, and spoofed trials. See :func:`compute_a_dcf`.

    >>> compute_sasv_eers([2.0, 3.0], [0.0, 1.0], [2.5, 1.0])
    (0.25, 0.0, 0.5)
    """
    target, nontarget, spoof = _finite_classes(target, nontarget, spoof)
    return tuple(compute_claim_eer(target, nontarget, spoof, against) for against in ((1, 2), (1,), (2,)))


def compute_a_dcf(
    target: ArrayLike,
    nontarget: ArrayLike,
    spoof: ArrayLike,
    weights: SasvWeights = ASVSPOOF5_SASV_WEIGHTS,
    threshold: float | None = None,
) -> tuple[float, float]:
    """Compute the normalised minimum over thresholds of the architecture-agnostic DCF (a-DCF).

    The cost w_t · P_miss + w_n · P_fa,nontarget + w_s · P_fa,spoof is divided by the cost of
    accepting all or rejecting all trials, whichever is smaller. As in ASVspoof 5's package, the
    first threshold accepts all trials, each further one rejects one more: among equal scores
    targets, then nontargets.

    Args:
        target, nontarget, spoof: Scores of the whole system, (T,), (N,) and (S,); higher is more
            likely bona fide and the claimed speaker.
        weights: Defaults to those of ASVspoof 5.
        threshold: If given, compute the actual cost of accepting scores from it on.

    Returns:
        ``(a_dcf, threshold)``; of equal minima, the lowest threshold, above which is accepted.

    Raises:
        InputError: if a class has no scores, or a score is not finite.

    >>> compute_a_dcf([2.0, 3.0], [0.0], [1.0, -1.0])
    (0.0, 1.0)
    """
    thresholds, miss, nontarget_alarm, spoof_alarm = _rates_at_thresholds(*_finite_classes(target, nontarget, spoof))
    cost = a_dcf((miss, nontarget_alarm, spoof_alarm), check_weights(weights))
    if threshold is None:
        best = np.argmin(cost)
        threshold = thresholds[best]
    else:
        best = np.searchsorted(thresholds[1:], threshold)  # the number of rejected trials
    return float(cost[best]), float(threshold)


def a_dcf(rates: Sequence | NDArray, weights: SasvWeights):
    """Compute the normalised a-DCF from misses, and false alarms of nontargets and spoofs: numbers, or arrays."""
    cost = sum(weight * rate for weight, rate in zip(weights, rates))
    return cost / min(weights.target, weights.nontarget + weights.spoof)


def compute_claim_eer(
    target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, against: Sequence[int] = (1, 2)
) -> float:
    """Compute one of :func:`compute_sasv_eers`: of targets against classes of these indices; others may be empty."""
    opposing = [(target, nontarget, spoof)[number] for number in against]
    return compute_eer(target, np.concatenate(opposing), "roc")[0]


def check_finite(scores: ArrayLike, name: str) -> NDArray:
    scores = check_scores(scores, name)
    refuse((np.isinf(scores).any(), f"{name} scores are infinite; remove these trials or score them again"))
    return scores


def _finite_classes(*classes: ArrayLike) -> list[NDArray]:
    return [check_finite(scores, name) for scores, name in zip(classes, SASV_CLASSES)]


def compute_t_eer(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    asv_target: ArrayLike,
    asv_nontarget: ArrayLike,
    asv_spoof: ArrayLike,
) -> float:
    """Compute the concurrent tandem EER (t-EER) of a countermeasure and an ASV system.

    The tandem then misses targets and accepts nontargets and spoofed trials at equal rates. Each
    ASV threshold is paired with the countermeasure threshold at which the tandem's miss rate is
    nearest to the mean of its false alarm rates.

    As in ASVspoof 5's package, only ASV thresholds count, one for each ASV trial, at which the ASV
    miss rate is below the mean of the ASV false alarm rates; of these, the first pair at which
    P_fa,nontarget / P_fa,spoof of the ASV system is nearest to P_fa / (1 − P_miss) of the
    countermeasure.

    Args:
        bonafide, spoof: Countermeasure scores, (B,) and (S,), with the thresholds of
            :func:`~nes2net.metrics.eer.det_curve`.
        asv_target, asv_nontarget, asv_spoof: ASV scores; trials above the threshold are accepted.

    Returns:
        The tandem's rate of accepted spoofed trials at the pair, in [0, 1].

    Raises:
        InputError: if a class has no scores, a score is NaN, or there is no pair, for example if
            both systems are inverted.

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

    # The more the countermeasure rejects, the more the imbalance rises, up to 1. Bisect all ASV thresholds at once for the
    # first imbalance of at least 0.
    low = np.zeros(miss.size, dtype=np.int32)
    high = np.full(miss.size, cm_miss.size - 1, dtype=np.int32)
    while (low < high).any():
        middle = (low + high) >> 1
        negative = imbalance(middle) < 0
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
