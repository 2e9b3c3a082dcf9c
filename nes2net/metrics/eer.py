"""Equal error rate by the rules of published figures, and the DET curve.

Rules differ by about one trial if no scores are equal, and by more if many are: a published EER
can be reproduced only by its own rule.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, as_input_error, check_known
from nes2net.lib.output.terminal import note_once

#: Rule of the equal error rate → what it says.
METHODS = {
    "asvspoof": "the rule of the evaluation packages of ASVspoof 2019, 2021 and 5. Every trial is a step; among equal "
    "scores, bona fide comes first. The EER is (FRR + FAR) / 2 at the first step where |FRR − FAR| is smallest.",
    "interpolated": "the rule of the published figures on In-the-Wild. Every trial is a step; equal scores are in file "
    "order. FRR is interpolated linearly where FAR − FRR first changes its sign.",
    "arena": "the rule of the Speech Anti-Spoofing Arena. Equal scores are one step. Both rates and the threshold are "
    "interpolated linearly where FAR − FRR first changes its sign. If FAR − FRR stays positive, because the highest "
    "score is tied, the EER is (FRR + FAR) / 2 at the highest score.",
    "roc": "the rule for known against unknown classes. This rule is like arena, but the ROC curve has one more point, "
    "at which all trials are rejected. The EER is therefore 0.5 if all scores are equal, and the EERs of scores and of "
    "negated scores add up to 1.",
    "sklearn": "the rule of the published figures on CtrSVDD. The EER is (FRR + FAR) / 2 at the first corner of the "
    "ROC curve where |FRR − FAR| is smallest.",
    "rocch": "the rule of BOSARIS. This rule is like roc, but takes the convex hull of the ROC curve, so the EER is the "
    "same or lower, and at most 0.5.",
}


_FEWEST_LABELS = 4  # shorter rows of 0 and 1 may be scores


def compute_eer(
    bonafide: ArrayLike, spoof: ArrayLike, method: str = "asvspoof", *, order: ArrayLike | None = None
) -> tuple[float, float]:
    """Compute the equal error rate: the rate at the threshold where FRR and FAR are equal.

    FRR and FAR are rarely equal at any threshold, so the EER is defined by a rule
    (:data:`METHODS`). A *step* is what a rising threshold rejects at once: one trial, or all trials
    with the same score.

    If all scores are equal, the EER is 1 with ``"asvspoof"``, as in the published programs. With
    ``"interpolated"`` it depends on ``order`` (the published program sorts equal scores in an
    unstable order), and with all other rules it is 0.5.

    Args:
        bonafide, spoof: Scores (B,) and (S,); higher is more bona fide.
        method: The rule.
        order: Position of each trial of [bonafide, spoof] in the score file, (B + S,), used only
            by ``"interpolated"``. Defaults to [bonafide, spoof].

    Returns:
        ``(eer, threshold)``: the EER in [0, 1], and the highest rejected score (``"asvspoof"``),
        the lowest accepted score (``"interpolated"``, ``"sklearn"``), or a score or a number
        between two scores (other rules). A note is printed if the EER is above 0.5 beyond chance.

    Raises:
        InputError: if a class has no scores, a score is NaN, an argument is labels, or the method is
            unknown.

    >>> compute_eer([2.0, 3.0, 4.0, 1.0], [0.0, 1.5, -1.0, -2.0])
    (0.25, 1.0)
    """
    check_known([method], METHODS, "unknown EER method")
    bonafide, spoof = check_classes(bonafide, spoof)
    eer, threshold = _eer_by_rule(bonafide, spoof, method, order)
    # Wilson's 95 % interval excludes ½; ties alone, which some rules count as errors, do not lower the mean.
    num_trials = 4 / (1 / bonafide.size + 1 / spoof.size)
    if (eer - 0.5) * num_trials**0.5 > 0.98 and bonafide.mean() < spoof.mean():
        note_once(
            "an EER is above 50 %, beyond chance. Either the two classes are swapped or lower scores mean bona fide: swap "
            "the arguments or negate the scores; or the detector takes these fakes for bona fide: then the EER is right"
        )
    return eer, threshold


def _eer_by_rule(bonafide: NDArray, spoof: NDArray, method: str, order: ArrayLike | None) -> tuple[float, float]:
    if method == "sklearn":
        frr, far, thresholds = roc_points(bonafide, spoof)
        nearest = np.argmin(np.abs(frr - far))
        return float((frr[nearest] + far[nearest]) / 2), float(thresholds[nearest])
    if method == "asvspoof":
        scores, is_bonafide = sort_trials(bonafide, spoof)
        return eer_of_sorted(scores, is_bonafide, ~is_bonafide)
    if method != "interpolated":
        order = None
    scores, is_bonafide = sort_trials(bonafide, spoof, order)
    # Step i rejects the trials before i and accepts trial i.
    rejected_bonafide = np.cumsum(is_bonafide) - is_bonafide
    rejected_spoof = np.arange(scores.size) - rejected_bonafide
    if method == "interpolated":
        eer, after, _ = interpolate_crossing(rejected_bonafide, rejected_spoof, bonafide.size, spoof.size)
        return eer, float(scores[after])
    # From here on, each run of equal scores is one step. Step N, after the last run, rejects all trials.
    starts = np.append(0, last_of_ties(scores)[:-1] + 1)
    sizes = bonafide.size, spoof.size
    rejected = np.stack((rejected_bonafide[starts], rejected_spoof[starts]))  # (2, steps)
    if method != "arena":
        rejected = np.column_stack((rejected, sizes))
    # Indices of steps (K,). The differences are the trials (steps − 1,) of each class that one step rejects more.
    steps = roc_hull(*np.diff(rejected)) if method == "rocch" else np.arange(rejected.shape[1])
    eer, after, share = interpolate_crossing(rejected[0, steps], rejected[1, steps], *sizes)
    # The threshold is the highest score, the score of a step, or between the scores of two steps.
    if steps[after] == starts.size:
        return eer, float(scores[-1])
    higher = scores[starts[steps[after]]]
    if share == 1:
        return eer, float(higher)
    lower = scores[starts[steps[after - 1]]]
    return eer, float(lower + share * (higher - lower))


def eer_of_sorted(scores: NDArray, bonafide: NDArray, spoof: NDArray) -> tuple[float, float]:
    """Compute the EER and its threshold by the ASVspoof rule from sorted scores.

    An element is one trial, or several trials of one class with the same score.

    Args:
        scores: (N,), ascending; among equal scores bona fide comes first.
        bonafide, spoof: (N,), numbers of trials in each element; one of the two is 0.

    Returns:
        ``(eer, threshold)``, as in :func:`compute_eer`.
    """
    rejected_bonafide = bonafide.cumsum()
    rejected_spoof = spoof.cumsum()
    sizes = int(rejected_bonafide[-1]), int(rejected_spoof[-1])

    def frr_reaches_far(i: int) -> bool:
        return bool(rejected_bonafide[i] / sizes[0] >= (sizes[1] - rejected_spoof[i]) / sizes[1])

    # FRR − FAR rises with every rejected trial, so |FRR − FAR| is smallest at its change of sign or
    # one step before. ``crossing`` is the element with the change of sign.
    crossing = bisect_left(range(scores.size), True, key=frr_reaches_far)
    tied = np.array((bonafide[crossing], spoof[crossing]), dtype=np.int64)
    after = np.array((rejected_bonafide[crossing], rejected_spoof[crossing]))
    eer, nearest = nearest_rates(count_rejected_in_tie(after - tied, tied), sizes)
    if nearest:
        threshold = scores[crossing]
    elif crossing:
        threshold = scores[crossing - 1]
    else:
        threshold = scores[0] - 0.001  # a threshold that accepts all trials, as in the evaluation packages
    return eer, float(threshold)


def count_rejected_in_tie(before: NDArray, tied: NDArray) -> NDArray:
    """Count the rejected (bona fide, spoofed) trials after 0 to n trials of a tie, (2, n + 1).

    ``before`` (2,): rejected before the tie; ``tied`` (2,): n of one class, and 0.
    """
    return before[:, None] + np.arange(tied.sum() + 1) * (tied > 0)[:, None]


def nearest_rates(rejected: NDArray, sizes: Sequence[int]) -> tuple[float, int]:
    """Find (FRR + FAR) / 2 at the first of K steps where |FRR − FAR| is smallest, and its index.

    ``rejected`` (2, K) counts the trials of both classes that a step rejects, ``sizes`` all trials.
    """
    frr = rejected[0] / sizes[0]
    far = (sizes[1] - rejected[1]) / sizes[1]
    nearest = int(np.argmin(np.abs(frr - far)))
    return float((frr[nearest] + far[nearest]) / 2), nearest


def det_curve(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Compute FRR and FAR at every threshold by the ASVspoof rule.

    Every trial is a step; among equal scores, bona fide comes first.

    Returns:
        ``(frr, far, thresholds)``, (B + S + 1,) each. Point 0 accepts all trials (threshold: lowest
        score − 0.001). Point i rejects the i lowest trials; its threshold is their highest score.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> det_curve([1.0, 2.0], [0.0])[:2]
    (array([0. , 0. , 0.5, 1. ]), array([1., 0., 0., 0.]))
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    scores, is_bonafide = sort_trials(bonafide, spoof)
    rejected_bonafide = np.concatenate(([0], np.cumsum(is_bonafide)))
    rejected_spoof = np.arange(scores.size + 1) - rejected_bonafide
    thresholds = np.concatenate(([scores[0] - 0.001], scores))
    return rejected_bonafide / bonafide.size, (spoof.size - rejected_spoof) / spoof.size, thresholds


def roc_points(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Compute the corners of the ROC curve, from the highest threshold down.

    Equal scores are one step; collinear points are omitted.

    Returns:
        ``(frr, far, thresholds)`` as in scikit-learn's ``roc_curve``: FRR = 1 − TPR, FAR = FPR,
        first threshold infinity.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> roc_points([1.0, 2.0], [0.0, 1.0])
    (array([1. , 0.5, 0. , 0. ]), array([0. , 0. , 0.5, 1. ]), array([inf,  2.,  1.,  0.]))
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    scores, is_bonafide = sort_trials(bonafide, spoof)
    scores = scores[::-1]  # descending
    ends = last_of_ties(scores)
    accepted_bonafide = np.cumsum(is_bonafide[::-1])[ends]
    accepted_spoof = 1 + ends - accepted_bonafide
    corner = roc_corners(accepted_bonafide, accepted_spoof)
    tpr = np.append(0, accepted_bonafide[corner]) / bonafide.size
    far = np.append(0, accepted_spoof[corner]) / spoof.size
    return 1 - tpr, far, np.append(np.inf, scores[ends[corner]])


def last_of_ties(scores: NDArray) -> NDArray:
    """Find the last index of each run of equal scores in sorted ``scores`` (N,)."""
    return np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)


def roc_corners(accepted_bonafide: NDArray, accepted_spoof: NDArray) -> NDArray:
    """Mark (N,) the ends and bends of an ROC curve, the points that scikit-learn keeps."""
    if accepted_bonafide.size <= 2:
        return np.ones(accepted_bonafide.size, dtype=bool)
    # A point whose counts both rise on as before, with the second difference 0, lies on a straight piece.
    bends = (np.diff(accepted_bonafide, 2) != 0) | (np.diff(accepted_spoof, 2) != 0)
    return np.concatenate(([True], bends, [True]))


def roc_hull(bonafide: NDArray, spoof: NDArray) -> NDArray:
    """Find the vertices of the ROC curve's convex hull by "pool adjacent violators".

    Returns the first index of each of the K pools, and N: (K + 1,).
    """
    # Imported only here, because loading SciPy takes longer than all other metrics.
    from scipy.optimize import isotonic_regression

    trials = bonafide + spoof
    return isotonic_regression(bonafide / trials, weights=trials).blocks


def check_scores(scores: ArrayLike, name: str) -> NDArray:
    """Convert ``scores`` to a float64 vector; ``name`` is for messages.

    Raises:
        InputError: if there are no scores, if a score is masked, NaN or no number, or if the scores
            are not a vector.
    """
    if np.ma.is_masked(scores):
        raise InputError(f"some {name} scores are masked: pass scores.compressed(), or score these trials again")
    if hasattr(scores, "detach"):  # a tensor, perhaps with a gradient, on a GPU, or in bfloat16
        scores = scores.detach().cpu().double()
    remedy = "pass one row of numbers (N,), as a list, an array or a tensor"
    with as_input_error(f"the {name} scores are not numbers", TypeError, ValueError, RuntimeError, remedy=remedy):
        scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1:
        raise InputError(f"{name} scores must be one-dimensional, got shape {scores.shape}: pass one row (N,)")
    if scores.size == 0:
        raise InputError(
            f"there are no {name} scores; an error rate needs at least one trial of each class: add trials"
        )
    num_nan = np.isnan(scores).sum()
    if num_nan:
        raise InputError(f"{num_nan} of {scores.size} {name} scores are NaN; remove these trials or score them again")
    return scores


def check_classes(bonafide: ArrayLike, spoof: ArrayLike) -> tuple[NDArray, NDArray]:
    """Check the scores of both classes by :func:`check_scores`.

    Raises:
        InputError: as :func:`check_scores`; or if one of the arguments is labels, and the other scores.
    """
    bonafide = check_scores(bonafide, "bona fide")
    spoof = check_scores(spoof, "spoof")
    if bonafide.size == spoof.size >= _FEWEST_LABELS:
        values = [np.unique(scores)[:3].tolist() for scores in (bonafide, spoof)]
        # Decisions in place of scores give no row a third value.
        if [0, 1] in values and max(map(len, values)) > 2:
            raise InputError(
                "one of the two rows holds only 0 and 1, as labels do: pass the scores of bona fide and of spoofed trials, "
                "such as scores[labels == 1], scores[labels == 0]"
            )
    return bonafide, spoof


def sort_trials(bonafide: NDArray, spoof: NDArray, order: ArrayLike | None = None) -> tuple[NDArray, NDArray]:
    """Return ascending scores, and whether each is bona fide (first of equal scores by default)."""
    index = sorting_index(bonafide, spoof, order)
    return np.concatenate((bonafide, spoof))[index], index < bonafide.size


def sorting_index(bonafide: NDArray, spoof: NDArray, order: ArrayLike | None = None) -> NDArray:
    """Find the indices (B + S,) that sort [bonafide, spoof].

    Raises:
        InputError: if ``order`` does not have the shape (B + S,).
    """
    scores = np.concatenate((bonafide, spoof))
    if order is None:
        return np.argsort(scores, kind="stable")
    order = np.asarray(order)
    if order.shape != scores.shape:
        raise InputError(
            f"order must give a position to each of the {scores.size} scores, got shape {order.shape}: join those of bona fide and spoof"
        )
    return np.lexsort((order, scores))


def interpolate_crossing(
    rejected_bonafide: NDArray, rejected_spoof: NDArray, num_bonafide: int, num_spoof: int
) -> tuple[float, int, float]:
    """Find the neighbouring steps between which FRR reaches FAR, and interpolate linearly.

    Args:
        rejected_bonafide, rejected_spoof: Rejected trials at each step, (N,), ascending from 0.

    Returns:
        ``(eer, after, share)``: the first step with FRR ≥ FAR, and where FRR = FAR (0: at the
        previous step, 1: at ``after``). If FRR never reaches FAR, these are the last step, its
        (FRR + FAR) / 2, and 1.
    """
    frr = rejected_bonafide / num_bonafide
    far = (num_spoof - rejected_spoof) / num_spoof
    # Compare integers, so that equality is exact.
    crossed = (num_spoof - rejected_spoof) * num_bonafide <= rejected_bonafide * num_spoof
    if not crossed[-1]:
        return float((frr[-1] + far[-1]) / 2), crossed.size - 1, 1.0
    after = int(np.argmax(crossed))
    before = after - 1
    gap_before = far[before] - frr[before]
    share = gap_before / (gap_before - (far[after] - frr[after]))
    return float(frr[before] + share * (frr[after] - frr[before])), after, float(share)
