"""Occlusion: a part is relevant if the score changes when it is removed.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Occlusion
needs only scores, so it explains any detector in any precision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.subject import Removable, Subject

#: Time bins that are removed together, one bin apart: 0.2 s every 0.1 s.
WINDOW_BINS = 2
# Cells are removed in blocks: so many bands, and as many time bins as give at most so many blocks.
_BLOCK_BANDS = 2
_MOST_BLOCKS = 128


def occlude(subject: Subject, grid: Removable, score: float) -> Relevance:
    """Remove stretches, bands and blocks of cells of ``grid`` one at a time, and compute the relevance of each.

    The relevance is ``score``, the score of the whole, minus the score without the part. A time bin
    has the mean relevance of the two windows of 0.2 s that cover it; a cell has the relevance of
    its block.
    """
    windows, bands, blocks = _masks(grid)
    windows_cover = windows[:, 0].astype(float)
    over_time = subject.changes(grid, windows, score) @ windows_cover / windows_cover.sum(0)
    over_bands = subject.changes(grid, bands, score)
    cells = np.tensordot(subject.changes(grid, blocks, score), blocks.astype(float), 1)
    return Relevance(grid.times, grid.bands, over_time, over_bands, cells, additive=False)


def num_occlusions(grid: Removable) -> int:
    """Number of versions of the recording that :func:`occlude` scores."""
    return sum(map(len, _masks(grid)))


def _masks(grid: Removable) -> tuple[NDArray, NDArray, NDArray]:
    """The parts to remove, each ·×F×T: windows of time, bands, and disjoint blocks of cells."""
    num_bands, num_bins = grid.shape
    starts = np.arange(max(1, num_bins - WINDOW_BINS + 1))[:, None]
    bins = np.arange(num_bins)
    windows = (bins >= starts) & (bins < starts + WINDOW_BINS)  # windows × T
    band_blocks = np.arange(num_bands) // _BLOCK_BANDS
    width = -(-num_bins // max(1, _MOST_BLOCKS // (band_blocks[-1] + 1)))
    time_blocks = bins // width
    number = band_blocks[:, None] * (time_blocks[-1] + 1) + time_blocks  # F×T
    blocks = np.arange(number.max() + 1)[:, None, None] == number
    return (
        np.broadcast_to(windows[:, None], (len(windows), num_bands, num_bins)),
        np.broadcast_to(np.eye(num_bands, dtype=bool)[:, :, None], (num_bands, num_bands, num_bins)),
        blocks,
    )
