"""Metrics of classifiers with known and unknown classes: confusion, accuracy, F1, AUROC and FPR95.

AUROC and FPR95 take scores that are higher for known classes, such as those of
:func:`nes2net.scoring.decisions.known_scores`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_known
from nes2net.metrics.eer import check_scores, compute_eer

Over = Literal["present", "union", "all"]
"""The classes over which :func:`macro_f1` takes the mean."""


class ClassRates(NamedTuple):
    """Precision, recall and F1 of K classes, (K,) each; a rate whose denominator is 0 is 0."""

    precision: NDArray
    recall: NDArray
    f1: NDArray


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray:
    """Count the trials of each pair of a true and a predicted class.

    Args:
        true, predicted: class of each trial, 0 to ``num_classes`` − 1, shape (N,).

    Returns:
        K×K counts, int64: rows are true classes, columns are predicted classes.

    Raises:
        InputError: if the lengths differ or a number is not a class.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]
    """
    rows = _check_class_numbers(true, num_classes)
    columns = _check_class_numbers(predicted, num_classes)
    if len(rows) != len(columns):
        raise InputError(
            f"each trial needs a true and a predicted class, but there are {len(rows)} true ones and {len(columns)} predicted "
            "ones: add the missing ones"
        )
    return pair_counts(rows, columns, num_classes, num_classes)


def pair_counts(rows: NDArray, columns: NDArray, num_rows: int, num_columns: int) -> NDArray:
    """Count the trials in each cell; ``rows`` and ``columns`` are indices (N,)."""
    counts = np.bincount(rows * num_columns + columns, minlength=num_rows * num_columns)
    return counts.reshape(num_rows, num_columns)


def _check_class_numbers(numbers: ArrayLike, num_classes: int) -> NDArray:
    array = np.asarray(numbers)
    if array.ndim != 1 or not (array.size == 0 or np.issubdtype(array.dtype, np.integer)):
        raise InputError(
            f"classes must be whole numbers of shape (N,), not {array.dtype} of shape {array.shape}: number them from 0"
        )
    if array.size and not 0 <= array.min() <= array.max() < num_classes:
        raise InputError(
            f"classes must be numbers from 0 to {num_classes - 1}, not {array.min()} to {array.max()}: correct them or num_classes"
        )
    return array.astype(np.int64)


def class_rates(confusion: ArrayLike) -> ClassRates:
    """Compute precision, recall and F1 of each class of a confusion matrix, K×K.

    F1 is 2·correct / (trials of the class + trials predicted as the class).
    """
    counts = np.asarray(confusion, dtype=np.float64)
    right = counts.diagonal()
    num_true = counts.sum(1)
    num_predicted = counts.sum(0)
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
    return _mean_of(class_rates(counts).recall, counts.sum(1) > 0)


def macro_f1(confusion: ArrayLike, over: Over = "present") -> float:
    """Compute the unweighted mean of F1 over classes; NaN if there is no class to average.

    Args:
        over: ``"present"``: classes with trials; ``"union"``: also classes that are only
            predicted, as in scikit-learn; ``"all"``: all K, with F1 = 0 for absent classes.

    >>> confusion = [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    >>> round(macro_f1(confusion), 4), round(macro_f1(confusion, "all"), 4)
    (0.7333, 0.4889)
    """
    counts = np.asarray(confusion)
    has_trials = counts.sum(1) > 0
    averaged = {"present": has_trials, "union": has_trials | (counts.sum(0) > 0), "all": np.ones_like(has_trials)}
    check_known([over], averaged, "a macro-F1 is not the mean over")
    return _mean_of(class_rates(counts).f1, averaged[over])


def one_against_rest_eer(posteriors: ArrayLike, true: ArrayLike) -> float:
    """Compute one EER over all posteriors; posteriors of true classes are the target scores.

    Args:
        posteriors: posterior of each of K classes for N trials, N×K.
        true: number of the true class of each trial, (N,).

    Raises:
        InputError: if shapes differ, a number is not a class, or a posterior is NaN.

    >>> one_against_rest_eer([[0.9, 0.1], [0.6, 0.4]], [0, 1])
    0.5
    """
    rows = np.asarray(posteriors, dtype=np.float64)
    is_target = _check_class_numbers(true, rows.shape[-1])[:, None] == np.arange(rows.shape[-1])
    if rows.shape != is_target.shape:
        raise InputError(
            f"posteriors must have a row for each of {len(is_target)} trials and a column for each class, not the shape {rows.shape}"
        )
    return compute_eer(rows[is_target], rows[~is_target], "roc")[0]


def auroc(known: ArrayLike, unknown: ArrayLike) -> float:
    """Compute the area under the ROC curve: P(known > unknown) + ½·P(known = unknown).

    Args:
        known, unknown: scores (N,) and (M,); higher is more likely known.

    Raises:
        InputError: if there are no known or no unknown scores, or a score is NaN.

    >>> auroc([2.0, 1.0], [1.0, 0.0])
    0.875
    """
    known = check_scores(known, "known")
    unknown = np.sort(check_scores(unknown, "unknown"))
    below = np.searchsorted(unknown, known, side="left")
    not_above = np.searchsorted(unknown, known, side="right")
    # An unknown score below a known one counts twice in the sum, an equal one once.
    return int((below + not_above).sum()) / (2 * known.size * unknown.size)


def fpr95(known: ArrayLike, unknown: ArrayLike) -> tuple[float, float]:
    """Compute the fraction of unknown trials that is accepted with 95 % of the known trials.

    The threshold is the ⌈95n/100⌉-th largest of n known scores; trials at or above it are accepted
    (Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020). OpenOOD exchanges the
    roles of known and unknown: its FPR95 is ``fpr95(-unknown, -known)``.

    Args:
        known, unknown: scores (N,) and (M,); higher is more likely known.

    Returns:
        ``(rate, threshold)``.

    Raises:
        InputError: if there are no known or no unknown scores, or a score is NaN.

    >>> fpr95([3.0, 2.0, 1.0], [2.5, 0.5])
    (0.5, 1.0)
    """
    known = check_scores(known, "known")
    threshold = threshold_accepting_95(known)
    return float(np.mean(check_scores(unknown, "unknown") >= threshold)), threshold


def threshold_accepting_95(known: NDArray) -> float:
    """Find the ⌈95·N/100⌉-th largest of ``known`` (N,), which accepts 95 %."""
    rank = -(-95 * known.size // 100)  # rounded up
    return float(np.partition(known, known.size - rank)[known.size - rank])


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _mean_of(values: NDArray, is_counted: NDArray) -> float:
    """Average ``values`` (K,) where ``is_counted`` is true; NaN if it is nowhere true."""
    return float(np.average(values, weights=is_counted)) if is_counted.any() else float("nan")
