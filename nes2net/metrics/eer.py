"""Equal error rate under the three tie rules that published figures were computed with, and the DET curve behind it.

On continuous scores and many trials the three agree to about one trial; with tied scores they differ, so a published figure is
only reproduced by the rule it was computed with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.errors import InputError

METHODS = ("asvspoof", "interpolated", "sklearn")


def compute_eer(
    bonafide: ArrayLike, spoof: ArrayLike, method: str = "asvspoof", *, order: ArrayLike | None = None
) -> tuple[float, float]:
    """Equal error rate and its threshold.

    Args:
        bonafide, spoof: Scores of the two classes, shapes (B,) and (S,); higher is more bona fide.
        method: ``"asvspoof"``: the rule of the ASVspoof 2019, 2021 and 5 evaluation packages. Every trial is a step of its
            own, bona fide first among equal scores; the EER is the mean of FRR and FAR at the first step where they are
            nearest to each other. ``"interpolated"``: the rule of the published In-the-Wild figures. Every trial is a step
            of its own, in file order among equal scores; FRR is interpolated linearly where FAR − FRR first changes its
            sign. ``"sklearn"``: the rule of the published CtrSVDD figures. The mean of FRR and FAR at the corner of the ROC
            curve (see :func:`roc_points`) where they are nearest to each other.
        order: Position in the score file of each trial of [bonafide, spoof], shape (B + S,): the order among equal scores
            for ``"interpolated"``; by default that of the concatenation. The other rules do not depend on it.

    Returns:
        ``(eer, threshold)``: The EER as a fraction in [0, 1], and the score at which it was read off; under ``"asvspoof"``
        that is the highest score rejected, as the evaluation packages report it, else the lowest accepted.

    Raises:
        InputError: A class has no scores, a score is NaN, or the method is unknown.

    >>> compute_eer([2.0, 3.0, 4.0, 1.0], [0.0, 1.5, -1.0, -2.0])
    (0.25, 1.0)
    """
    if method == "asvspoof":
        return _eer_asvspoof(bonafide, spoof)
    if method == "interpolated":
        return _eer_interpolated(bonafide, spoof, order)
    if method == "sklearn":
        return _eer_sklearn(bonafide, spoof)
    raise InputError(f"unknown EER method '{method}'; known: {', '.join(METHODS)}")


def det_curve(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """FRR and FAR at every threshold, by the ASVspoof rule: one step per trial, bona fide first among equal scores.

    Returns ``(frr, far, thresholds)``, each of shape (B + S + 1,). The first point is the smallest score − 0.001, where
    everything is accepted; point i > 0 is the rate after the i lowest trials were rejected, at the score of the last of them.
    Raises :class:`InputError` for an empty class or NaN.

    >>> det_curve([1.0, 2.0], [0.0])[:2]
    (array([0. , 0. , 0.5, 1. ]), array([1., 0., 0., 0.]))
    """
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    scores, is_bonafide = walk(bonafide, spoof)
    rejected_bonafide = np.concatenate(([0], np.cumsum(is_bonafide)))
    rejected_spoof = np.arange(scores.size + 1) - rejected_bonafide
    thresholds = np.concatenate(([scores[0] - 0.001], scores))
    return rejected_bonafide / bonafide.size, (spoof.size - rejected_spoof) / spoof.size, thresholds


def roc_points(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Corners of the ROC curve from the highest threshold down: equal scores are one step, collinear points are dropped.

    Returns ``(frr, far, thresholds)``, the points of scikit-learn's ``roc_curve`` (FRR = 1 − TPR, FAR = FPR); the first is
    threshold infinity, where everything is rejected. Raises :class:`InputError` for an empty class or NaN.

    >>> roc_points([1.0, 2.0], [0.0, 1.0])
    (array([1. , 0.5, 0. , 0. ]), array([0. , 0. , 0.5, 1. ]), array([inf,  2.,  1.,  0.]))
    """
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    scores, is_bonafide = walk(bonafide, spoof)
    scores, is_bonafide = scores[::-1], is_bonafide[::-1]
    ends = last_of_ties(scores)
    accepted_bonafide = np.cumsum(is_bonafide)[ends]
    accepted_spoof = 1 + ends - accepted_bonafide
    corner = roc_corners(accepted_bonafide, accepted_spoof)
    tpr = np.append(0, accepted_bonafide[corner]) / bonafide.size
    far = np.append(0, accepted_spoof[corner]) / spoof.size
    return 1 - tpr, far, np.append(np.inf, scores[ends[corner]])


def last_of_ties(scores: NDArray) -> NDArray:
    """Where in sorted ``scores`` each run of equal values ends."""
    return np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)


def roc_corners(accepted_bonafide: NDArray, accepted_spoof: NDArray) -> NDArray:
    """Which points of the ROC curve scikit-learn keeps: the ends, and those after which it goes on by another step."""
    if accepted_bonafide.size <= 2:
        return np.ones(accepted_bonafide.size, dtype=bool)
    bends = (np.diff(accepted_bonafide, 2) != 0) | (np.diff(accepted_spoof, 2) != 0)
    return np.concatenate(([True], bends, [True]))


def checked_scores(scores: ArrayLike, name: str) -> NDArray:
    """``scores`` as a float64 vector; :class:`InputError` when there are none or one is NaN. ``name`` is for the message."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1:
        raise InputError(f"{name} scores must be one-dimensional, got shape {scores.shape}")
    if scores.size == 0:
        raise InputError(f"there are no {name} scores; an error rate needs at least one trial of each class")
    num_nan = int(np.isnan(scores).sum())
    if num_nan:
        raise InputError(
            f"{num_nan} of {scores.size} {name} scores are NaN; leave these trials out or score them again"
        )
    return scores


def walk(bonafide: NDArray, spoof: NDArray, order: ArrayLike | None = None) -> tuple[NDArray, NDArray]:
    """All scores in ascending order and whether each is bona fide; equal scores stand by ``order`` (default: bona fide first)."""
    index = walk_index(bonafide, spoof, order)
    return np.concatenate((bonafide, spoof))[index], index < bonafide.size


def walk_index(bonafide: NDArray, spoof: NDArray, order: ArrayLike | None = None) -> NDArray:
    """Where each step of :func:`walk` stands in the concatenation [bonafide, spoof]."""
    scores = np.concatenate((bonafide, spoof))
    if order is None:
        return np.argsort(scores, kind="stable")
    order = np.asarray(order)
    if order.shape != scores.shape:
        raise InputError(f"order must give a position to each of the {scores.size} scores, got shape {order.shape}")
    return np.lexsort((order, scores))


def _eer_asvspoof(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    frr, far, thresholds = det_curve(bonafide, spoof)
    nearest = np.argmin(np.abs(frr - far))
    return float((frr[nearest] + far[nearest]) / 2), float(thresholds[nearest])


def _eer_interpolated(bonafide: ArrayLike, spoof: ArrayLike, order: ArrayLike | None) -> tuple[float, float]:
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    scores, is_bonafide = walk(bonafide, spoof, order)
    rejected_bonafide = np.cumsum(is_bonafide) - is_bonafide  # strictly before each trial: accepted is "at or above"
    frr = rejected_bonafide / bonafide.size
    far = (spoof.size - np.arange(scores.size) + rejected_bonafide) / spoof.size
    # FAR − FRR starts at 1 and falls with every step; in integers, so that "equal" is exact.
    gap = (spoof.size - np.arange(scores.size) + rejected_bonafide) * bonafide.size - rejected_bonafide * spoof.size
    after = int(np.argmax(gap <= 0))
    before = after - 1
    share = (far[before] - frr[before]) / ((far[before] - frr[before]) - (far[after] - frr[after]))
    return float(frr[before] + share * (frr[after] - frr[before])), float(scores[after])


def _eer_sklearn(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[float, float]:
    frr, far, thresholds = roc_points(bonafide, spoof)
    nearest = np.argmin(np.abs(frr - far))
    return float((frr[nearest] + far[nearest]) / 2), float(thresholds[nearest])
