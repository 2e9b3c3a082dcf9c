"""Tandem detection cost function (t-DCF) of a countermeasure and a speaker-verification system.

Revised form (ASVspoof 2021): Kinnunen et al., "Tandem Assessment of Spoofing Countermeasures and
Automatic Speaker Verification: Fundamentals", IEEE/ACM TASLP 28, 2020. Legacy form (ASVspoof 2019):
Kinnunen et al., "t-DCF: a Detection Cost Function for the Tandem Assessment of Spoofing
Countermeasures and Automatic Speaker Verification", Odyssey 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_setting, pluralise, refuse
from nes2net.metrics.eer import check_classes, check_scores, compute_eer, det_curve

# Priors and costs of the ASVspoof 2019 and 2021 evaluation plans.
P_SPOOF = 0.05
P_TARGET = (1 - P_SPOOF) * 0.99
P_NONTARGET = (1 - P_SPOOF) * 0.01
C_MISS = 1.0
C_FALSE_ALARM = 10.0
C_FALSE_ALARM_SPOOF = 10.0


class AsvErrorRates(NamedTuple):
    """Error rates of a speaker-verification (ASV) system at its EER threshold, in [0, 1].

    ``spoof_false_alarm`` is the fraction of spoofed trials that the ASV system accepts.
    """

    miss: float
    false_alarm: float
    spoof_false_alarm: float


class TandemWeights(NamedTuple):
    """Weights c0, c1 and c2 of the t-DCF ``c0 + c1 · FRR + c2 · FAR`` before normalisation."""

    c0: float
    c1: float
    c2: float


_ASVSPOOF5_ASV_COST = 0.019469691934153443  # c0 of the organisers' ASV system
#: Track 2 of ASVspoof 5: revised form with the organisers' ASV system, which accepts 50,501 of 109,616 spoofed trials.
#: They do not depend on the submitted ASV system.
ASVSPOOF5_WEIGHTS = TandemWeights(
    _ASVSPOOF5_ASV_COST, P_TARGET * C_MISS - _ASVSPOOF5_ASV_COST, P_SPOOF * C_FALSE_ALARM_SPOOF * 50501 / 109616
)


def compute_min_tdcf(
    bonafide: ArrayLike,
    spoof: ArrayLike,
    asv_target: ArrayLike,
    asv_nontarget: ArrayLike,
    asv_spoof: ArrayLike,
    version: int = 2021,
) -> float:
    """Compute the normalised minimum t-DCF of a countermeasure in tandem with an ASV system.

    t-DCF(θ) = (c0 + c1 · FRR(θ) + c2 · FAR(θ)) / (c0 + min(c1, c2)) with the weights of
    :func:`tandem_weights`, minimised over the thresholds θ of the countermeasure.

    Args:
        bonafide, spoof: Countermeasure scores (B,) and (S,); higher is more bona fide.
        asv_target, asv_nontarget, asv_spoof: ASV scores of the same phase, higher for the claimed
            speaker. The ASV threshold is that of the EER of targets and nontargets, by the
            ASVspoof rule.
        version: 2021 for the revised form, 2019 for the legacy form.

    Returns:
        The minimum t-DCF, in [0, 1]; a useless countermeasure has the cost 1.

    Raises:
        InputError: if a class is empty; a score is NaN or infinite; countermeasure scores have
            fewer than three distinct values (decisions, not scores); the ASV system is useless (a
            weight is negative); or the version is unknown.

    >>> asv = {"asv_target": [2.0, 3.0], "asv_nontarget": [0.0, 1.0], "asv_spoof": [2.5]}
    >>> compute_min_tdcf([1.0, 2.0], [-2.0, -1.0], **asv, version=2019)
    0.0
    """
    weights = tandem_weights(asv_error_rates(asv_target, asv_nontarget, asv_spoof), version)
    return float(tdcf_curve(bonafide, spoof, weights).min())


def asv_error_rates(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> AsvErrorRates:
    """Compute ASV error rates at the EER threshold of targets (T,) and nontargets (N,).

    Trials at or above the threshold are accepted.

    Raises:
        InputError: if a class has no scores or a score is NaN.
    """
    target = check_scores(target, "ASV target")
    nontarget = check_scores(nontarget, "ASV nontarget")
    spoof = check_scores(spoof, "ASV spoof")
    _, threshold = compute_eer(target, nontarget)
    return AsvErrorRates(
        miss=float(np.mean(target < threshold)),
        false_alarm=float(np.mean(nontarget >= threshold)),
        spoof_false_alarm=float(np.mean(spoof >= threshold)),
    )


def tandem_weights(asv: AsvErrorRates, version: int = 2021) -> TandemWeights:
    """Compute the weights of the countermeasure's error rates in the t-DCF.

    With priors π and costs C of the ASVspoof 2019 and 2021 evaluation plans:

    - c0 = π_target · C_miss · P_miss + π_nontarget · C_fa · P_fa of the ASV system in the revised
      form (2021), and 0 in the legacy form (2019),
    - c1 = π_target · C_miss − (π_target · C_miss · P_miss + π_nontarget · C_fa · P_fa),
    - c2 = π_spoof · C_fa,spoof · P_fa,spoof.

    Raises:
        InputError: if a weight is negative or the version is unknown.
    """
    asv_cost = P_TARGET * C_MISS * asv.miss + P_NONTARGET * C_FALSE_ALARM * asv.false_alarm
    c1 = P_TARGET * C_MISS - asv_cost
    c2 = P_SPOOF * C_FALSE_ALARM_SPOOF * asv.spoof_false_alarm
    if c1 < 0 or c2 < 0:
        raise InputError(
            f"t-DCF has no meaning, because the ASV system, which rejects {asv.miss:.1%} of the targets and accepts "
            f"{asv.false_alarm:.1%} of the nontargets, costs more than one that rejects everybody: check that higher ASV "
            "scores mean the claimed speaker"
        )
    check_setting("version", version, version in (2019, 2021), "2019 (legacy) or 2021 (revised)")
    return TandemWeights(asv_cost if version == 2021 else 0.0, c1, c2)


def tdcf_curve(bonafide: ArrayLike, spoof: ArrayLike, weights: TandemWeights) -> NDArray:
    """Compute the normalised t-DCF (B + S + 1,) at thresholds of :func:`~nes2net.metrics.eer.det_curve`.

    Raises:
        InputError: as :func:`compute_min_tdcf`, or if c0 + min(c1, c2) is 0: in the legacy form, if
            the ASV system accepts no spoofed trial.
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    scores = np.concatenate((bonafide, spoof))
    num_infinite = (~np.isfinite(scores)).sum()
    refuse(
        (
            num_infinite,
            f"{num_infinite:,} of {pluralise(scores.size, 'score is', 'scores are')} infinite; "
            "t-DCF needs finite scores: score these trials again",
        ),
        (
            np.unique(scores).size < 3,
            "t-DCF needs soft scores, got fewer than three distinct values: use scores, not decisions",
        ),
        (
            weights.c0 + min(weights.c1, weights.c2) == 0,
            "the ASV system accepts no spoofed trial, so t-DCF has nothing to normalise by: check the ASV scores",
        ),
    )
    frr, far, _ = det_curve(bonafide, spoof)
    return tdcf(frr, far, weights)


def tdcf(frr, far, weights: TandemWeights):
    """Compute the normalised t-DCF from the countermeasure's rates: numbers, or arrays."""
    return (weights.c0 + weights.c1 * frr + weights.c2 * far) / (weights.c0 + min(weights.c1, weights.c2))
