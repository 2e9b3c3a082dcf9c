"""Convert labels and scores of frames to another resolution.

The publication that defines these conversions is cited in
:mod:`nes2net.metrics.localisation.segments`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError

#: Resolutions of the published tables: lengths of frames in ms.
RESOLUTIONS = (10, 20, 40, 80, 160, 320, 640)


def pool_labels(labels_10ms: ArrayLike, factor: int) -> NDArray:
    """Make labels of frames ``factor`` times as long; a long frame is spoof if any frame in it is spoof.

    If too few frames remain at the end for a long frame, these frames have no label in the result,
    as published. If there are fewer than ``factor`` labels in all, the result is one label.

    Args:
        labels_10ms: (T,) labels of frames, usually of 10 ms: 1 bona fide, 0 spoof.
        factor: number of frames in a long frame.

    Raises:
        InputError: if there are no labels, or if ``factor`` is below 1.

    >>> pool_labels([1, 1, 1, 0, 1], 2), pool_labels([1, 1], 4)
    (array([1, 0]), array([1]))
    """
    labels = _checked_row(labels_10ms, "labels", factor)
    if len(labels) < factor:
        return labels.min(keepdims=True)
    num_frames = len(labels) // factor
    return labels[: num_frames * factor].reshape(num_frames, factor).min(axis=1)


def coarsen_scores(scores: ArrayLike, factor: int, how: Literal["min", "mean", "max"] = "min") -> NDArray:
    """Compute scores of frames ``factor`` times as long: (⌈T/factor⌉,).

    If frames remain at the end, they form one more long frame.

    Args:
        scores: (T,) scores of frames.
        factor: number of frames in a long frame.
        how: whether the score of a long frame is the lowest, the mean or the highest of the scores
            in it. The last long frame, which may have fewer frames, follows the same rule. (For
            ``mean`` and ``max``, the published code swaps the score and the label of the last
            frame.)

    Raises:
        InputError: if there are no scores, or if ``factor`` is below 1.

    >>> coarsen_scores([0.5, -1.0, 2.0], 2)
    array([-1.,  2.])
    """
    scores = _checked_row(scores, "scores", factor)
    first = np.arange(0, len(scores), factor)
    reduced = {"min": np.minimum, "mean": np.add, "max": np.maximum}[how].reduceat(scores, first)
    return reduced / np.diff(first, append=len(scores)) if how == "mean" else reduced


def coarsen_labels(labels: ArrayLike, factor: int) -> NDArray:
    """Compute labels (⌈T/factor⌉,) for the long frames of :func:`coarsen_scores`.

    A long frame is spoof if any frame in it is spoof.
    """
    return coarsen_scores(labels, factor)


def refine_scores(scores: ArrayLike, factor: int) -> NDArray:
    """Compute scores of frames that are shorter by ``factor``: each score is repeated ``factor`` times, (T·factor,).

    >>> refine_scores([0.5, -1.0], 2)
    array([ 0.5,  0.5, -1. , -1. ])
    """
    return np.repeat(_checked_row(scores, "scores", factor), factor)


def align(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Cut the longer one of ``scores`` and ``labels`` of frames, so that both have the same length.

    With frames of 20 ms, a front-end usually gives one score less than there are labels.

    >>> align([0.1, 0.2], [1, 1, 0])
    (array([0.1, 0.2]), array([1, 1]))
    """
    scores = np.asarray(scores)
    labels = np.asarray(labels)
    count = min(len(scores), len(labels))
    return scores[:count], labels[:count]


def _checked_row(values: ArrayLike, name: str, factor: int) -> NDArray:
    """Convert ``values`` to a vector (T,); raise InputError if there are no values, or ``factor`` is below 1.

    The message calls the values ``name``, such as ``"scores"``.
    """
    row = np.asarray(values)
    if row.ndim != 1 or not len(row):
        raise InputError(f"{name} of frames are a row of at least one, got shape {row.shape}")
    if factor < 1:
        raise InputError(f"a frame has at least one frame in it, not {factor}")
    return row
