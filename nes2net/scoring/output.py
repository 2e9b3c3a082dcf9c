"""What a run over a corpus makes of each trial, and the file that it ends in (:class:`Output`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, shown

T = TypeVar("T")


class Output(ABC, Generic[T]):
    """What a run makes of each trial, and the file that it ends in."""

    doing: str
    """What the run does, such as ``"scoring"``; the title of its progress."""
    done: str
    """What was done with a trial that has a row, such as ``"scored"``."""
    what: str
    """What the file holds, such as ``"scores"``."""

    def files(self, out: Path) -> list[Path]:
        """The finished file ``out``, and further ones that belong to it."""
        return [out]

    def rows_are(self, out: Path) -> str:
        """What the rows of the finished file ``out`` are."""
        return self.what

    def check(self, trials: Sequence[Trial], out: Path) -> None:
        """Raise :class:`InputError` if the finished file ``out`` cannot hold the ids of ``trials``."""
        known_ids: set[str] = set()
        for trial in trials:
            if trial.id in known_ids:
                raise InputError(f"two trials have the id {shown(trial.id)}: name each trial once")
            known_ids.add(trial.id)

    @abstractmethod
    def to_json(self, value: T) -> Any:
        """``value`` as JSON holds it, in a journal."""

    @abstractmethod
    def from_json(self, value: Any) -> T:
        """The value of :meth:`to_json`; ValueError or TypeError if that is damaged."""

    @abstractmethod
    def read(self, out: Path) -> Iterable[tuple[str, T]]:
        """The rows of a finished file by id, for a run that tries the missing ones again."""

    @abstractmethod
    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, T]]) -> dict[str, Any]:
        """Write ``count`` rows in order to ``files``, which become those of :meth:`files`; return facts for the record."""
