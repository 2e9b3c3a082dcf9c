"""Files of cases: each function here returns one that writes a file into a folder, and returns its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Make: TypeAlias = Callable[[Path], Any]
Content: TypeAlias = str | bytes | Callable[[], str | bytes]


def written(name: str, content: Content) -> Make:
    """A file with ``content``; large content is made only when the file is."""

    def make(folder: Path) -> Path:
        made = content() if callable(content) else content
        (folder / name).write_bytes(made.encode() if isinstance(made, str) else made)
        return folder / name

    return make


def each_written(name: str, table: Mapping[str, tuple[Content, str | None]]) -> dict[str, tuple[Make, str | None]]:
    """The same for each row of a table of contents and what is said of them."""
    return {case: (written(name, content), says) for case, (content, says) in table.items()}


def pipe(name: str) -> Make:
    def make(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return make


def link(name: str, target: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def sparse(name: str, size: int, start: bytes = b"") -> Make:
    """A file of ``size`` bytes, zeros after ``start``, that takes no room."""

    def make(folder: Path) -> Path:
        with open(folder / name, "wb") as file:
            file.write(start)
            file.truncate(size)
        return folder / name

    return make
