"""Fetch blocks of remote shards ahead of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.packed import fetch_block
from nes2net.lib.remote import NUM_THREADS


class ReadAhead:
    """Brings blocks into the folder of fetched parts by threads; a failure is left to the worker that reads."""

    def __init__(self, paths: Sequence[Path], block_of_item: NDArray) -> None:
        self._paths = paths
        self._block_of_item = block_of_item
        self._requested: set[int] = set()
        self._threads: ThreadPoolExecutor | None = None

    def request(self, items: NDArray) -> None:
        """Fetch the blocks of ``items``, in the order in which they are needed."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(NUM_THREADS)
        blocks, first = np.unique(self._block_of_item[items], return_index=True)
        for index in np.argsort(first):
            block = int(blocks[index])
            if block not in self._requested:
                self._requested.add(block)
                self._threads.submit(fetch_block, self._paths[items[first[index]]])

    def end(self) -> None:
        # A process that is forked later would lack these threads.
        self._requested.clear()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
