"""Fetch blocks of remote shards ahead of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from numpy.typing import NDArray

from nes2net.data.audio.packed import fetch_block
from nes2net.lib.web.remote import NUM_THREADS


class ReadAhead:
    """Brings blocks into the folder of fetched parts by threads; a failure is left to the worker that reads."""

    def __init__(self, paths: Sequence[Path], block_of_item: NDArray) -> None:
        self._paths = paths
        self._block_of_item = block_of_item
        self._requested: set[int] = set()  # blocks of the last request
        # Starts threads at the first request, after workers were forked.
        self._threads = ThreadPoolExecutor(NUM_THREADS)

    def request(self, items: NDArray) -> None:
        """Fetch the blocks of ``items``, in the order in which they are needed."""
        # Block → its first item, those needed last first.
        item_of_block = {int(self._block_of_item[item]): item for item in reversed(items)}
        for block in reversed(item_of_block):
            if block not in self._requested:
                self._threads.submit(fetch_block, self._paths[item_of_block[block]])
        self._requested = set(item_of_block)
