"""Crop labels of 10-ms frames with the waveform, and pool the labels to longer frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.audio.waveform import head_crop, random_tiled_crop
from nes2net.lib.errors import InputError
from nes2net.training.recipes.segments import LABEL_SAMPLES

#: Largest difference in seconds between the lengths of labels and recording. The loss ignores frames without a label.
_TOLERANCE = 0.5


@dataclass(frozen=True)
class FrameLabels:
    """Labels of 10-ms frames, cropped and padded like the waveform of the example.

    Args:
        of_trial: id of a trial → labels of its frames, 1 bona fide, 0 spoof; a trial may have none.
        boundary_share: fraction of the random crops that contain a boundary (:func:`draw_start`).
    """

    of_trial: Mapping[str, NDArray]
    boundary_share: float | None = None

    def of_samples(self, id: str, num_samples: int, whole: bool) -> NDArray[np.int8]:
        """Look up the labels of the samples of the trial ``id``: (num_samples,), −1 without a label.

        Raises:
            InputError: as :func:`check_lengths`.
        """
        labels = self.of_trial.get(id)
        if labels is None:
            return np.full(num_samples, -1, np.int8)
        check_lengths(len(labels), num_samples, id, whole)
        return labels_of_samples(labels, num_samples)

    def crop(
        self, sample_labels: NDArray[np.int8], crop: str, num_samples: int, rng: np.random.Generator, id: str
    ) -> NDArray[np.integer]:
        """Choose a crop of the trial ``id``, and return the indices of its ``num_samples`` samples.

        A random crop begins at the beginning of a frame, except with ``random_tiled``.

        Args:
            sample_labels: (N,), of all samples of the trial.
        """
        positions = np.arange(len(sample_labels))
        if crop == "random_tiled":
            return random_tiled_crop(positions, num_samples, rng, id)
        start = 0
        if crop != "head":
            start = draw_start(
                labels_of_frames(sample_labels), len(sample_labels), num_samples, rng, self.boundary_share
            )
        return head_crop(positions[start:], num_samples, id)


def check_lengths(num_labels: int, num_samples: int, utterance: str, whole: bool = True) -> None:
    """Raise :class:`InputError` if the lengths of labels and recording differ by over half a second.

    Args:
        num_labels: number of 10-ms labels.
        whole: False if the samples are only the beginning of the recording.
    """
    labels = num_labels / 100
    audio = num_samples / (100 * LABEL_SAMPLES)
    if audio - labels > _TOLERANCE or (whole and labels - audio > _TOLERANCE):
        raise InputError(
            f"the labels of {utterance} end at {labels:.2f} s, but its recording at {audio:.2f} s: name labels and "
            "recordings of the same corpus"
        )


def labels_of_samples(frame_labels: NDArray, num_samples: int) -> NDArray[np.int8]:
    """Repeat each label for its 10-ms frame: (num_samples,), −1 after the last frame.

    >>> labels_of_samples(np.array([1, 0]), 400)[[0, 159, 160, 319, 320]]
    array([ 1,  1,  0,  0, -1], dtype=int8)
    """
    repeated = np.repeat(np.asarray(frame_labels, np.int8), LABEL_SAMPLES)[:num_samples]
    return np.pad(repeated, (0, num_samples - len(repeated)), constant_values=-1)


def stretch_labels(sample_labels: NDArray[np.int8], num_samples: int) -> NDArray[np.int8]:
    """Stretch ``sample_labels`` (N,) to ``num_samples``, for an utterance played at another speed.

    >>> stretch_labels(np.array([1, 1, 0, 0], np.int8), 6)
    array([1, 1, 1, 0, 0, 0], dtype=int8)
    """
    return sample_labels[np.arange(num_samples) * len(sample_labels) // max(num_samples, 1)]


def labels_of_frames(sample_labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Pool ``sample_labels`` (N,) to labels (⌈N/160⌉,) of 10-ms frames: the minimum over each frame.

    >>> labels_of_frames(labels_of_samples(np.array([1, 0, 1]), 480)[80:])
    array([0, 0, 1], dtype=int8)
    """
    if not len(sample_labels):
        return sample_labels
    return np.minimum.reduceat(
        sample_labels, np.arange(0, len(sample_labels), LABEL_SAMPLES)
    )  # −1 unknown, 0 spoof, 1 bona fide


def draw_start(
    labels: NDArray, length: int, num_samples: int, rng: np.random.Generator, boundary_share: float | None
) -> int:
    """Draw the first sample of a crop of ``num_samples``, uniformly from the beginnings of 10-ms frames.

    A boundary lies between two labelled frames of different classes. The fraction
    ``boundary_share`` of the crops contains one, if the utterance allows both kinds of crop.

    Args:
        labels: labels of the 10-ms frames, 1 bona fide, 0 spoof, −1 unknown.
        length: number of samples of the utterance; the start is 0 if the crop is as long.

    >>> labels, rng = np.repeat([1, 0], 100), np.random.default_rng(0)
    >>> starts = [draw_start(labels, 32000, 8000, rng, 0.5) // 160 for _ in range(1000)]
    >>> 450 < sum(start < 100 < start + 50 for start in starts) < 550
    True
    """
    if length <= num_samples:
        return 0
    starts = np.arange((length - num_samples) // LABEL_SAMPLES + 1)
    if boundary_share is not None:
        changes = (labels[1:] != labels[:-1]) & (labels[1:] >= 0) & (labels[:-1] >= 0)
        boundaries_before = np.concatenate([[0], np.cumsum(changes)])  # up to the beginning of each frame
        last_frames = starts - (-num_samples // LABEL_SAMPLES) - 1  # a crop has ⌈num_samples/160⌉ frames
        has_boundary = boundaries_before[last_frames] > boundaries_before[starts]
        wants_boundary = rng.random() < boundary_share
        matching_starts = starts[has_boundary == wants_boundary]
        if len(matching_starts):
            starts = matching_starts
    return LABEL_SAMPLES * int(starts[rng.integers(len(starts))])


def pool_targets(labels: Tensor, factor: int) -> Tensor:
    """Pool ``labels`` B×T of frames to labels B×T' of frames that are ``factor`` times as long.

    Labels before the first −1 of a row are pooled by
    :func:`nes2net.metrics.localisation.pool_labels`; later frames get −1. If fewer than ``factor``
    labels precede it, the first frame gets their minimum.

    >>> pool_targets(torch.tensor([[1, 1, 0, 1, 1], [1, 1, 1, -1, -1], [1, -1, -1, -1, -1]]), 2)
    tensor([[ 1,  0],
            [ 1, -1],
            [ 1, -1]])
    """
    width = labels.shape[1] // factor * factor
    if not width:
        labels = torch.nn.functional.pad(labels, (0, factor - labels.shape[1]), value=-1)
        width = factor
    windows = labels[:, :width].unflatten(1, (-1, factor))
    pooled = windows.amin(2)
    # Ignore labels −1 in the first window, so that even an utterance shorter than a window gets a label other than −1.
    first = windows[:, 0]
    lowest_label = torch.where(first < 0, 1, first).amin(1)
    pooled[:, 0] = torch.where((first >= 0).any(1), lowest_label.to(pooled.dtype), pooled[:, 0])
    return pooled
