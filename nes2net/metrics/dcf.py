"""Detection cost functions of ASVspoof 5 (track 1) and CtrSVDD, and the cost of log-likelihood ratios (Cllr)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.errors import InputError
from nes2net.metrics.eer import checked_scores, det_curve, last_of_ties, roc_points, walk

# Evaluation plan of ASVspoof 5, track 1.
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
    """Smallest detection cost over all thresholds: ``c_miss · (1 − p_spoof) · FRR + c_fa · p_spoof · FAR``.

    The defaults are those of ASVspoof 5, track 1. The published CtrSVDD figures are ``p_spoof=0.5, c_fa=1, method="sklearn",
    normalize=False``.

    Args:
        bonafide, spoof: Scores, shapes (B,) and (S,); higher is more bona fide.
        method: ``"asvspoof"``: thresholds of :func:`~nes2net.metrics.eer.det_curve`; ``"sklearn"``: those of
            :func:`~nes2net.metrics.eer.roc_points`. They differ where scores of both classes are equal.
        normalize: Divide by the cost of accepting all or rejecting all, whichever is cheaper; 1 is then a useless system.

    Raises:
        InputError: A class has no scores, a score is NaN, a cost is not positive, ``p_spoof`` is not between 0 and 1, or
            the method is unknown.

    >>> compute_min_dcf([1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 1.5, -2.0])
    0.25
    """
    curves = {"asvspoof": det_curve, "sklearn": roc_points}
    if method not in curves:
        raise InputError(f"unknown threshold method '{method}'; known: {', '.join(curves)}")
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
    """Normalised detection cost at the threshold that is optimal if scores are natural-log likelihood ratios.

    That threshold is −ln(c_miss · (1 − p_spoof) / (c_fa · p_spoof)). The gap to :func:`compute_min_dcf` is the loss by
    calibration. Parameters and errors as there.

    >>> compute_act_dcf([2.0, 3.0], [-2.0, -1.0])
    0.0
    """
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    threshold = act_dcf_threshold(p_spoof, c_miss, c_fa)
    return float(act_dcf(np.mean(bonafide < threshold), np.mean(spoof >= threshold), p_spoof, c_miss, c_fa))


def compute_cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Cost of log-likelihood ratios in bits, for scores read as natural-log likelihood ratios; 0 is perfect, 1 says nothing.

    ½ · (mean log2(1 + e^−b) + mean log2(1 + e^s)). Brümmer and du Preez, "Application-independent evaluation of speaker
    detection", Computer Speech & Language 20, 2006. Raises :class:`InputError` for an empty class or NaN.

    >>> compute_cllr([0.0], [0.0])
    1.0
    """
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    of_bonafide, of_spoof = cllr_terms(bonafide, spoof)
    return float((np.mean(of_bonafide) + np.mean(of_spoof)) / 2)


def compute_min_cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Cllr in bits after the best monotone calibration: the loss by discrimination alone; 0 is perfect, 1 says nothing.

    Calibration is by pool-adjacent-violators (Brümmer and du Preez, 2006, section 5), equal scores in one pool; the gap of
    :func:`compute_cllr` to it is the loss by calibration. Needs SciPy. Raises as :func:`compute_cllr`.

    >>> compute_min_cllr([1.0, 2.0], [0.0]), compute_min_cllr([0.0], [1.0])
    (0.0, 1.0)
    """
    from scipy.optimize import isotonic_regression

    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    scores, is_bonafide = walk(bonafide, spoof)
    ends, num_bonafide = last_of_ties(scores), np.cumsum(is_bonafide)
    trials = np.diff(ends, prepend=-1)
    share = np.diff(num_bonafide[ends], prepend=0) / trials
    ends = ends[isotonic_regression(share, weights=trials).blocks[1:] - 1]  # of the pools
    of_bonafide = np.diff(num_bonafide[ends], prepend=0)
    of_spoof = (np.diff(ends, prepend=-1) - of_bonafide) / spoof.size
    of_bonafide = of_bonafide / bonafide.size
    # log2(1 + 1/LR) and log2(1 + LR) with LR = of_bonafide / of_spoof; a share of 0 costs nothing.
    both = of_bonafide + of_spoof
    return float(sum(part[part > 0] @ np.log2(both[part > 0] / part[part > 0]) for part in (of_bonafide, of_spoof)) / 2)


def cllr_terms(bonafide: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray]:
    """What each trial costs in bits: log2(1 + e^−b) and log2(1 + e^s)."""
    return np.logaddexp(0, -bonafide) / math.log(2), np.logaddexp(0, spoof) / math.log(2)


def act_dcf_threshold(p_spoof: float, c_miss: float, c_fa: float) -> float:
    """The threshold of least expected cost for natural-log likelihood ratios; :class:`InputError` for costs that are none."""
    _check_costs(p_spoof, c_miss, c_fa)
    return -math.log(c_miss * (1 - p_spoof) / (c_fa * p_spoof))


def dcf(frr, far, p_spoof: float, c_miss: float, c_fa: float, normalize: bool):
    """The detection cost at given error rates, numbers or arrays; see :func:`compute_min_dcf`."""
    _check_costs(p_spoof, c_miss, c_fa)
    p_bonafide = 1 - p_spoof
    cost = frr * c_miss * p_bonafide + far * c_fa * (1 - p_bonafide)
    return cost / min(c_miss * p_bonafide, c_fa * (1 - p_bonafide)) if normalize else cost


def act_dcf(frr: float, far: float, p_spoof: float, c_miss: float, c_fa: float) -> float:
    """:func:`dcf`, normalised, in the order of operations of the evaluation package: the last bit is printed there."""
    at_miss, at_alarm = c_miss * (1 - p_spoof), c_fa * p_spoof
    return (at_miss * frr + at_alarm * far) / min(at_miss, at_alarm)


def _check_costs(p_spoof: float, c_miss: float, c_fa: float) -> None:
    if not 0 < p_spoof < 1:
        raise InputError(f"p_spoof must lie between 0 and 1, got {p_spoof}")
    if c_miss <= 0 or c_fa <= 0:
        raise InputError(f"costs must be positive, got c_miss={c_miss}, c_fa={c_fa}")
