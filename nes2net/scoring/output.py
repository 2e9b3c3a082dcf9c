"""The interface of a run's output: the value of a trial, and the finished file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.claims import Claim
from nes2net.scoring.journal import (
    Journal,
    JournalRow,
    KeptRows,
    Reasons,
    claim_journals,
    journal_path,
    open_journals,
    remove_journals,
    stamp,
)

T = TypeVar("T")


class Keeper(Protocol):
    """Keeps rows until the run is finished."""

    def add(self, rows: Mapping[str, JournalRow[Any]], failures: Reasons | None = None) -> None:
        """Keep a batch, so that it survives if the process is killed."""


class Output(ABC, Generic[T]):
    """What a run makes: a value for each trial, and finished files."""

    doing: str
    """Title of the progress display, such as ``"scoring"``."""
    done: str
    """Word for a trial with a row, such as ``"scored"``."""
    what: str
    """Word for rows, such as ``"scores"``."""
    unit: str = "utterance"
    """Word for a trial."""

    def files(self, out: Path) -> list[Path]:
        """List ``out`` and the files beside it."""
        return [out]

    def rows_are(self, out: Path) -> str:
        """Describe the rows, such as ``"embeddings of 256 numbers"``."""
        return self.what

    def check(self, trials: Trials, out: Path) -> None:
        """Raise :class:`InputError` if ``out`` cannot hold the ids; by default, if ids repeat."""
        known_ids: set[str] = set()
        for trial in trials:
            if trial.id in known_ids:
                raise InputError(f"two trials have the id {short_repr(trial.id)}: name each trial once")
            known_ids.add(trial.id)

    def stamp(self, trial: Trial) -> str:
        """Return a word that changes if the audio is replaced."""
        return stamp(trial.path)

    def claim(self, out: Path, run: Facts) -> Claim:
        """Compare ``run`` with the run whose rows are kept; equal without rows."""
        return claim_journals(out, run)

    def open_kept(self, out: Path, without: Container[tuple[str, str]] = ()) -> AbstractContextManager[KeptRows[T]]:
        """Open the kept rows, by default in journals.

        Args:
            without: (id, stamp) of outdated rows to ignore.
        """
        return open_journals(out, self.from_json, without)

    def keeper(self, out: Path, run: Facts, rank: int = 0) -> AbstractContextManager[Keeper]:
        """Open what keeps the rows of process ``rank``."""
        return Journal(journal_path(out, rank), run, self.to_json)

    def forget(self, out: Path) -> None:
        """Remove the kept rows, of any run."""
        remove_journals(out)

    def to_json(self, value: T) -> Any:
        """Turn ``value`` into plain data for a journal; by default it is plain."""
        return value

    def from_json(self, value: Any) -> T:
        """Restore a value; raise ValueError or TypeError if data are damaged."""
        return value  # type: ignore[no-any-return]

    def read(self, out: Path) -> Iterable[tuple[str, T]]:
        """Read (id, value) of a finished file, to compute only missing rows."""
        return ()

    @abstractmethod
    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, T]]) -> Facts:
        """Write ``count`` rows in order; return plain data for the record.

        Args:
            files: temporary files, later renamed to those of :meth:`files`.
        """
