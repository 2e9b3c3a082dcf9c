"""Check whether files belong to the same run, by comparing the plain data that identifies a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differing(earlier: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Names of the values that differ between ``run`` and an ``earlier`` run."""
    return [name for name in {**earlier, **run} if earlier.get(name) != run.get(name)]


def another(earlier: Any, run: Mapping[str, Any]) -> str:
    """The differences of the ``earlier`` run in brackets, for a message; empty if no difference is known.

    >>> another({"model": "a", "resolution_ms": 20.0}, {"model": "b"}), another(None, {"model": "b"})
    (' (another model, resolution_ms)', '')
    """
    names = []
    if isinstance(earlier, dict):
        names = differing(earlier, run)
    if not names:
        return ""
    return f" (another {', '.join(names)})"
