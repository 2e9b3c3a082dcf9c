"""Score files: one line ``utterance score`` per trial, in UTF-8.

A score is written as Python's ``repr`` of a float, so that exactly the same number is read back.
White space separates the score from the utterance id, so an id must be one word
(:func:`check_ids`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.id_tables import read_id_table
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.lib.errors import InputError, shown
from nes2net.lib.files import write_output
from nes2net.lib.text_files import are_floats, checked_float, has_control

#: Names that the column of scores may have in a file with a header; in a column with such a name, higher scores mean
#: bona fide. DeepFense writes ``score_class1`` for its class 1, which is bona fide.
SCORE_COLUMNS = ("score", "scores", "cm_score", "score_class1")
#: The reason, for messages, why an id with control characters is refused.
CONTROL = "it holds control characters, which a terminal may obey; rename the trial"


def write_scores(path: str | Path, ids: Iterable[str], scores: Iterable[float]) -> None:
    """Write ``ids`` and ``scores`` to a score file, completely or not at all. ``path`` may also be a device or a pipe.

    Raises:
        InputError: if an id cannot be in a score file (see :func:`check_ids`), or if the file
            cannot be written.
    """
    ids = list(ids)
    check_ids(ids)
    write_output(path, "".join(line(*pair) for pair in zip(ids, scores, strict=True)))


def line(id: str, score: float) -> str:
    """Make a line of a score file from the ``id`` and the ``score`` of an utterance.

    >>> line("LA_E_1000147", 1 / 3)
    'LA_E_1000147 0.3333333333333333\\n'
    """
    return f"{id} {float(score)!r}\n"


def read_scores(path: str | Path) -> tuple[list[str], NDArray]:
    """Read a score file: return the ids and the scores (N,) float64, in the order of the file.

    Blank lines are skipped. The texts ``nan`` and ``inf`` count as numbers, but ``1_0`` does not.
    Fields may also be separated by tabs, commas, semicolons or vertical bars, and a header may name
    the columns (:mod:`nes2net.data.corpora.id_tables`). The baselines of ASVspoof 2019 write lines
    ``utterance attack label score``; the attack and the label in these lines are not read.

    Raises:
        InputError: if the file is missing, or if a line has a wrong number of fields, an id with
            control characters, or a score that is not a number. The message says in which file and
            line.
    """
    path = Path(path)
    rows, id_column, score_column = read_id_table(path, "score", SCORE_COLUMNS, _is_number, (BONAFIDE, SPOOF))
    ids: list[str] = []
    numbers: list[str] = []
    lines = []
    for line, row in rows:
        lines.append(line)
        ids.append(row[id_column])
        numbers.append(row[score_column])
    # Check all ids and all numbers at once. If a check fails, find the first wrong line.
    if not has_control("".join(ids)) and are_floats(numbers):
        return ids, np.array(list(map(float, numbers)))
    scores = []
    for line, id, number in zip(lines, ids, numbers):
        if has_control(id):
            raise InputError(f"{path}, line {line}: the id {shown(id)} cannot be used: {CONTROL}")
        scores.append(checked_float(number, path, line))
    return ids, np.array(scores)


def read_own_labels(path: str | Path) -> dict[str, str]:
    """Read utterance → label from a score file that also has a label in each line; empty for other files."""
    labels = {}
    for _, row in read_id_table(Path(path), "score", SCORE_COLUMNS, _is_number, (BONAFIDE, SPOOF)).rows:
        labels_of_row = [field for field in row[1:-1] if field in (BONAFIDE, SPOOF)]
        if len(labels_of_row) != 1:
            return {}
        labels[row[0]] = labels_of_row[0]
    return labels


def _is_number(field: str) -> bool:
    """Whether the text ``field`` is a number: Python can convert it to a float."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def check_ids(ids: Iterable[str]) -> None:
    """Raise :class:`InputError` unless each id is one word, can be written as UTF-8 and occurs once.

    Control characters, and a byte-order mark at the start of an id, are refused too.
    """
    known_ids: set[str] = set()
    for id in ids:
        if id in known_ids:
            raise InputError(
                f"two trials have the id {shown(id)}, but a score file has one line per id: name each trial once"
            )
        known_ids.add(id)
        words = id.split()
        fault = ""
        try:
            id.encode()
        except UnicodeEncodeError:
            fault = "it cannot be written as UTF-8; rename the file"
        if not words:
            fault = "it is empty; give the trial a name"
        elif words != [id]:
            renamed = shown("%20".join(words))
            fault = f"white space separates id and score there; rename the trial, for example to {renamed}"
        elif has_control(id):
            fault = CONTROL
        elif id.startswith("\ufeff"):
            fault = "readers drop the byte-order mark (U+FEFF) at its start; remove it from the protocol"
        if fault:
            raise InputError(f"a score file cannot hold the id {shown(id)}: {fault}")
