"""The journals in which a score file grows, and how it appears at the end.

Each process that scores keeps a journal beside the score file ``out``: ``out.partial`` or
``out.partial.N``. Its first line is JSON that says what is being scored by what. Then come the lines of
a score file, batch by batch, and a line ``["utterance", "reason"]`` for each utterance without a score.
A process that is killed leaves a torn last line at worst.
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
from nes2net.machine.files import replacing
from nes2net.scoring.score_file import lines, parse_line


class Journal:
    """The journal of one process; it goes on where an earlier one of the same name ended.

    Args:
        path: the file. What it holds already is of the same ``run``; :func:`read_journals` checks that.
        run: plain data that is the same for two runs if and only if their scores may stand in one file.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # No buffer: a line that did not fit on the disk must not be written again when the file is closed.
            self._file = open(path, "ab", buffering=0)
            self._file.truncate(_end_of_last_line(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error
        if os.path.getsize(path) == 0:
            self._write(json.dumps(run) + "\n")

    def add(self, scores: Mapping[str, float], failures: Mapping[str, str] | None = None) -> None:
        """Write the scores and failures of a batch; the operating system has them when this returns."""
        failed = (f"{json.dumps(pair)}\n" for pair in (failures or {}).items())
        self._write("".join([*lines(scores.items()), *failed]))

    def _write(self, text: str) -> None:
        left = memoryview(text.encode())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); what is scored so far is kept: "
                "make room, and the same command goes on"
            ) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            os.fsync(self._file.fileno())  # before scores that stand here as well are removed elsewhere
        self._file.close()


class Journalled(NamedTuple):
    """Scores by utterance, and the reasons why others have none."""

    scores: dict[str, float]
    failures: dict[str, str]


def journal_path(out: Path, rank: int = 0) -> Path:
    """Path of the journal of process ``rank``.

    >>> [journal_path(Path("s.txt"), rank).name for rank in (0, 1)]
    ['s.txt.partial', 's.txt.partial.1']
    """
    return out.with_name(f"{out.name}.partial{f'.{rank}' if rank else ''}")


def journals(out: Path) -> list[Path]:
    """All journals beside ``out``, whoever left them."""
    first = journal_path(out)
    if not out.parent.is_dir():
        return []
    others = [
        path
        for path in out.parent.iterdir()
        if path.name.startswith(f"{first.name}.") and path.name.removeprefix(f"{first.name}.").isdigit()
    ]
    return [path for path in (first, *sorted(others)) if path.exists()]


def remove_journals(out: Path) -> None:
    """Remove the journals of scores that stand in ``out`` now, or are not wanted any more."""
    for path in journals(out):
        path.unlink()


def write_finished(out: Path, scores: Mapping[str, float], record_path: Path, record: Mapping[str, Any]) -> None:
    """Write the score file and its record, complete or not at all; then remove the journals.

    A power cut loses nothing either: everything is on the disk before the journals are removed.

    Raises:
        OSError: the system refuses to write.
    """
    with replacing(out, durable=True) as scores_file, replacing(record_path, durable=True) as record_of_them:
        with open(scores_file, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines(scores.items()))
        record_of_them.write_text(json.dumps(record, indent=1), encoding="utf-8")
        out.unlink(missing_ok=True)  # so that at no moment old scores stand beside the new record
    remove_journals(out)
    left = re.compile(rf"\.({re.escape(out.name)}|{re.escape(record_path.name)})\.\d+\.tmp")
    for path in out.parent.iterdir():
        if left.fullmatch(path.name):  # a run was killed while it wrote them
            path.unlink(missing_ok=True)


def read_journals(out: Path, run: Mapping[str, Any]) -> Journalled | None:
    """Read what interrupted runs left beside ``out``; None if one of them was not ``run``."""
    scores: dict[str, float] = {}
    failures: dict[str, str] = {}
    header = json.dumps(run) + "\n"
    for path in journals(out):
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            first = file.readline()
            if not first.endswith("\n"):  # killed while it wrote its first line, or something else altogether
                if header.startswith(first):
                    continue
                return None
            if not _says(first, run):
                return None
            for name, found in _entries(file):
                (failures if isinstance(found, str) else scores)[name] = found
    return Journalled(scores, {name: reason for name, reason in failures.items() if name not in scores})


def _entries(text: Iterable[str]) -> Iterator[tuple[str, float | str]]:
    """Utterances with their scores, or with the reason why they have none."""
    for line in text:
        if not line.endswith("\n"):  # torn
            continue
        try:
            yield parse_line(line)
        except ValueError:
            try:
                name, reason = json.loads(line)
                yield str(name), str(reason)
            except (ValueError, TypeError):  # damaged: what is missing is scored again
                continue


def _says(line: str, run: Mapping[str, Any]) -> bool:
    try:
        return json.loads(line) == run
    except json.JSONDecodeError:
        return False


def _end_of_last_line(path: Path) -> int:
    """Size of a journal up to the end of its last whole line."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        block = 4096
        while end:
            start = max(0, end - block)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0
