"""Claims: whether a file or folder belongs to the present run, and whether its run finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts


def differing_names(earlier: Facts, run: Facts) -> list[str]:
    """List the names of the values that differ between two runs; a missing value counts as None."""
    return [name for name in {**earlier, **run} if earlier.get(name) != run.get(name)]


def differences_in_words(earlier: Any, run: Facts) -> str:
    """End a message with the values that differ from an ``earlier`` run; empty if none differs or it is unknown.

    >>> differences_in_words({"model": "a", "resolution_ms": 20.0}, {"model": "b"}), differences_in_words(None, {"model": "b"})
    (' (another model, resolution_ms)', '')
    """
    names = differing_names(earlier, run) if isinstance(earlier, dict) else []
    return f" (another {', '.join(names)})" if names else ""


@dataclass(frozen=True)
class Claim:
    """The claim of a run on a file or folder, which another run may have made."""

    place: Path
    run: Facts
    """What identifies the present run: equal if and only if results may share a place."""
    earlier: Any
    """The same data of the run that made the place; None if unknown."""
    finished: bool = False

    @property
    def is_same(self) -> bool:
        """Whether the present run made the place, and may resume there."""
        return bool(self.earlier == self.run)

    @property
    def is_done(self) -> bool:
        """Whether the present run made the place and finished."""
        return self.is_same and self.finished

    def check(self, remedy: str) -> None:
        """Raise :class:`InputError` with the values that differ if another run made the place."""
        if not self.is_same:
            difference = differences_in_words(self.earlier, self.run)
            raise InputError(f"{self.place} was made by another run or program{difference}: {remedy}")
