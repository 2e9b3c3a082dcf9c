"""Occlusion: a part is relevant if removing it changes the score.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Occlusion
needs only scores, so it explains any detector in any precision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.subject import Removable, Subject

#: Number of time bins in a window that is removed. A window begins at every bin. By default a bin lasts 0.1 s.
WINDOW_BINS = 2
# Cells are removed in blocks of 2 bands and several time bins. The number of time bins is chosen so
# that there are at most 128 blocks.
_BLOCK_BANDS = 2
_MOST_BLOCKS = 128


def occlude(subject: Subject, grid: Removable, score: float) -> Relevance:
    """Compute the relevance of each time bin, band and cell of ``grid`` by removing parts, one at a time.

    The removed parts are windows of time, bands, and blocks of cells. The relevance of a part is
    the score of the whole recording, ``score``, minus the score without the part. The relevance of
    a time bin is the mean over the windows that cover the bin. The relevance of a cell is the
    relevance of its block.
    """
    windows, bands, blocks = _masks_to_remove(grid)
    windows_cover = windows[:, 0].astype(float)
    over_time = subject.changes(grid, windows, score) @ windows_cover / windows_cover.sum(0)
    over_bands = subject.changes(grid, bands, score)
    cells = np.tensordot(subject.changes(grid, blocks, score), blocks.astype(float), 1)
    return Relevance(grid.times, grid.bands, over_time, over_bands, cells, additive=False)


def num_occlusions(grid: Removable) -> int:
    """Return how many versions of the recording :func:`occlude` scores."""
    return sum(map(len, _masks_to_remove(grid)))


def _masks_to_remove(grid: Removable) -> tuple[NDArray, NDArray, NDArray]:
    """Make the masks of all parts to remove: windows of time, bands, and disjoint blocks of cells.

    Returns:
        Three arrays of booleans K×F×T, one for each kind; K is the number of parts of the kind.
    """
    num_bands, num_bins = grid.shape
    starts = np.arange(max(1, num_bins - WINDOW_BINS + 1))[:, None]
    bins = np.arange(num_bins)
    windows = (bins >= starts) & (bins < starts + WINDOW_BINS)  # windows × T
    band_blocks = np.arange(num_bands) // _BLOCK_BANDS
    bins_a_block = -(-num_bins // max(1, _MOST_BLOCKS // (band_blocks[-1] + 1)))
    time_blocks = bins // bins_a_block
    block_numbers = band_blocks[:, None] * (time_blocks[-1] + 1) + time_blocks  # F×T
    blocks = np.arange(block_numbers.max() + 1)[:, None, None] == block_numbers
    return (
        np.broadcast_to(windows[:, None], (len(windows), num_bands, num_bins)),
        np.broadcast_to(np.eye(num_bands, dtype=bool)[:, :, None], (num_bands, num_bands, num_bins)),
        blocks,
    )
