"""Check whether files belong to the same run, by comparing the plain data that identifies a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differing_names(earlier: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """List the names of the values that differ between ``run`` and an ``earlier`` run; a missing value counts as None.

    Args:
        earlier, run: the plain data that identifies each of the two runs, as name → value.
    """
    return [name for name in {**earlier, **run} if earlier.get(name) != run.get(name)]


def differences_in_words(earlier: Any, run: Mapping[str, Any]) -> str:
    """Write the end of a message: the names of the values that differ between ``run`` and an ``earlier`` run.

    The names stand in brackets. The text is empty if no value differs. It is also empty if
    ``earlier`` is not a mapping, because nothing is then known about the earlier run.

    >>> differences_in_words({"model": "a", "resolution_ms": 20.0}, {"model": "b"}), differences_in_words(None, {"model": "b"})
    (' (another model, resolution_ms)', '')
    """
    names = differing_names(earlier, run) if isinstance(earlier, dict) else []
    return f" (another {', '.join(names)})" if names else ""
