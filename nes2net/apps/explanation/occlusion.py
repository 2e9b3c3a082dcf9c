"""Occlusion: a part is relevant if removing it changes the score.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Occlusion
needs only scores, so it explains any detector in any precision. A coarse pass removes large blocks
of cells. Small blocks are removed only where a large block was relevant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.apps.explanation.relevance import MIN_SHARE, Relevance
from nes2net.apps.explanation.subject import Removable, Subject

#: Number of time bins in a window that is removed. A window begins at every bin. By default a bin lasts 0.1 s.
WINDOW_BINS = 2
# Small blocks have 2 bands, and so many time bins that there are at most 128.
_BLOCK_BANDS = 2
_MAX_BLOCKS = 128
# A large block has twice the bands and twice the time bins of a small block.
_LARGER = 2


def occlude(subject: Subject, grid: Removable, score: float) -> Relevance:
    """Compute the relevance of each time bin, band and cell of ``grid`` by removing parts, one at a time.

    A part's relevance is ``score``, of the whole recording, minus the score without the part. The
    coarse pass removes windows of time, bands, and large blocks of cells; then the small blocks of
    large blocks with at least a quarter of the largest relevance are removed. A time bin has the
    mean over the windows that cover it, a cell the relevance of its small block. A small block that
    was not removed has an equal share of its large block's relevance.
    """
    windows, bands, large_blocks, blocks = _masks_to_remove(grid)  # K×F×T each
    windows_cover = windows[:, 0].astype(float)  # windows × T: 1 if the window covers the time bin
    over_time = subject.changes(grid, windows, score) @ windows_cover / windows_cover.sum(0)  # mean over windows
    over_bands = subject.changes(grid, bands, score)
    # A small block that is not removed gets an equal share of its large block's relevance. A large block has four,
    # but fewer at an edge.
    num_small = (large_blocks[:, None] & blocks).any((2, 3)).sum(1)
    cells = np.tensordot(subject.changes(grid, large_blocks, score) / num_small, large_blocks.astype(float), 1)
    sizes = np.abs(cells)
    is_relevant = (blocks & (sizes >= MIN_SHARE * sizes.max())).any((1, 2))  # (K,)
    relevant_blocks = blocks[is_relevant]
    subject.progress(len(blocks) - len(relevant_blocks))  # skipped blocks count as scored
    refined = np.tensordot(subject.changes(grid, relevant_blocks, score), relevant_blocks.astype(float), 1)
    cells = np.where(relevant_blocks.any(0), refined, cells)
    return Relevance(grid.times, grid.bands, over_time, over_bands, cells, additive=False)


def most_occlusions(grid: Removable) -> int:
    """Count the parts that :func:`occlude` removes at most, one at a time."""
    return sum(map(len, _masks_to_remove(grid)))


def _masks_to_remove(grid: Removable) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return boolean masks K×F×T: of overlapping windows of time, bands, large and small blocks."""
    num_bands, num_bins = grid.shape
    starts = np.arange(max(1, num_bins - WINDOW_BINS + 1))[:, None, None]
    bins = np.arange(num_bins)
    windows = (bins >= starts) & (bins < starts + WINDOW_BINS)  # windows × 1 × T
    blocks_in_time = max(1, _MAX_BLOCKS // -(-num_bands // _BLOCK_BANDS))
    bins_a_block = -(-num_bins // blocks_in_time)  # rounded up
    return (
        np.broadcast_to(windows, (len(windows), num_bands, num_bins)),
        _disjoint_blocks(grid, 1, num_bins),
        _disjoint_blocks(grid, _LARGER * _BLOCK_BANDS, _LARGER * bins_a_block),
        _disjoint_blocks(grid, _BLOCK_BANDS, bins_a_block),
    )


def _disjoint_blocks(grid: Removable, bands_a_block: int, bins_a_block: int) -> NDArray:
    """Return the masks K×F×T of blocks, which are smaller at the ends."""
    num_bands, num_bins = grid.shape
    time_blocks = np.arange(num_bins) // bins_a_block
    band_blocks = np.arange(num_bands)[:, None] // bands_a_block
    block_numbers = band_blocks * (time_blocks[-1] + 1) + time_blocks  # F×T
    return np.arange(block_numbers.max() + 1)[:, None, None] == block_numbers
