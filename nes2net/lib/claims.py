"""Whether files belong to the same run: the plain data that identifies two runs is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differing(earlier: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Name the values in which the ``run`` differs from an ``earlier`` one."""
    return [name for name in {**earlier, **run} if earlier.get(name) != run.get(name)]


def another(earlier: Any, run: Mapping[str, Any]) -> str:
    """Say in brackets how the ``earlier`` run differs, for a message; empty if no difference is known.

    >>> another({"model": "a", "resolution_ms": 20.0}, {"model": "b"}), another(None, {"model": "b"})
    (' (another model, resolution_ms)', '')
    """
    names = []
    if isinstance(earlier, dict):
        names = differing(earlier, run)
    if not names:
        return ""
    return f" (another {', '.join(names)})"
