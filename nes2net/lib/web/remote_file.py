"""Remote files open for reading; apart from :mod:`nes2net.lib.web.remote`, because importing fsspec takes 0.1 s."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fsspec.spec import AbstractBufferedFile


class OpenRemoteFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A remote file, open for reading in blocks, of which the last stays in memory.

    Args:
        fetch: function from address, offset and size in bytes to the content.
    """

    def __init__(self, address: str, size: int, block_bytes: int, fetch: Callable[[str, int, int], bytes]) -> None:
        self.fetch = fetch
        options = {"maxblocks": 1}
        super().__init__(
            None, address, block_size=block_bytes, cache_type="blockcache", cache_options=options, size=size
        )
        self._held: list[tuple[int, bytes]] = []  # offset and content

    def hold(self, extents: Iterable[tuple[int, int]]) -> None:
        """Read parts (offset, size), large ones by one request, and keep them until the next call."""
        self._held = []
        for start, size in extents:
            self.seek(start)
            part = self.fetch(self.path, start, size) if size > self.blocksize else super().read(size)
            self._held.append((start, part))

    def read(self, size: int = -1) -> bytes:
        start = self.tell()
        for part_start, part in self._held:
            offset = start - part_start
            if offset >= 0 and 0 <= size <= len(part) - offset:
                self.seek(size, 1)
                return part[offset : offset + size]
        return super().read(size)  # type: ignore[no-any-return]

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fetch(self.path, start, min(end, self.size) - start)
