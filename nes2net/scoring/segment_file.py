"""Files of frame scores: one line ``utterance frame score`` per frame, in UTF-8, at one resolution.

Frames are numbered from 0, in order and without gaps, and the lines of an utterance stand together.
A score is written as in a score file. The resolution stands in the record ``FILE.json``. WeDefense
writes ``utterance frame logit_bonafide logit_spoof [label]``, separated by tabs; the score is then
the difference of the logits, and the label is not read.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict

from nes2net.errors import InputError, shown
from nes2net.machine.plain_data import read_json_as
from nes2net.machine.text_files import checked_float, has_control
from nes2net.scoring.record import Record
from nes2net.scoring.score_file import CONTROL

#: Limits of a file. PartialSpoof's evaluation part has 11 million frames of 20 ms, some 400 MB.
MOST_BYTES = 8 << 30
MOST_FRAMES = 200_000_000
MOST_UTTERANCES = 1_000_000
_LONGEST_LINE = 4096
_BLOCK = 1 << 22  # characters
_FIELDS = "utterance frame score, or utterance frame logit_bonafide logit_spoof [label]"


class SegmentScores(NamedTuple):
    """The content of a file of frame scores."""

    scores: dict[str, NDArray]
    """Utterance → scores (T,) float64, in the order of the file."""
    resolution_ms: float | None
    """Length of a frame in ms; None if no record says it."""


class _SegmentRecord(Record):
    """The facts that are read from the record of a file of frame scores."""

    model_config = ConfigDict(frozen=True, strict=True)

    resolution_ms: float | None = None


def lines(id: str, scores: ArrayLike) -> str:
    """Write the lines of an utterance.

    >>> lines("CON_E_0000001", [0.5, -1.0])
    'CON_E_0000001 0 0.5\\nCON_E_0000001 1 -1.0\\n'
    """
    values = np.asarray(scores, np.float64).tolist()
    return "".join([f"{id} {frame} {score!r}\n" for frame, score in enumerate(values)])


def read_segment_scores(path: str | Path) -> SegmentScores:
    """Read a file of frame scores, and its resolution from the record beside it.

    Blank lines are skipped. ``nan`` and ``inf`` are numbers here, as in score files.

    Raises:
        InputError: if the file or its record cannot be read; if a line has another number of
            fields, an id has control characters, a field is not a number, the frames of an utterance are not 0, 1, … in
            lines that stand together, or there are no frames; or if the file is larger than any real one.
    """
    path = Path(path)
    scores: dict[str, NDArray] = {}
    id, expected, found, num_frames = "", 0, array("d"), 0

    def keep() -> None:
        if expected:
            scores[id] = np.array(found)

    for number, line in _numbered(path):
        row = line.split()
        if len(row) == 3:
            name, frame, text = row
            try:
                score = float(text)
            except ValueError:
                score = math.nan
            if score != score or "_" in text or not text.isascii():
                score = checked_float(text, path, number)
        elif 4 <= len(row) <= 5:
            name, frame, *logits = row[:4]
            bonafide, spoof = (checked_float(text, path, number) for text in logits)
            score = bonafide - spoof
        elif not row:
            continue
        else:
            raise InputError(
                f"{path}, line {number}: expected 3 fields ({_FIELDS}), found {len(row)}: {shown(line.strip())}"
            )
        if name != id:
            if has_control(name):
                raise InputError(f"{path}, line {number}: the id {shown(name)} cannot be used: {CONTROL}")
            keep()
            if name in scores:
                raise InputError(f"{path}, line {number}: more frames of {shown(name)}, whose lines ended before")
            if len(scores) == MOST_UTTERANCES:
                raise InputError(f"{path}: has more than {MOST_UTTERANCES:,} utterances; split it")
            id, expected, found = name, 0, array("d")
        if frame != str(expected):
            raise InputError(
                f"{path}, line {number}: expected frame {expected} of {shown(name)}, found {shown(frame)}; the frames of an "
                "utterance stand together, numbered from 0 without gaps"
            )
        expected += 1
        found.append(score)
        num_frames += 1
        if num_frames > MOST_FRAMES:
            raise InputError(f"{path}: has more than {MOST_FRAMES:,} frames; split it")
    keep()
    if not scores:
        raise InputError(f"{path}: holds no scores of frames; expected lines of {_FIELDS}")
    record, resolution = path.with_name(f"{path.name}.json"), None
    if record.is_file():  # a reason for each missing utterance is in it
        what, remedy = "a record of frame scores", "score anew, or remove it"
        resolution = read_json_as(_SegmentRecord, record, 1 << 30, what, remedy).resolution_ms
        if resolution is not None and not 0 < resolution < 1e6:
            raise InputError(f"{record}: `resolution_ms` is a number of ms above 0, not {resolution}")
    return SegmentScores(scores, resolution)


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, without holding the file.

    Raises:
        InputError: if it cannot be read, is not text in UTF-8, or a line or the file is too long.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file; give the path of a file of frame scores")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: is longer than {MOST_BYTES >> 30} GiB; split it")
        number, rest = 0, ""
        with open(path, encoding="utf-8-sig") as file:
            while True:
                block = file.read(_BLOCK)
                *whole, rest = (rest + block).split("\n")
                for line in whole if block else [rest]:
                    number += 1
                    if len(line) > _LONGEST_LINE:
                        break
                    yield number, line
                else:
                    if len(rest) <= _LONGEST_LINE or not block:
                        if not block:
                            return
                        continue
                    number += 1
                raise InputError(
                    f"{path}, line {number}: has more than {_LONGEST_LINE:,} characters; expected {_FIELDS}"
                )
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (a byte is not UTF-8); give the unpacked text file") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the path of a file of frame scores"
        ) from error
