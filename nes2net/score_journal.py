"""Score files and the journals that they grow in: one line ``utterance score``, written so that it is read back to the last bit.

Beside the score file ``out`` each process that scores keeps a journal, ``out.partial`` or ``out.partial.N``: a line of JSON that says
what is being scored by what, then scores, batch by batch. A process that is killed leaves a last line that is torn at worst.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

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

    def add(self, scores: Mapping[str, float]) -> None:
        """Scores of a batch; they are with the operating system when this returns."""
        self._write("".join(lines(scores.items())))

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
        self._file.close()


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


def read_journals(out: Path, run: Mapping[str, Any]) -> dict[str, float] | None:
    """Scores that interrupted runs left beside ``out``; None where one of them was another run than ``run``."""
    scores: dict[str, float] = {}
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
            scores.update(_pairs(file))
    return scores


def read_scores(path: Path) -> dict[str, float]:
    """Scores of a finished file."""
    with open(path, encoding="utf-8", newline="\n") as file:
        return dict(_pairs(file))


def lines(scores: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Lines of a score file."""
    return (f"{name} {score!r}\n" for name, score in scores)


def _pairs(text: Iterable[str]) -> Iterator[tuple[str, float]]:
    for line in text:
        name, _, score = line.rpartition(" ")
        try:
            value = float(score)
        except ValueError:  # damaged: what is missing is scored again
            continue
        if line.endswith("\n"):  # a torn line has no end
            yield name, value


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
