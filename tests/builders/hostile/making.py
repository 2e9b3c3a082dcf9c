"""Files of cases: each function here returns one that writes a file into a folder, and returns its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Make: TypeAlias = Callable[[Path], Any]
Content: TypeAlias = str | bytes | Callable[[], str | bytes]


def maker(write: Callable[..., Any]) -> Callable[..., Make]:
    """Let ``write``, which writes a file into a folder, take its other arguments before the folder."""
    return lambda *arguments, **options: lambda folder: write(folder, *arguments, **options)


@maker
def written(folder: Path, name: str, content: Content) -> Path:
    """A file with ``content``; large content is made only when the file is."""
    text = content() if callable(content) else content
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def each_written(name: str, table: Mapping[str, tuple[Content, str | None]]) -> dict[str, tuple[Make, str | None]]:
    """The same for each row of a table of contents and what is said of them."""
    return {case: (written(name, content), says) for case, (content, says) in table.items()}


@maker
def pipe(folder: Path, name: str) -> Path:
    os.mkfifo(folder / name)
    return folder / name


@maker
def link(folder: Path, name: str, target: str) -> Path:
    (folder / name).symlink_to(target)
    return folder / name


@maker
def sparse(folder: Path, name: str, size: int, start: bytes = b"") -> Path:
    """A file of ``size`` bytes, zeros after ``start``, that takes no room."""
    with open(folder / name, "wb") as file:
        file.write(start)
        file.truncate(size)
    return folder / name
