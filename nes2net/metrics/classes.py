"""Metrics of classifiers with known and unknown classes: confusion, accuracy, F1, AUROC and FPR95.

AUROC and FPR95 take scores that are higher for trials of known classes.
:func:`nes2net.scoring.decisions.known_scores` computes such scores.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_known
from nes2net.metrics.eer import checked_scores, compute_eer

Over = Literal["present", "union", "all"]
"""The classes over which :func:`macro_f1` takes the mean."""


class ClassRates(NamedTuple):
    """Precision, recall and F1 of each of K classes, shape (…, K) each; a rate whose denominator is 0 is 0."""

    precision: NDArray
    recall: NDArray
    f1: NDArray


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray:
    """Count the trials of each pair of a true and a predicted class.

    Args:
        true, predicted: true and predicted class of each trial, as an index from 0 to
            ``num_classes`` − 1, shape (N,).

    Returns:
        K×K counts, int64: rows are true classes, columns are predicted classes.

    Raises:
        InputError: if the lengths differ or a number is not a class.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    rows = _checked_class_numbers(true, num_classes)
    columns = _checked_class_numbers(predicted, num_classes)
    if len(rows) != len(columns):
        raise InputError(f"a confusion has a predicted class for each true one, not {len(columns)} for {len(rows)}")
    return pair_counts(rows, columns, num_classes, num_classes)


def pair_counts(rows: NDArray, columns: NDArray, num_rows: int, num_columns: int) -> NDArray:
    """Count the trials in each cell of a table.

    Args:
        rows, columns: the row and the column of each trial in the table, as indices from 0, shape
            (N,).

    Returns:
        Counts, shape (num_rows, num_columns).
    """
    counts = np.bincount(rows * num_columns + columns, minlength=num_rows * num_columns)
    return counts.reshape(num_rows, num_columns)


def _checked_class_numbers(numbers: ArrayLike, num_classes: int) -> NDArray:
    """Convert the class numbers of N trials to int64; raise InputError for a number outside 0 … ``num_classes`` − 1."""
    array = np.asarray(numbers)
    if array.ndim != 1 or not (array.size == 0 or np.issubdtype(array.dtype, np.integer)):
        raise InputError(f"classes are whole numbers of shape (N,), not {array.dtype} of shape {array.shape}")
    if array.size and not 0 <= array.min() <= array.max() < num_classes:
        raise InputError(f"classes are numbers from 0 to {num_classes - 1}, not {array.min()} to {array.max()}")
    return array.astype(np.int64)


def class_rates(confusion: ArrayLike) -> ClassRates:
    """Compute precision, recall and F1 of each class.

    F1 of a class is 2·r / (t + p). Here t is the number of trials of the class, p is the number of
    trials that are predicted as the class, and r is the number of trials of the class that are
    predicted correctly.

    Args:
        confusion: numbers of trials, shape (…, K, K): one confusion matrix or many. The rates have
            the same leading axes.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    num_true = counts.sum(-1)
    num_predicted = counts.sum(-2)
    return ClassRates(
        _ratio(right, num_predicted), _ratio(right, num_true), _ratio(2 * right, num_true + num_predicted)
    )


def accuracy(confusion: ArrayLike) -> float:
    """Compute the fraction of trials whose predicted class is correct; NaN if there are no trials.

    >>> accuracy([[1, 1], [0, 2]])
    0.75
    """
    counts = np.asarray(confusion, dtype=np.float64)
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def balanced_accuracy(confusion: ArrayLike) -> float:
    """Compute the mean recall over the classes that have trials; NaN if there are no trials.

    >>> balanced_accuracy([[1, 1], [0, 2]])
    0.75
    """
    counts = np.asarray(confusion)
    return float(_mean_where(class_rates(counts).recall, counts.sum(-1) > 0))


def macro_f1(confusion: ArrayLike, over: Over = "present") -> float:
    """Compute the unweighted mean of F1 over classes; NaN if there is no class to average.

    Args:
        over: the classes over which the mean is taken. ``"present"`` takes the classes that have
            trials. ``"union"`` also takes classes that have no trials but are predicted, as in
            scikit-learn's ``f1_score(average="macro")``. ``"all"`` takes all K classes; the F1 of
            an absent class is 0.

    >>> confusion = [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    >>> round(macro_f1(confusion), 4), round(macro_f1(confusion, "all"), 4)
    (0.7333, 0.4889)
    """
    return float(_macro_f1_of_each(np.asarray(confusion), over))


def _macro_f1_of_each(counts: NDArray, over: Over = "present") -> NDArray:
    """Compute :func:`macro_f1` of each of many confusion matrices (…, K, K); the result has the shape (…,)."""
    check_known([over], ("present", "union", "all"), "a macro-F1 is not the mean over")
    counted = np.ones(counts.shape[:-1], dtype=bool)
    if over == "present":
        counted = counts.sum(-1) > 0
    elif over == "union":
        counted = (counts.sum(-1) > 0) | (counts.sum(-2) > 0)
    return _mean_where(class_rates(counts).f1, counted)


def one_against_rest_eer(posteriors: ArrayLike, true: ArrayLike) -> float:
    """Compute one EER over all classes: each posterior of each trial counts as a detection score.

    The posterior of the true class of a trial is a target score; the posteriors of all other
    classes are non-target scores.

    Args:
        posteriors: posterior of each of K classes for each of N trials, N×K.
        true: the number of the true class of each trial, shape (N,).

    Raises:
        InputError: if the shapes do not fit each other, a number is not a class, or a posterior is
            NaN.

    >>> one_against_rest_eer([[0.9, 0.1], [0.6, 0.4]], [0, 1])
    0.5
    """
    rows = np.asarray(posteriors, dtype=np.float64)
    is_target = _checked_class_numbers(true, rows.shape[-1])[:, None] == np.arange(rows.shape[-1])
    if rows.shape != is_target.shape:
        raise InputError(f"{len(is_target)} trials have posteriors trials × classes, not of shape {rows.shape}")
    return compute_eer(rows[is_target], rows[~is_target], "roc")[0]


def auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """Compute the area under the ROC curve: P(known > unknown) + ½·P(known = unknown).

    Args:
        known, unknown: scores of trials of known and of unknown classes, shapes (N,) and (M,);
            higher is more likely known.

    Raises:
        InputError: if there are no known or no unknown scores, or a score is NaN.

    >>> auroc([2.0, 1.0], [1.0, 0.0])
    0.875
    """
    known = checked_scores(known, "known")
    unknown = np.sort(checked_scores(unknown, "unknown"))
    below = np.searchsorted(unknown, known, side="left")
    not_above = np.searchsorted(unknown, known, side="right")
    return int((below + not_above).sum()) / (2 * known.size * unknown.size)


def fpr95(known: ArrayLike, unknown: ArrayLike) -> tuple[float, float]:
    """Compute the fraction of accepted unknown trials, at the threshold that accepts 95 % of the known trials.

    The threshold is the ⌈95n/100⌉-th largest of n known scores. A trial at or above the threshold
    is accepted as known (Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020).
    OpenOOD exchanges the roles of known and unknown trials: the FPR95 of OpenOOD is
    ``fpr95(-unknown, -known)``.

    Args:
        known, unknown: scores of trials of known and of unknown classes, shapes (N,) and (M,);
            higher is more likely known.

    Returns:
        ``(rate, threshold)``: the fraction of accepted unknown trials, and the threshold.

    Raises:
        InputError: if there are no known or no unknown scores, or a score is NaN.

    >>> fpr95([3.0, 2.0, 1.0], [2.5, 0.5])
    (0.5, 1.0)
    """
    known = checked_scores(known, "known")
    threshold = threshold_accepting(known)
    return float(np.mean(checked_scores(unknown, "unknown") >= threshold)), threshold


def threshold_accepting(known: NDArray, percent: int = 95) -> float:
    """Find the threshold that accepts ``percent`` % of ``known`` scores (N,): the ⌈percent·N/100⌉-th largest score."""
    rank = -(-percent * known.size // 100)  # rounded up
    return float(np.partition(known, known.size - rank)[known.size - rank])


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    """Divide elementwise; the result is 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _mean_where(values: NDArray, counted: NDArray) -> NDArray:
    """Average the ``values`` for which the mask ``counted`` is true, over the last axis; NaN if the
    mask is nowhere true."""
    number = counted.sum(-1)
    mean = (values * counted).sum(-1) / np.maximum(number, 1)
    return np.where(number > 0, mean, np.nan)
