"""The interface of the output of a run over a corpus: the value of a trial, and the finished file with all values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from nes2net.data.corpora.trial import Trial
from nes2net.lib.claims import Claim
from nes2net.lib.errors import InputError, shown
from nes2net.scoring.journal import (
    Journal,
    KeptRows,
    Row,
    claim_journals,
    journal_path,
    open_journals,
    remove_journals,
    stamp,
)

T = TypeVar("T")


class Keeper(Protocol):
    """Keeps the rows of a run until the run is finished."""

    def add(self, rows: Mapping[str, Row[Any]], failures: Mapping[str, str] | None = None) -> None:
        """Keep the rows and failures of a batch, so that they survive if the process is killed afterwards."""


class Output(ABC, Generic[T]):
    """The interface of what a run makes: a value for each trial, kept while the run is under way, and finished files."""

    doing: str
    """Word for the work of the run, such as ``"scoring"``. This word is the title of the progress display."""
    done: str
    """Word for a trial that has a row, such as ``"scored"``."""
    what: str
    """Word for the rows of the file, such as ``"scores"``."""
    unit: str = "utterance"
    """Word for a trial of the run."""

    def files(self, out: Path) -> list[Path]:
        """List the paths of the finished file ``out`` and of further files that the run writes beside ``out``."""
        return [out]

    def rows_are(self, out: Path) -> str:
        """Describe the rows of the finished file ``out`` in words, such as ``"embeddings of 256 numbers"``."""
        return self.what

    def check(self, trials: Sequence[Trial], out: Path) -> None:
        """Raise :class:`InputError` if ``out`` cannot hold the ids of ``trials``; this class refuses only equal ids."""
        known_ids: set[str] = set()
        for trial in trials:
            if trial.id in known_ids:
                raise InputError(f"two trials have the id {shown(trial.id)}: name each trial once")
            known_ids.add(trial.id)

    def stamp(self, trial: Trial) -> str:
        """Return a word that changes if the audio of ``trial`` is replaced."""
        return stamp(trial.path)

    def claim(self, out: Path, run: Mapping[str, Any]) -> Claim:
        """Compare ``run`` with the run whose rows are kept for ``out``; if no rows are kept, the two are the same."""
        return claim_journals(out, run)

    def opened(self, out: Path, without: Container[tuple[str, str]] = ()) -> AbstractContextManager[KeptRows[T]]:
        """Open the rows that are kept for ``out``, in journals unless a subclass keeps them elsewhere.

        Args:
            without: (id, stamp of the audio file) of outdated rows, which are ignored.
        """
        return open_journals(out, self.from_json, without)

    def keeper(self, out: Path, run: Mapping[str, Any], rank: int = 0) -> AbstractContextManager[Keeper]:
        """Open what keeps the rows that the process ``rank`` computes for ``out``."""
        return Journal(journal_path(out, rank), run, self.to_json)

    def forget(self, out: Path) -> None:
        """Remove the rows that are kept for ``out``, even if they belong to another run."""
        remove_journals(out)

    def to_json(self, value: T) -> Any:
        """Turn ``value`` into plain data for JSON, to be kept in a journal; by default, ``value`` is plain data itself."""
        return value

    def from_json(self, value: Any) -> T:
        """Restore a value from the data of :meth:`to_json`; raise ValueError or TypeError if the data are damaged."""
        return value  # type: ignore[no-any-return]

    def read(self, out: Path) -> Iterable[tuple[str, T]]:
        """Read the rows of a finished file as (id, value), for a run that only computes the missing rows."""
        return ()

    @abstractmethod
    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, T]]) -> dict[str, Any]:
        """Write ``count`` rows in order to ``files``, and return plain data to add to the record.

        Args:
            files: temporary files to write, which are later renamed to the paths of :meth:`files`.
            rows: the trials and their values.
        """
