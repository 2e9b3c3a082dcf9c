"""Import Ray, pyarrow and fsspec, which are optional, when they are first used."""

from __future__ import annotations

from typing import Any

from nes2net.lib.process.installation import optional


def library(name: str) -> Any:
    """Import a module of Ray, pyarrow or fsspec.

    Raises:
        MissingLibrary: if the library is not installed.
    """
    return optional(name, "collections are scored with Ray, pyarrow and fsspec", "scale")
