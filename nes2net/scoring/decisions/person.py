"""Is this the claimed person, live? Speaker and countermeasure scores, fused and judged.

Ratio: arXiv 2406.10836; joint fit: arXiv 2408.11152; products: Zhang et al., Odyssey 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_setting, refuse
from nes2net.metrics import bootstrap_interval, compute_eer
from nes2net.metrics.sasv import SASV_CLASSES, SasvWeights, check_finite, check_weights
from nes2net.scoring.decisions.calibration import fit
from nes2net.scoring.decisions.claim import SasvFit, apply_maps

EQUAL_WEIGHTS = SasvWeights(1.0, 1.0, 1.0)
_GRADIENT_TOLERANCE = 1e-8  # the solver stops at this slope of the loss, or where rounding hides the slope

#: Code of an outcome → its words.
PERSON_OUTCOMES = {
    "accept": "this person, live",
    "accept_speaker_only": "this person; live: not checked",
    "other_person": "another person",
    "not_live": "this person, but not live",
    "borderline": "cannot tell",
    "unusable": "cannot tell",
    "scores_only": "cannot tell",
}


def sasv_ratio(llr_asv: ArrayLike, llr_cm: ArrayLike, weights: SasvWeights) -> NDArray:
    """Compute −ln((1 − ρ) · e^−llr_asv + ρ · e^−llr_cm), ρ = w_s / (w_n + w_s), of ratios (N,).

    Nontargets are taken as live, spoofed trials as the person. Accept natural-log ratios from
    ``SasvWeights.threshold`` on.

    >>> sasv_ratio([2.0], [-1.0], (1, 1, 1)).round(3)
    array([-0.355])
    """
    _, nontarget, spoof = check_weights(weights)
    log_nontarget, log_spoof = _log(np.divide([nontarget, spoof], nontarget + spoof))
    return -np.logaddexp(np.subtract(log_nontarget, llr_asv), np.subtract(log_spoof, llr_cm))


def _log(values: ArrayLike) -> NDArray:
    with np.errstate(divide="ignore"):
        return np.log(values)


def _product(asv: NDArray, cm: NDArray, weights: SasvWeights) -> NDArray:
    return -np.logaddexp(0, -asv) - np.logaddexp(0, -cm)


#: Rules that fuse the speaker and countermeasure scores (N,); products are logarithms. The last three fuse the
#: log-likelihood ratios of :func:`sasv_ratio`.
FUSION_RULES = {
    "sum": lambda asv, cm, weights: asv + cm,
    "product_linear": lambda asv, cm, weights: np.log((asv + 1) / 2) - np.logaddexp(0, -cm),
    "product_sigmoid": _product,
    "product_posterior": lambda asv, cm, weights: _product(
        asv - _log(weights[1] / weights[0]), cm - _log(weights[2] / weights[0]), weights
    ),
    "sum_llr": lambda asv, cm, weights: asv + cm,
    "ratio": sasv_ratio,
}


def fit_sasv(
    asv: ArrayLike,
    cm: ArrayLike,
    classes: ArrayLike,
    weights: SasvWeights = EQUAL_WEIGHTS,
    joint: bool = True,
) -> SasvFit:
    """Calibrate scores (N,) separately by :func:`fit`, or then jointly for :func:`sasv_ratio` L.

    The joint fit minimises the weighted mean of ln(1 + e^±(L − threshold)).

    Args:
        classes: (N,), names of :data:`SASV_CLASSES`, or 0, 1, 2.
        weights: 0 ignores a class.

    Raises:
        InputError: if a class is empty, a score not finite, or a scale not positive.
    """
    weights = check_weights(weights)
    groups = _by_class(asv, cm, classes)
    systems = ("speaker", "speaker", "countermeasure")
    for name, system, weight, group in zip(SASV_CLASSES, systems, weights, groups):
        if weight and not group.size:
            raise InputError(
                f"no {name} trials: the {system} score cannot be calibrated; add such recordings, or remove their weight"
            )
    maps = np.zeros((2, 2))  # scale and offset of each score
    for row, negative in enumerate((1, 2)):
        if weights[negative]:
            positives = np.hstack(groups[:negative])
            prior = weights.target / (weights.target + weights[negative])
            calibration = fit(positives[row], groups[negative][row], prior=prior)
            maps[row] = *calibration.weights, calibration.offset
    if joint and all(weights):  # without a class, the separate fit is the joint one
        maps = _fit_jointly(maps, groups, weights)
    for system, scale, weight in zip(systems[1:], maps[:, 0], weights[1:]):
        if weight and scale <= 0:
            raise InputError(
                f"these {system} scores are the wrong way round or say nothing here (scale {scale:.3g}): check that higher "
                "scores mean the person and bona fide"
            )
    counts = [group.shape[1] for group in groups]
    return SasvFit(*maps.ravel().tolist(), _loss(maps, groups, weights), weights, counts)  # type: ignore[call-arg]


def _by_class(asv: ArrayLike, cm: ArrayLike, classes: ArrayLike) -> list[NDArray]:
    labels = np.asarray(classes)
    scores = np.stack([check_finite(asv, "speaker"), check_finite(cm, "countermeasure")])
    masks = [(labels == name) | (labels == number) for number, name in enumerate(SASV_CLASSES)]
    refuse(((sum(masks) == 0).any(), "classes must be target, nontarget or spoof: correct the others"))
    return [scores[:, mask] for mask in masks]


def _fit_jointly(maps: NDArray, groups: list[NDArray], weights: SasvWeights) -> NDArray:
    from scipy.optimize import minimize  # for a fast start-up: scoring needs no SciPy

    llrs = [apply_maps(maps, group) for group in groups]
    # Changes of the log-likelihood ratios: scale and offset of each.
    solution = minimize(_loss, (1, 0, 1, 0), (llrs, weights), "BFGS", "3-point", tol=_GRADIENT_TOLERANCE)
    change = solution.x.reshape(2, 2)
    return change[:, :1] * maps + change * (0, 1)


def _loss(maps: ArrayLike, groups: list[NDArray], weights: SasvWeights) -> float:
    total = 0.0
    for weight, sign, group in zip(weights, (-1, 1, 1), groups):
        if weight:
            llr_asv, llr_cm = apply_maps(maps, group)
            excess = sasv_ratio(llr_asv, llr_cm, weights) - weights.threshold
            total += weight * np.logaddexp(0, sign * excess).mean()
    return total / sum(weights)


def judge_person(
    llr_asv: ArrayLike,
    llr_cm: ArrayLike,
    weights: SasvWeights = EQUAL_WEIGHTS,
    abstain_within: float = 0.0,
    usable: ArrayLike = True,
) -> tuple[NDArray, NDArray]:
    """Judge claims (N,); if spoofed trials have no weight, only the speaker.

    Ratios within ``abstain_within`` of the threshold are ``"borderline"``.

    Returns:
        Keys of :data:`PERSON_OUTCOMES`, and whether ``"other_person"`` may not be live.
    """
    weights = check_weights(weights)
    distance = sasv_ratio(llr_asv, llr_cm, weights) - weights.threshold
    _, asv_threshold, cm_threshold = _log(weights) - _log(weights.target)
    is_other = np.less(llr_asv, asv_threshold)
    is_fake = np.less(llr_cm, cm_threshold)
    accepting = "accept" if weights.spoof else "accept_speaker_only"
    conditions = [np.logical_not(usable), np.abs(distance) < abstain_within, distance >= 0, is_other, is_fake]
    codes = np.select(conditions, ["unusable", "borderline", accepting, "other_person", "not_live"], "borderline")
    return codes, (codes == "other_person") & is_fake


def fit_person(
    asv: ArrayLike, cm: ArrayLike, classes: ArrayLike, weights: SasvWeights = EQUAL_WEIGHTS, joint: bool = True
) -> tuple[SasvFit, str]:
    """Fit as :func:`fit_sasv`, but give spoofed trials no weight if the countermeasure adds nothing.

    It adds nothing if it cannot be fitted, or if the 95 % interval of its EER reaches 50 %: maps
    with positive scales keep an EER, so it is that of held-out trials. Equal scores are those of
    one recording in several claims.

    Returns:
        The fit, and why liveness is refused, or empty.
    """
    check_setting("weights", weights, weights[1] > 0, "above 0 for other people")
    try:
        fusion = fit_sasv(asv, cm, classes, weights, joint)
        target, _, spoof = _by_class(asv, cm, classes)
        low, high = bootstrap_interval(compute_eer, np.unique(target[1]), np.unique(spoof[1]))
        if high >= 0.5:
            raise InputError(
                "the countermeasure does not tell targets from spoofed trials here: the 95 % interval of its EER is "
                f"{low:.1%} to {high:.1%}"
            )
    except InputError as error:
        return fit_sasv(asv, cm, classes, check_weights(weights)._replace(spoof=0.0), joint), error.reason
    return fusion, ""
