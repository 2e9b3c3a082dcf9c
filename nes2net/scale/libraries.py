"""Ray, pyarrow and fsspec, which are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nes2net.errors import MissingLibrary


def library(name: str) -> Any:
    """Import the module ``name`` of Ray, pyarrow or fsspec.

    Raises:
        MissingLibrary: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibrary(
            f"collections are scored with Ray, pyarrow and fsspec ({error}): pip install 'nes2net[scale]'"
        ) from error
