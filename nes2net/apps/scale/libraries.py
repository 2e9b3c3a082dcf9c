"""Import Ray, pyarrow and fsspec, which are optional, when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nes2net.lib.errors import MissingLibrary
from nes2net.lib.installation import how_to_install


def library(name: str) -> Any:
    """Import and return the module ``name``, which belongs to Ray, pyarrow or fsspec.

    Raises:
        MissingLibrary: if the library is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibrary(
            f"collections are scored with Ray, pyarrow and fsspec ({error}): {how_to_install('scale')}"
        ) from error
