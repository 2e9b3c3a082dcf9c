"""Parts of scripts/fuzz: good examples of every kind of file, ways to spoil them, and the hunt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

#: Name of a folder in an example whose files are not spoiled.
FIXED = "fixed"


class Boundary(NamedTuple):
    """One kind of file from outside."""

    make: Callable[[Path], None]
    """Writes good examples, each a folder of files."""
    attempts: dict[str, Callable[[Path], Any]]
    """Name of an attempt → function that reads the folder of an example."""
    only: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Name of an example → the attempts at it; all attempts if the name is missing."""
