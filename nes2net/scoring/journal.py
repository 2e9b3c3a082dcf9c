"""Score files and the journals that they grow in: one line ``utterance score``, written so that it is read back to the last bit.

Beside the score file ``out`` each process that scores keeps a journal, ``out.partial`` or ``out.partial.N``: a line of JSON that says
what is being scored by what, then scores, batch by batch, and a line ``["utterance", "reason"]`` for each that has none. A process
that is killed leaves a last line that is torn at worst.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nes2net.atomic import replacing
from nes2net.errors import InputError


class Journal:
    """The journal of one process, which goes on where an earlier one of the same name ended.

    Args:
        path: of the journal; what it holds already is of the same ``run`` (:func:`read_journals` has seen to that).
        run: plain data that two runs have in common if and only if their scores may stand in one file.
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
        """Scores and failures of a batch; they are with the operating system when this returns."""
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
            os.fsync(self._file.fileno())  # before the scores that it holds as well may go from their place
        self._file.close()


class Journalled(NamedTuple):
    """Scores, and why there are none of other trials, by name."""

    scores: dict[str, float]
    failures: dict[str, str]


def journal_path(out: Path, rank: int = 0) -> Path:
    """The journal of process ``rank``.

    >>> [journal_path(Path("s.txt"), rank).name for rank in (0, 1)]
    ['s.txt.partial', 's.txt.partial.1']
    """
    return out.with_name(f"{out.name}.partial{f'.{rank}' if rank else ''}")


def journals(out: Path) -> list[Path]:
    """Every journal beside ``out``, whoever left it."""
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
    """For scores that are in ``out`` itself, or wanted no more."""
    for path in journals(out):
        path.unlink()


def write_scores(out: Path, scores: Mapping[str, float], record_path: Path, record: Mapping[str, Any]) -> None:
    """The score file and its record, complete or not at all; then the journals go. ``OSError`` where the system refuses something.

    Power cuts, too, lose nothing: all is on the disk before the journals go.
    """
    with replacing(out, durable=True) as scores_file, replacing(record_path, durable=True) as record_of_them:
        with open(scores_file, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines(scores.items()))
        record_of_them.write_text(json.dumps(record, indent=1), encoding="utf-8")
        out.unlink(missing_ok=True)  # so that at no moment old scores stand beside the new record
    remove_journals(out)
    left = re.compile(rf"\.({re.escape(out.name)}|{re.escape(record_path.name)})\.\d+\.tmp")
    for path in out.parent.iterdir():
        if left.fullmatch(path.name):  # by a run that was killed here
            path.unlink(missing_ok=True)


def read_journals(out: Path, run: Mapping[str, Any]) -> Journalled | None:
    """What interrupted runs left beside ``out``; None where one of them was another run than ``run``."""
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


def read_scores(path: Path) -> dict[str, float]:
    """Scores of a finished file."""
    with open(path, encoding="utf-8", newline="\n") as file:
        return {name: found for name, found in _entries(file) if isinstance(found, float)}


def lines(scores: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Lines of a score file."""
    return (f"{name} {score!r}\n" for name, score in scores)


def _entries(text: Iterable[str]) -> Iterator[tuple[str, float | str]]:
    """Names with their scores, or with the reason why there is none."""
    for line in text:
        if not line.endswith("\n"):  # torn
            continue
        name, _, score = line.rpartition(" ")
        try:
            yield name, float(score)
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
    """Size of a journal without its torn last line."""
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
