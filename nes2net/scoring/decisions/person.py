"""Is this the claimed person, live? Speaker and countermeasure scores, fused and judged.

Ratio: arXiv 2406.10836; joint fit: arXiv 2408.11152; products: Zhang et al., Odyssey 2022.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_setting, refuse
from nes2net.metrics import bootstrap_interval, compute_eer
from nes2net.metrics.sasv import SASV_CLASSES, SasvWeights, check_finite, check_weights, compute_a_dcf
from nes2net.scoring.decisions.calibration import fit
from nes2net.scoring.decisions.claim import RuleName, SasvFit, apply_maps
from nes2net.scoring.decisions.genuine import genuine_threshold

EQUAL_WEIGHTS = SasvWeights(1.0, 1.0, 1.0)
_GRADIENT_TOLERANCE = 1e-8  # the solver stops at this slope of the loss, or where rounding hides the slope
_FOLDS = 5
_CASCADES = 500  # pairs of thresholds with a distance of their own that are tried

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


def _product(values: NDArray) -> NDArray:
    """Compute the logarithm of the product of the sigmoids of ``values`` (M, N)."""
    return -np.logaddexp(0, -values).sum(0)


#: Name → rule that fuses speaker and countermeasure, by their scores (2, N), or these as :meth:`SasvFit.llrs` maps them.
#: Products are logarithms.
FUSION_RULES = {
    "ratio": lambda scores, llrs, weights: sasv_ratio(llrs[0], llrs[1], weights),
    "sum": lambda scores, llrs, weights: scores.sum(0),
    "product_linear": lambda scores, llrs, weights: _log((scores[0] + 1) / 2) + _product(scores[1:]),
    "product_sigmoid": lambda scores, llrs, weights: _product(scores),
    "product_posterior": lambda scores, llrs, weights: _product(
        llrs - _log(np.divide(weights[1:], weights[0]))[:, None]
    ),
    "sum_llr": lambda scores, llrs, weights: llrs.sum(0),
    "cascade": lambda scores, llrs, weights: llrs.min(0),
}


def fuse(fusion: SasvFit, asv: ArrayLike, cm: ArrayLike) -> NDArray:
    """Fuse scores (N,) by the rule of ``fusion``."""
    return FUSION_RULES[fusion.rule](np.stack([asv, cm]), fusion.llrs(asv, cm), fusion.weights)


def fit_sasv(
    asv: ArrayLike,
    cm: ArrayLike,
    classes: ArrayLike,
    weights: SasvWeights = EQUAL_WEIGHTS,
    joint: bool = True,
    rule: RuleName = "ratio",
) -> SasvFit:
    """Calibrate scores (N,) separately by :func:`fit`, or then jointly for :func:`sasv_ratio` L.

    The joint fit minimises the weighted mean of ln(1 + e^±(L − threshold)). Other rules than the
    ratio accept where the a-DCF of these trials is least.

    Args:
        classes: (N,), names of :data:`SASV_CLASSES`, or 0, 1, 2.
        weights: 0 ignores a class.
        joint: only by the rule ``"ratio"``.
        rule: a key of :data:`FUSION_RULES`.

    Raises:
        InputError: if a class is empty, a score not finite, or a scale not positive.
    """
    weights = check_weights(weights)
    trials = _as_trials(asv, cm, classes, rule)
    groups = _split(trials[:2], trials)
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
    if joint and rule == "ratio" and all(weights):  # without a class, the separate fit is the joint one
        maps = _fit_jointly(maps, groups, weights)
    for system, scale, weight in zip(systems[1:], maps[:, 0], weights[1:]):
        if weight and scale <= 0:
            raise InputError(
                f"these {system} scores are the wrong way round or say nothing here (scale {scale:.3g}): check that higher "
                "scores mean the person and bona fide"
            )
    loss = _loss(maps, groups, weights)
    counts = [group.shape[1] for group in groups]
    fusion = SasvFit(*maps.ravel().tolist(), loss, weights, counts, weights.threshold, rule)  # type: ignore[call-arg]
    if rule == "ratio":
        return fusion
    candidates = [fusion]
    if rule == "cascade":
        speaker, live = groups[0]
        shifts = np.linspace(speaker.min() - live.max(), speaker.max() - live.min(), _CASCADES).tolist()
        candidates = [SasvFit(1.0, 0.0, 1.0, shift, *fusion[4:]) for shift in shifts]
    return min((_at_best_threshold(candidate, groups) for candidate in candidates), key=attrgetter("loss"))


def _at_best_threshold(fusion: SasvFit, groups: list[NDArray]) -> SasvFit:
    fused = (fuse(fusion, *group) for group in groups)
    cost, rejected = compute_a_dcf(*fused, fusion.weights)  # type: ignore[call-arg, arg-type]
    return fusion._replace(loss=cost, threshold=np.nextafter(rejected, np.inf).item())


def _as_trials(asv: ArrayLike, cm: ArrayLike, classes: ArrayLike, rule: RuleName) -> NDArray:
    """Return speaker scores, countermeasure scores, and numbers of classes, (3, N)."""
    labels = np.asarray(classes)
    masks = [(labels == name) | (labels == number) for number, name in enumerate(SASV_CLASSES)]
    speaker_scores = check_finite(asv, "speaker")
    lowest = speaker_scores.min(initial=np.inf)
    refuse(
        ((sum(masks) == 0).any(), "classes must be target, nontarget or spoof: correct the others"),
        (
            rule == "product_linear" and lowest <= -1,
            f"the rule product_linear multiplies (speaker score + 1) / 2, so speaker scores must be cosines, above −1, not "
            f"{lowest:g}: use another `rule`",
        ),
    )
    return np.stack([speaker_scores, check_finite(cm, "countermeasure"), np.select(masks, range(3))])


def _split(values: NDArray, trials: NDArray) -> Any:
    """Divide ``values`` (…, N) by the classes of ``trials``."""
    return [values[..., trials[2] == number] for number in range(3)]


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
    fusion: SasvFit, asv: ArrayLike, cm: ArrayLike, abstain_within: float = 0.0
) -> tuple[NDArray, NDArray]:
    """Judge claims by scores (N,) and the rule of ``fusion``; if spoofed trials have no weight, only the speaker.

    Fused scores within ``abstain_within`` of the threshold are ``"borderline"``.

    Returns:
        Keys of :data:`PERSON_OUTCOMES`, and whether ``"other_person"`` may not be live.
    """
    distance = fuse(fusion, asv, cm) - fusion.threshold
    _, *thresholds = _log(fusion.weights) - _log(fusion.weights.target)  # of each score by itself
    if fusion.rule == "cascade":
        thresholds = [fusion.threshold] * 2
    is_other, is_fake = fusion.llrs(asv, cm) < np.reshape(thresholds, (2, 1))
    accepting = "accept_speaker_only"
    if fusion.weights.spoof or fusion.rule == "cascade":
        accepting = "accept"
    conditions = [np.abs(distance) < abstain_within, distance >= 0, is_other, is_fake]
    codes = np.select(conditions, ["borderline", accepting, "other_person", "not_live"], "borderline")
    return codes, (codes == "other_person") & is_fake


def fit_genuine(asv: ArrayLike, cm: ArrayLike, operating_point: str) -> SasvFit:
    """Let each score decide by itself, from its :func:`genuine_threshold` on.

    Args:
        asv, cm: scores of genuine recordings, (A,) and (C,).
        operating_point: such as ``"miss:5%"``, for each score.
    """
    speaker, live = (-genuine_threshold(scores, operating_point).threshold for scores in (asv, cm))
    return SasvFit(1.0, speaker, 1.0, live, 0.0, EQUAL_WEIGHTS, [np.size(asv), 0, 0], 0.0, "cascade")


def held_out(trials: NDArray, groups: ArrayLike, *settings: Any) -> NDArray:
    """Fuse ``trials`` (3, N) by fits of :func:`fit_sasv` to four of five folds of whole ``groups``.

    Returns:
        Distances from the thresholds of these fits, (N,).
    """
    folds = np.unique(groups, return_inverse=True)[1] % _FOLDS
    distances = np.empty(folds.size)
    for fold in range(_FOLDS):
        is_tested = folds == fold
        fusion = fit_sasv(*trials[:, ~is_tested], *settings)  # type: ignore[call-arg]
        distances[is_tested] = fuse(fusion, *trials[:2, is_tested]) - fusion.threshold
    return distances


def fit_person(
    asv: ArrayLike,
    cm: ArrayLike,
    classes: ArrayLike,
    weights: SasvWeights = EQUAL_WEIGHTS,
    joint: bool = True,
    rule: RuleName = "ratio",
    people: ArrayLike | None = None,
) -> SasvFit:
    """Fit as :func:`fit_sasv`, but give spoofed trials no weight if the countermeasure adds nothing.

    It adds nothing if it cannot be fitted to four of five folds, or if the 95 % interval of its EER
    reaches 50 %. Maps with positive scales keep an EER, so it is that of held-out trials. Equal
    scores are those of one recording in several claims. A doubt tells if the fusion costs as much
    on held-out folds as a single score at its best threshold.

    Args:
        people: who is claimed, (N,), for folds of people; by default, they are of recordings.
    """
    check_setting("weights", weights, weights[1] > 0, "above 0 for other people")
    trials = _as_trials(asv, cm, classes, rule)
    if people is None:
        people = trials[1]
    settings = (weights, joint, rule)
    try:
        fusion = fit_sasv(asv, cm, classes, *settings)
        target, nontarget, spoof = _split(held_out(trials, people, *settings), trials)
        live, _, fake = map(np.unique, _split(trials[1], trials))
        low, high = bootstrap_interval(compute_eer, live, fake)
        if high >= 0.5:
            raise InputError(
                "the countermeasure does not tell targets from spoofed trials here: the 95 % interval of its EER is "
                f"{low:.1%} to {high:.1%}"
            )
    except InputError as error:
        return fit_sasv(asv, cm, classes, check_weights(weights)._replace(spoof=0.0))._replace(refusal=error.reason)
    cost, _ = compute_a_dcf(target, nontarget, spoof, weights, threshold=0.0)
    single, _ = min(compute_a_dcf(*_split(scores, trials), weights) for scores in trials[:2])  # type: ignore[call-arg]
    if cost >= single:
        doubt = f"on held-out folds, the a-DCF is {cost:.4f}, not below that of a single score, {single:.4f}"
        return fusion._replace(doubts=(doubt,))
    return fusion
