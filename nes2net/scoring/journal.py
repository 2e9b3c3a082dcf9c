"""The journals that keep the scores of an unfinished score file, and how that is finished.

Each process that scores has a journal beside the score file ``out``: ``out.partial`` or
``out.partial.N``. Its first line is JSON and identifies the run. Then come the lines of a score
file, batch by batch, and a line ``["utterance", "reason"]`` for each utterance without a score. A
process that is killed leaves at worst an incomplete last line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nes2net.errors import InputError
from nes2net.machine.files import check_no_device, json_text, replacing
from nes2net.scoring.score_file import lines, parse_line


class Journal:
    """The journal of one process, which appends to an earlier one of the same name.

    Args:
        path: the file. If it exists, it belongs to the same ``run``; :func:`read_journals` checks
            that.
        run: plain data that is equal for two runs if and only if their scores may share a file.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # No buffer: closing the file must not write a line again that did not fit on the disk.
            self._file = open(path, "ab", buffering=0)
            self._file.truncate(path.read_bytes().rfind(b"\n") + 1)  # the end of the last complete line
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
        if os.path.getsize(path) == 0:
            self._write(json.dumps(run) + "\n")

    def add(self, scores: Mapping[str, float], failures: Mapping[str, str] | None = None) -> None:
        """Hand the scores and failures of a batch to the operating system."""
        failed = (f"{json.dumps(pair)}\n" for pair in (failures or {}).items())
        self._write("".join([*lines(scores.items()), *failed]))

    def _write(self, text: str) -> None:
        left = memoryview(text.encode())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); the scores so far are kept: "
                "make room, and the same command goes on"
            ) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            os.fsync(self._file.fileno())  # before copies of these scores are removed elsewhere
        self._file.close()


class Journalled(NamedTuple):
    """Scores and failures by utterance."""

    scores: dict[str, float]
    failures: dict[str, str]
    """Reasons why the other utterances have no score."""


def journal_path(out: Path, rank: int = 0) -> Path:
    """Path of the journal of process ``rank``.

    >>> [journal_path(Path("s.txt"), rank).name for rank in (0, 1)]
    ['s.txt.partial', 's.txt.partial.1']
    """
    return out.with_name(f"{out.name}.partial{f'.{rank}' if rank else ''}")


def journals(out: Path) -> list[Path]:
    """All journals beside ``out``, of any run."""
    if not out.parent.is_dir():
        return []
    name = re.compile(rf"{re.escape(journal_path(out).name)}(\.\d+)?")
    return sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))


def remove_journals(out: Path) -> None:
    """Remove all journals beside ``out``."""
    for path in journals(out):
        path.unlink()


def write_finished(out: Path, scores: Mapping[str, float], record_path: Path, record: Mapping[str, Any]) -> None:
    """Write the score file and its record, completely or not at all; then remove the journals.

    Not even a power cut loses scores: both files are on the disk before the journals are removed.

    Raises:
        OSError: if the system refuses to write.
    """
    with replacing(out, durable=True) as scores_file, replacing(record_path, durable=True) as record_of_them:
        with open(scores_file, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines(scores.items()))
        record_of_them.write_text(json_text(record, indent=1), encoding="utf-8")
        out.unlink(missing_ok=True)  # so that old scores never have the new record beside them
    remove_journals(out)
    left = re.compile(rf"\.({re.escape(out.name)}|{re.escape(record_path.name)})\.\d+\.tmp")
    for path in out.parent.iterdir():
        if left.fullmatch(path.name):  # of a run that was killed while it wrote them
            path.unlink(missing_ok=True)


def read_journals(out: Path, run: Mapping[str, Any]) -> Journalled | None:
    """Read the journals of interrupted runs beside ``out``; None if one is of another run."""
    scores: dict[str, float] = {}
    failures: dict[str, str] = {}
    header = json.dumps(run) + "\n"
    for path in journals(out):
        check_no_device(path)  # reading a pipe might wait for ever
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            if not header.startswith(file.readline()):  # a run that was killed at once left the beginning of it
                return None
            for name, found in _entries(file):
                if isinstance(found, str):
                    failures[name] = found
                else:
                    scores[name] = found
    return Journalled(scores, {name: reason for name, reason in failures.items() if name not in scores})


def _entries(text: Iterable[str]) -> Iterator[tuple[str, float | str]]:
    """Yield utterances, each with its score or with the reason why it has none."""
    for line in text:
        if not line.endswith("\n"):  # incomplete
            continue
        try:
            yield parse_line(line)
        except ValueError:
            try:
                name, reason = json.loads(line)
                yield str(name), str(reason)
            except (ValueError, TypeError):  # damaged: the utterance is scored again
                continue
