"""Files of frame scores: one line ``utterance frame score`` per frame of equal length, in UTF-8.

Frames count from 0 without gaps, and an utterance's lines are adjacent. The record ``FILE.json``
states the length of a frame. Files of WeDefense are read, too:
``utterance frame logit_bonafide logit_spoof [label]``, separated by tabs; the score is the
difference of logits.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import are_floats, has_control, parse_float, text_blocks
from nes2net.scoring.score_file import CONTROL

#: Most frames and utterances in a file of frame scores; the evaluation part of PartialSpoof has 11
#: million frames of 20 ms (400 MB).
MAX_FRAMES = 200_000_000
MAX_UTTERANCES = 1_000_000
_MAX_LINE_LENGTH = 4096
_BLOCK = 1 << 22  # bytes
_FIELDS = "utterance frame score, or utterance frame logit_bonafide logit_spoof [label]"


def lines(id: str, scores: ArrayLike) -> str:
    """Make the lines of an utterance with frame scores (T,).

    >>> lines("CON_E_0000001", [0.5, -1.0])
    'CON_E_0000001 0 0.5\\nCON_E_0000001 1 -1.0\\n'
    """
    values = np.asarray(scores, np.float64).tolist()
    return "".join([f"{id} {frame} {score!r}\n" for frame, score in enumerate(values)])


def begins_frames(line: str) -> bool:
    """Whether ``line``, the first that is not blank, has three to five fields, of which the second is 0."""
    row = line.split()
    return 3 <= len(row) <= 5 and row[1] == "0"


def read_segment_scores(path: AnyPath) -> dict[str, NDArray]:
    """Read frame scores: utterance → (T,) float64, in order.

    Blank lines are skipped; ``nan`` and ``inf`` are numbers.

    Raises:
        InputError: if the file cannot be read; if a line has a wrong number of
            fields, an id has control characters, or a field is not a number; if the frames of an
            utterance are not 0, 1, … in adjacent lines, or there are no frames; or if the file
            exceeds :data:`MAX_FRAMES` or :data:`MAX_UTTERANCES`, or the limits of
            :func:`~nes2net.lib.storage.text_files.text_blocks`.
    """
    path = Path(path)
    scores: dict[str, NDArray] = {}
    num_frames = 0
    for name, runs in groupby(_runs(path), itemgetter(1)):
        if len(scores) == MAX_UTTERANCES and name not in scores:
            raise InputError(f"{path}: has more than {MAX_UTTERANCES:,} utterances; split it")
        frame_scores = array("d")
        for line, _, frames, values in runs:
            if not frame_scores and has_control(name):
                raise InputError(f"{path}, line {line}: the id {short_repr(name)} cannot be used: {CONTROL}")
            if name in scores:
                raise InputError(
                    f"{path}, line {line}: more frames of {short_repr(name)} after those of another utterance; put its lines together"
                )
            start = len(frame_scores)
            expected_frames = list(map(str, range(start, start + len(frames))))
            if frames != expected_frames:
                wrong = next(index for index, frame in enumerate(frames) if frame != expected_frames[index])
                raise InputError(
                    f"{path}, line {line + wrong}: expected frame {expected_frames[wrong]} of {short_repr(name)}, found "
                    f"{short_repr(frames[wrong])}; the frames of an utterance stand together, numbered from 0 without gaps"
                )
            frame_scores.extend(values)
            num_frames += len(frames)
            if num_frames > MAX_FRAMES:
                raise InputError(f"{path}: has more than {MAX_FRAMES:,} frames; split it")
        scores[name] = np.array(frame_scores)
    if not scores:
        raise InputError(f"{path}: holds no scores of frames; expected lines of {_FIELDS}")
    return scores


def _runs(path: Path) -> Iterator[tuple[int, str, list[str], list[float]]]:
    """Yield adjacent frames of an utterance: line of the first, utterance, frames as written, and scores."""
    for number, block in text_blocks(path, _BLOCK):
        # Read all lines of a block together, which is fast, if each has three fields with one space between them.
        text = "\n".join(block)
        words = text.split()
        num_separators = len(text) - sum(map(len, words))
        is_usual = len(words) == 3 * len(block) == num_separators + 1 and all(line.count(" ") == 2 for line in block)
        if is_usual and are_floats(words[2::3]):
            scores = list(map(float, words[2::3]))
            start = 0
            for name, run in groupby(words[::3]):
                end = start + len(list(run))
                yield number + start, name, words[3 * start + 1 : 3 * end : 3], scores[start:end]
                start = end
            continue
        for line_number, line in enumerate(block, number):
            if row := _parse_row(path, line_number, line):
                name, frame, score = row
                yield line_number, name, [frame], [score]


def _parse_row(path: Path, number: int, line: str) -> tuple[str, str, float] | None:
    if len(line) > _MAX_LINE_LENGTH:
        raise InputError(f"{path}, line {number}: has more than {_MAX_LINE_LENGTH:,} characters; expected {_FIELDS}")
    row = line.split()
    if not row:
        return None
    if len(row) == 3:
        return row[0], row[1], parse_float(row[2], path, number)
    if 4 <= len(row) <= 5:
        bonafide, spoof = (parse_float(text, path, number) for text in row[2:4])
        return row[0], row[1], bonafide - spoof
    raise InputError(
        f"{path}, line {number}: expected 3 to 5 fields ({_FIELDS}), found {len(row)}: {short_repr(line.strip())}"
    )
