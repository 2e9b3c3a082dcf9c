"""The parts of scripts/fuzz: good examples of every kind of file, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

#: A folder in an example that is used as it is.
FIXED = "fixed"


class Boundary(NamedTuple):
    """One kind of file."""

    make: Callable[[Path], None]
    """Writes good examples, each a folder of files."""
    attempts: dict[str, Callable[[Path], Any]]
    """What can be done with the folder of an example, by name."""
    only: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """The attempts at an example, by its name; all of them if it is not named."""
