"""Claims: whether a file or folder belongs to the present run or to another one, and whether its run finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nes2net.lib.errors import InputError


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


@dataclass(frozen=True)
class Claim:
    """The claim of a run on a place, which is a file or a folder that another run may have made."""

    place: Path
    run: Mapping[str, Any]
    """Plain data of the present run, equal for two runs if and only if their results may share a place."""
    earlier: Any
    """The same data of the run that made the place; None if nobody knows which run made it."""
    finished: bool = False
    """Whether the run that made the place finished; False if it was interrupted."""

    @property
    def is_same(self) -> bool:
        """Whether the present run made the place, so that it may resume there."""
        return bool(self.earlier == self.run)

    @property
    def is_done(self) -> bool:
        """Whether the present run made the place and finished, so that nothing is left to do."""
        return self.is_same and self.finished

    def check(self, remedy: str) -> None:
        """Raise :class:`InputError` if another run made the place; the message names the values that differ."""
        if not self.is_same:
            difference = differences_in_words(self.earlier, self.run)
            raise InputError(f"{self.place} was made by another run or program{difference}: {remedy}")
