"""Convert labels and scores of frames from one resolution to another.

The sources are the same as for :mod:`nes2net.metrics.localisation.segments`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError

#: Resolutions of the published tables: lengths of frames in ms.
RESOLUTIONS = (10, 20, 40, 80, 160, 320, 640)


def pool_labels(labels_10ms: ArrayLike, factor: int) -> NDArray:
    """Labels of frames ``factor`` times as long: spoof if any frame in them is spoof.

    An incomplete frame at the end is dropped, as published, but fewer than ``factor`` labels give
    one label.

    Args:
        labels_10ms: (T,) labels, usually of 10 ms: 1 bona fide, 0 spoof.
        factor: number of these frames in a new one.

    Raises:
        InputError: if there are no labels, or ``factor`` is below 1.

    >>> pool_labels([1, 1, 1, 0, 1], 2), pool_labels([1, 1], 4)
    (array([1, 0]), array([1]))
    """
    labels = _row(labels_10ms, "labels", factor)
    if len(labels) < factor:
        return labels.min(keepdims=True)
    num_frames = len(labels) // factor
    return labels[: num_frames * factor].reshape(num_frames, factor).min(axis=1)


def coarsen_scores(scores: ArrayLike, factor: int, how: Literal["min", "mean", "max"] = "min") -> NDArray:
    """Scores of frames ``factor`` times as long: (⌈T/factor⌉,).

    Frames left over at the end give one more frame. ``how`` holds for this frame too; for ``mean``
    and ``max`` the published code exchanges its score and its label.

    Raises:
        InputError: if there are no scores, or ``factor`` is below 1.

    >>> coarsen_scores([0.5, -1.0, 2.0], 2)
    array([-1.,  2.])
    """
    scores = _row(scores, "scores", factor)
    first = np.arange(0, len(scores), factor)
    reduced = {"min": np.minimum, "mean": np.add, "max": np.maximum}[how].reduceat(scores, first)
    if how == "mean":
        return reduced / np.diff(first, append=len(scores))
    return reduced


def coarsen_labels(labels: ArrayLike, factor: int) -> NDArray:
    """The labels for :func:`coarsen_scores`: (⌈T/factor⌉,), spoof if any frame is spoof."""
    return coarsen_scores(labels, factor, "min")


def refine_scores(scores: ArrayLike, factor: int) -> NDArray:
    """Scores of frames of 1/``factor`` of the length, each score repeated: (T·factor,).

    >>> refine_scores([0.5, -1.0], 2)
    array([ 0.5,  0.5, -1. , -1. ])
    """
    return np.repeat(_row(scores, "scores", factor), factor)


def align(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Cut ``scores`` and ``labels`` to the shorter of them.

    A front-end usually gives one frame fewer than there are labels of 20 ms.

    >>> align([0.1, 0.2], [1, 1, 0])
    (array([0.1, 0.2]), array([1, 1]))
    """
    scores = np.asarray(scores)
    labels = np.asarray(labels)
    count = min(len(scores), len(labels))
    return scores[:count], labels[:count]


def _row(values: ArrayLike, name: str, factor: int) -> NDArray:
    row = np.asarray(values)
    if row.ndim != 1 or not len(row):
        raise InputError(f"{name} of frames are a row of at least one, got shape {row.shape}")
    if factor < 1:
        raise InputError(f"a frame has at least one frame in it, not {factor}")
    return row
