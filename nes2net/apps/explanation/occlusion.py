"""Occlusion: a part is relevant if removing it changes the score.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Occlusion
needs only scores, so it explains any detector in any precision. A coarse pass removes large parts
first. Small parts are removed only where a large part was relevant.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nes2net.apps.explanation.relevance import LEAST_SHARE, Relevance
from nes2net.apps.explanation.subject import Removable, Subject

#: Number of time bins in a small window that is removed. By default a bin lasts 0.1 s.
WINDOW_BINS = 2
# Small blocks have 2 bands and several time bins. The number of time bins is chosen so that there are at most 128
# small blocks.
_BLOCK_BANDS = 2
_MOST_BLOCKS = 128
# A large window has twice the bins of a small window, a large block twice the bands and bins of a small block.
_LARGER = 2


def occlude(
    subject: Subject,
    grid: Removable,
    score: float,
    after_coarse_pass: Callable[[Relevance, int], object] = lambda *_: None,
) -> Relevance:
    """Compute the relevance of each time bin, band and cell of ``grid`` by removing parts, one at a time.

    The relevance of a part is the score of the whole recording, ``score``, minus the score without
    the part. The coarse pass removes bands, large windows of time, and large blocks of cells. The
    second pass removes the small windows and blocks that overlap a relevant large one. A large
    window or block is relevant if its relevance is at least a quarter of the largest. The relevance
    of a time bin or cell is the mean over the small windows or blocks that were removed and cover
    it. Where there are none, it is the relevance of the large window divided by 2, or of the large
    block divided by 4.

    Args:
        after_coarse_pass: called with the relevance by the coarse pass, and the number of small
            windows and blocks that are not removed.
    """
    bands, large_windows, windows, large_blocks, blocks = _masks_to_remove(grid)
    over_bands = subject.changes(grid, bands, score)
    over_time = np.tensordot(subject.changes(grid, large_windows, score), large_windows / _LARGER, 1)  # F×T
    cells = np.tensordot(subject.changes(grid, large_blocks, score), large_blocks / _LARGER**2, 1)
    relevant_windows = windows[_overlap_relevant(windows, over_time)]
    relevant_blocks = blocks[_overlap_relevant(blocks, cells)]
    coarse = Relevance(grid.times, grid.bands, over_time[0], over_bands, cells, additive=False)
    num_skipped = len(windows) - len(relevant_windows) + len(blocks) - len(relevant_blocks)
    after_coarse_pass(coarse, num_skipped)
    over_time = _refine(subject, grid, score, over_time, relevant_windows)
    cells = _refine(subject, grid, score, cells, relevant_blocks)
    return Relevance(grid.times, grid.bands, over_time[0], over_bands, cells, additive=False)


def most_occlusions(grid: Removable) -> int:
    """Return how many versions of the recording :func:`occlude` scores if it removes all small windows and blocks."""
    return sum(map(len, _masks_to_remove(grid)))


def _overlap_relevant(parts: NDArray, coarse: NDArray) -> NDArray:
    """Whether each of ``parts`` K×F×T overlaps a relevant large part; ``coarse`` F×T has the relevance of these, (K,)."""
    sizes = np.abs(coarse)
    return (parts & (sizes >= LEAST_SHARE * sizes.max())).any((1, 2))


def _refine(subject: Subject, grid: Removable, score: float, coarse: NDArray, parts: NDArray) -> NDArray:
    """Remove ``parts`` K×F×T; return the relevance F×T by these parts, or ``coarse`` F×T where no part covers a cell."""
    num_covering = parts.sum(0)
    sums = np.tensordot(subject.changes(grid, parts, score), parts.astype(float), 1)
    return np.where(num_covering > 0, sums / np.maximum(num_covering, 1), coarse)


def _masks_to_remove(grid: Removable) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Make the masks of all parts that may be removed.

    Returns:
        Bands, large windows of time, small windows (a window begins at every bin), large blocks of
        cells, and small blocks: arrays of booleans K×F×T. All but small windows are disjoint.
    """
    num_bands, num_bins = grid.shape
    starts = np.arange(max(1, num_bins - WINDOW_BINS + 1))[:, None, None]
    bins = np.arange(num_bins)
    windows = (bins >= starts) & (bins < starts + WINDOW_BINS)  # windows × 1 × T
    bins_a_block = -(-num_bins // max(1, _MOST_BLOCKS // -(-num_bands // _BLOCK_BANDS)))
    return (
        _disjoint_blocks(grid, 1, num_bins),
        _disjoint_blocks(grid, num_bands, _LARGER * WINDOW_BINS),
        np.broadcast_to(windows, (len(windows), num_bands, num_bins)),
        _disjoint_blocks(grid, _LARGER * _BLOCK_BANDS, _LARGER * bins_a_block),
        _disjoint_blocks(grid, _BLOCK_BANDS, bins_a_block),
    )


def _disjoint_blocks(grid: Removable, bands_a_block: int, bins_a_block: int) -> NDArray:
    """Divide the cells of ``grid`` into blocks; return their masks K×F×T. The last blocks may be smaller."""
    num_bands, num_bins = grid.shape
    time_blocks = np.arange(num_bins) // bins_a_block
    band_blocks = np.arange(num_bands)[:, None] // bands_a_block
    block_numbers = band_blocks * (time_blocks[-1] + 1) + time_blocks  # F×T
    return np.arange(block_numbers.max() + 1)[:, None, None] == block_numbers
