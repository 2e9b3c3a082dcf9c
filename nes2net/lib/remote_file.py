"""Remote files open for reading; apart from :mod:`nes2net.lib.remote`, because importing fsspec takes 0.1 s."""

from __future__ import annotations

from collections.abc import Iterable

from fsspec.spec import AbstractBufferedFile

from nes2net.lib.remote import fetch, status_of


class RemoteFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A remote file, open for reading in blocks, of which the last stays in memory."""

    def __init__(self, address: str, block_bytes: int) -> None:
        size = status_of(address).size
        options = {"maxblocks": 1}
        super().__init__(
            None, address, block_size=block_bytes, cache_type="blockcache", cache_options=options, size=size
        )
        self._held: list[tuple[int, bytes]] = []  # offset and content

    def hold(self, extents: Iterable[tuple[int, int]]) -> None:
        """Read parts (offset, size), large ones by one request, and keep them in memory until the next call."""
        self._held = []
        for start, size in extents:
            self.seek(start)
            part = fetch(self.path, start, size) if size > self.blocksize else super().read(size)
            self._held.append((start, part))

    def read(self, size: int = -1) -> bytes:
        start = self.tell()
        for part_start, part in self._held:
            if part_start <= start and 0 <= size <= part_start + len(part) - start:
                self.seek(size, 1)
                return part[start - part_start :][:size]
        return super().read(size)  # type: ignore[no-any-return]

    def _fetch_range(self, start: int, end: int) -> bytes:
        return fetch(self.path, start, min(end, self.size) - start)
