"""The journals that keep the scores of an unfinished score file, and how that is finished.

Each process that scores has a journal beside the score file ``out``: ``out.partial`` or
``out.partial.N``. Its first line is JSON and identifies the run. Then come, batch by batch, a line
``utterance score audio`` for each score (see :class:`Scored`), where scores of frames are a list
without spaces, and a line ``["utterance", "reason"]`` for each utterance without a score. A process that is killed leaves at worst an
incomplete last line.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.audio.packed import status_of
from nes2net.errors import InputError
from nes2net.machine.files import json_text, replacing
from nes2net.machine.plain_data import parsed_json
from nes2net.scoring import score_file, segment_file

# Characters; a longer line is damaged. Frames of 20 ms of an hour take 4 million.
_LONGEST_LINE = 1 << 26


class Scored(NamedTuple):
    """The score of an utterance, or those of its frames."""

    score: float | NDArray
    """For scores of frames, (T,) float32."""
    audio: str
    """The :func:`stamp` of its file when that was read."""


def stamp(path: str | Path | None) -> str:
    """Size and time of the last change of a file, as one word: another file has another stamp.

    Of a recording in a shard, those of the shard.
    """
    try:
        found = status_of(path or "")
    except (OSError, ValueError):  # no such file, or a name that no file can have
        return "-"
    return f"{found.size}:{found.modified}"


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

    def add(self, scores: Mapping[str, Scored], failures: Mapping[str, str] | None = None) -> None:
        """Hand the scores and failures of a batch to the operating system."""
        scored = (f"{id} {_written(score)} {audio}\n" for id, (score, audio) in scores.items())
        failed = (f"{json.dumps(pair)}\n" for pair in (failures or {}).items())
        self._write("".join([*scored, *failed]))

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


def _written(score: float | NDArray) -> str:
    if isinstance(score, np.ndarray):
        return json.dumps(score.tolist(), separators=(",", ":"))
    return repr(float(score))


def _read(text: str) -> float | NDArray:
    """Read what :func:`_written` wrote; ValueError if it is damaged, or a number is not finite."""
    if text.startswith("["):
        score = np.array(parsed_json(text, "a line"), np.float32)
        if score.ndim == 1 and score.size and np.isfinite(score).all():
            return score
    elif math.isfinite(float(text)):
        return float(text)
    raise ValueError(text)


class Journalled(NamedTuple):
    """Scores and failures by utterance."""

    scores: dict[str, Scored]
    failures: dict[str, str]
    """Reasons why the other utterances have no score."""


def journal_path(out: Path, rank: int = 0) -> Path:
    """Path of the journal of process ``rank``.

    >>> [journal_path(Path("s.txt"), rank).name for rank in (0, 1)]
    ['s.txt.partial', 's.txt.partial.1']
    """
    return out.with_name(f"{out.name}.partial{f'.{rank}' if rank else ''}")


def journals(out: Path) -> list[Path]:
    """All journals beside ``out``, of any run.

    Raises:
        InputError: if something else has the name of a journal, such as a pipe, which is not opened.
    """
    if not out.parent.is_dir():
        return []
    name = re.compile(rf"{re.escape(journal_path(out).name)}(\.\d+)?")
    found = sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))
    for path in found:
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file, but its name is that of a journal: remove it")
    return found


def remove_journals(out: Path) -> None:
    """Remove all journals beside ``out``."""
    for path in journals(out):
        path.unlink()


def write_finished(out: Path, scores: Mapping[str, Scored], record_path: Path, record: Mapping[str, Any]) -> None:
    """Write the score file and its record, completely or not at all; then remove the journals.

    The record gets the SHA-256 of the score file.

    Not even a power cut loses scores: both files are on the disk before the journals are removed.

    Raises:
        OSError: if the system refuses to write.
    """
    with replacing(out, durable=True) as scores_file, replacing(record_path, durable=True) as record_of_them:
        digest = hashlib.sha256()
        with open(scores_file, "wb") as file:
            for id, (score, _) in scores.items():
                is_row = isinstance(score, np.ndarray)
                text = segment_file.lines(id, score) if is_row else score_file.line(id, float(score))
                digest.update(text.encode())
                file.write(text.encode())
        record = {**record, "scores_sha256": digest.hexdigest()}
        record_of_them.write_text(json_text(record, indent=1), encoding="utf-8")
        out.unlink(missing_ok=True)  # so that old scores never have the new record beside them
    remove_journals(out)
    left = re.compile(rf"\.({re.escape(out.name)}|{re.escape(record_path.name)})\.\d+\.tmp")
    for path in out.parent.iterdir():
        if left.fullmatch(path.name):  # of a run that was killed while it wrote them
            path.unlink(missing_ok=True)


def read_journals(out: Path, run: Mapping[str, Any]) -> Journalled | None:
    """Read the journals of interrupted runs beside ``out``; None if one is of another run."""
    scores: dict[str, Scored] = {}
    failures: dict[str, str] = {}
    header = json.dumps(run) + "\n"
    for path in journals(out):
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            # A run that was killed at once left the beginning of the header.
            if not header.startswith(file.readline(len(header))):
                return None
            for name, found in _entries(iter(lambda: file.readline(_LONGEST_LINE), "")):
                if isinstance(found, str):
                    failures[name] = found
                else:
                    scores[name] = found
    return Journalled(scores, {name: reason for name, reason in failures.items() if name not in scores})


def _entries(text: Iterable[str]) -> Iterator[tuple[str, Scored | str]]:
    """Yield utterances, each with its score or with the reason why it has none.

    A damaged line is left out: the utterance is scored again. A line of an earlier version has no
    stamp, and so another one than any file.
    """
    for line in text:
        if not line.endswith("\n"):  # incomplete
            continue
        try:
            id, score, *audio = line.split()
            yield id, Scored(_read(score), " ".join(audio))
        except (ValueError, TypeError, OverflowError):
            try:
                name, reason = parsed_json(line, "a line")
                yield str(name), str(reason)
            except (ValueError, TypeError, OverflowError):
                continue
