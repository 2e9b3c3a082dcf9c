"""Convert labels and scores of frames to another resolution.

Source: see :mod:`nes2net.metrics.localisation.segments`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_setting

#: Published resolutions, in ms.
RESOLUTIONS = (10, 20, 40, 80, 160, 320, 640)


def pool_labels(labels_10ms: ArrayLike, factor: int) -> NDArray:
    """Make labels of frames ``factor`` times as long; a long frame is spoof if any frame in it is.

    As published, remaining frames at the end get no label, but fewer than ``factor`` labels become
    one.

    Args:
        labels_10ms: (T,), usually of 10 ms: 1 bona fide, 0 spoof.

    Raises:
        InputError: if there are no labels, or if ``factor`` is below 1.

    >>> pool_labels([1, 1, 1, 0, 1], 2), pool_labels([1, 1], 4)
    (array([1, 0]), array([1]))
    """
    labels = _check_row(labels_10ms, "labels", factor)
    if len(labels) < factor:
        return labels.min(keepdims=True)
    num_frames = len(labels) // factor
    return labels[: num_frames * factor].reshape(num_frames, factor).min(axis=1)


def coarsen_scores(scores: ArrayLike, factor: int, how: Literal["min", "mean", "max"] = "min") -> NDArray:
    """Compute scores of frames ``factor`` times as long, (⌈T/factor⌉,); the last may be shorter.

    Args:
        scores: (T,).
        how: lowest, mean or highest score of a long frame, also of the last one. (For ``mean`` and
            ``max``, the published code swaps the last frame's score and label.)

    Raises:
        InputError: if there are no scores, or if ``factor`` is below 1.

    >>> coarsen_scores([0.5, -1.0, 2.0], 2)
    array([-1.,  2.])
    """
    scores = _check_row(scores, "scores", factor)
    first = np.arange(0, len(scores), factor)
    reduced = {"min": np.minimum, "mean": np.add, "max": np.maximum}[how].reduceat(scores, first)
    return reduced / np.diff(first, append=len(scores)) if how == "mean" else reduced


def coarsen_labels(labels: ArrayLike, factor: int) -> NDArray:
    """Compute labels for :func:`coarsen_scores`, (⌈T/factor⌉,): spoof if any frame in it is spoof."""
    return coarsen_scores(labels, factor)


def refine_scores(scores: ArrayLike, factor: int) -> NDArray:
    """Repeat each score ``factor`` times for shorter frames, (T·factor,).

    >>> refine_scores([0.5, -1.0], 2)
    array([ 0.5,  0.5, -1. , -1. ])
    """
    return np.repeat(_check_row(scores, "scores", factor), factor)


def align(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Cut scores and labels of frames to the shorter length; front-ends often lack one score.

    >>> align([0.1, 0.2], [1, 1, 0])
    (array([0.1, 0.2]), array([1, 1]))
    """
    scores = np.asarray(scores)
    labels = np.asarray(labels)
    count = min(len(scores), len(labels))
    return scores[:count], labels[:count]


def _check_row(values: ArrayLike, name: str, factor: int) -> NDArray:
    row = np.asarray(values)
    if row.ndim != 1 or not len(row):
        raise InputError(f"{name} of frames must be a vector (T,) of at least one frame, not of shape {row.shape}")
    check_setting("factor", factor, factor >= 1, "at least 1, the number of frames in a longer frame")
    return row
