"""Journals: files that keep the rows of a run until the finished file is written.

Each process has a journal of JSON lines beside ``out``: ``out.partial`` or ``out.partial.N``. The
first line identifies the run; each batch adds ``["id", value, "audio"]`` for a row (:class:`JournalRow`)
and ``["id", "reason"]`` for a failure. If a process is killed, only its last line can be
incomplete.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar

from typing_extensions import NamedTuple  # in Python 3.10, NamedTuple of typing cannot be generic

from nes2net.data.audio.packed import AnyRecording, status_of, whole_of
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import make_folder, never_linked, writing
from nes2net.lib.storage.plain_data import parse_json

# Most bytes of a line in a journal; a longer one counts as damaged. An hour of 20-ms frames takes 4 million.
_MAX_LINE_BYTES = 1 << 26

T = TypeVar("T")

#: Id of a trial → why it has no row.
Reasons: TypeAlias = dict[str, str]
#: Id of a trial → :func:`stamp` of its audio.
Stamps: TypeAlias = dict[str, str]


class JournalRow(NamedTuple, Generic[T]):
    """A value, and the stamp of its audio file."""

    value: T
    audio: str
    """:func:`stamp` when the file was read."""


def stamp(path: AnyRecording | None) -> str:
    """Write size and modification time of a file (or shard), to notice that it was replaced; ``-`` if missing."""
    try:
        status = status_of(whole_of(path or ""))
    except (OSError, ValueError):  # there is no such file, or no file can have this name
        return "-"
    return str(status)


class Journal(Generic[T]):
    """The journal of one process, to which lines are appended.

    Args:
        path: an existing file must belong to ``run`` (:func:`claim_journals`).
        run: plain data, equal for two runs if and only if their rows may share a file.
        to_json: turns a value into plain data.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: Path, run: Facts, to_json: Callable[[T], Any]) -> None:
        self.path = path
        self.to_json = to_json
        with writing(path):
            make_folder(path.parent)
            # No buffer: a line that does not fit on the disk would be written again at the close.
            self._file = open(path, "ab", buffering=0, opener=never_linked)
            with open(path, "rb") as file:  # cut off an incomplete last line
                start = file.seek(max(0, os.path.getsize(path) - _MAX_LINE_BYTES))
                self._file.truncate(start + file.read().rfind(b"\n") + 1)
        if os.path.getsize(path) == 0:
            self._write(_header_line(run))

    def add(self, rows: Mapping[str, JournalRow[T]], failures: Reasons | None = None) -> None:
        """Write a batch at once, so that it survives if the process is killed."""
        lines = [[id, self.to_json(value), audio] for id, (value, audio) in rows.items()]
        lines += map(list, (failures or {}).items())
        self._write("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines).encode())

    def _write(self, lines: bytes) -> None:
        unwritten = memoryview(lines)
        with writing(self.path, "the work so far is kept: make room, and run the same command again to resume"):
            while unwritten:
                unwritten = unwritten[self._file.write(unwritten) :]

    def __enter__(self) -> Journal[T]:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            # The rows must be on the disk before a finished file with the same rows is replaced.
            os.fsync(self._file.fileno())
        self._file.close()


def journal_path(out: Path, rank: int = 0) -> Path:
    """Return the path of the journal of process ``rank``.

    >>> [journal_path(Path("s.txt"), rank).name for rank in (0, 1)]
    ['s.txt.partial', 's.txt.partial.1']
    """
    rank_suffix = f".{rank}" if rank else ""
    return out.with_name(f"{out.name}.partial{rank_suffix}")


def journals(out: Path) -> list[Path]:
    """List the journals beside ``out``, of any run.

    Raises:
        InputError: if a pipe, a link or a folder has such a name.
    """
    if not out.parent.is_dir():
        return []
    name = re.compile(rf"{re.escape(journal_path(out).name)}(\.\d+)?")
    paths = sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: is not a regular file, but has the name of a journal: remove it")
    return paths


@dataclass(frozen=True)
class KeptRows(Generic[T]):
    """Rows and failures of an unfinished run."""

    stamps: Stamps
    """For trials with a row, of the audio when it was read."""
    failures: Reasons
    value: Callable[[str], T]
    """Reads the value of a trial in :attr:`stamps` from the disk."""


def _parse_line(line: bytes) -> list[Any]:
    """Raise ValueError if the line is incomplete or not JSON."""
    if not line.endswith(b"\n"):
        raise ValueError("an incomplete line")
    return parse_json(line, "a line")


def claim_journals(out: Path, run: Facts) -> Claim:
    """Compare ``run`` with the run of the journals; without journals they are equal.

    :attr:`Claim.place` is a journal of another run if there is one, otherwise ``out``.
    """
    header = _header_line(run)
    for path in journals(out):
        with open(path, "rb") as file:
            line = file.readline(_MAX_LINE_BYTES)
        if not header.startswith(line):  # a run that was killed while it wrote the header left its beginning
            try:
                return Claim(path, run, _parse_line(line))
            except ValueError:
                return Claim(path, run, None)
    return Claim(out, run, run)


@contextmanager
def open_journals(
    out: Path, from_json: Callable[[Any], T], without: Container[tuple[str, str]] = ()
) -> Iterator[KeptRows[T]]:
    """Open all journals beside ``out``, of one run.

    Args:
        from_json: raises ValueError or TypeError if data are damaged.
        without: as for :meth:`nes2net.scoring.output.Output.open_kept`.
    """
    starts: dict[str, tuple[BinaryIO, int]] = {}  # id → journal and offset of the last line with its row
    stamps = {}
    failures = {}
    with ExitStack() as stack:
        for path in journals(out):
            file = stack.enter_context(open(path, "rb"))
            file.readline(_MAX_LINE_BYTES)  # the header
            start = file.tell()
            while line := file.readline(_MAX_LINE_BYTES):
                try:
                    id, *fields = _parse_line(line)
                    if len(fields) == 2 and (str(id), str(fields[1])) not in without:
                        from_json(fields[0])
                        starts[str(id)] = file, start
                        stamps[str(id)] = str(fields[1])
                    elif len(fields) == 1:
                        failures[str(id)] = str(fields[0])
                except (ValueError, TypeError, OverflowError):
                    pass  # the line is damaged or cut off, so the trial is computed again
                start += len(line)

        def read_value(id: str) -> T:
            file, start = starts[id]
            file.seek(start)
            return from_json(_parse_line(file.readline(_MAX_LINE_BYTES))[1])

        failures = {id: reason for id, reason in failures.items() if id not in stamps}
        yield KeptRows(stamps, failures, read_value)


def remove_journals(out: Path) -> None:
    """Remove all journals beside ``out``, of any run."""
    for path in journals(out):
        path.unlink()


def _header_line(run: Facts) -> bytes:
    return json.dumps(run).encode() + b"\n"
