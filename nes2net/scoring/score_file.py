"""Score files: one line ``utterance score`` per trial, in UTF-8.

A score is the ``repr`` of a float, which is read back exactly. An id must be one word
(:func:`check_ids`), because white space separates it from the score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.id_tables import LABELS, read_id_table
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.files import AnyPath, write_output
from nes2net.lib.storage.text_files import are_floats, has_control, parse_float, reading_once

#: Names of a column of scores in which higher means bona fide. DeepFense's class 1 is bona fide.
SCORE_COLUMNS = ("score", "scores", "cm_score", "score_class1")
#: Words for a missing number, in lower case.
MISSING = ("", "-", "na", "n/a", "<na>", "none", "null")
# Words in a column of labels beside the scores, in lower case.
_LABEL_WORDS = {*LABELS, "0", "1", "label_0", "label_1"}
#: The reason, for messages, why an id with control characters is refused.
CONTROL = "it holds control characters, which a terminal may obey; rename the trial"


def write_scores(path: AnyPath, ids: Iterable[str], scores: Iterable[float]) -> None:
    """Write a score file, all or nothing; ``path`` may also be a device or a pipe.

    Raises:
        InputError: if an id is refused (:func:`check_ids`), or the file cannot be written.
    """
    ids = list(ids)
    check_ids(ids)
    write_output(path, "".join(line(*pair) for pair in zip(ids, scores, strict=True)))


def line(id: str, score: float) -> str:
    """Make the line of an utterance.

    >>> line("LA_E_1000147", 1 / 3)
    'LA_E_1000147 0.3333333333333333\\n'
    """
    return f"{id} {float(score)!r}\n"


class ScoreTable(NamedTuple):
    """A score file, in its order."""

    ids: list[str]
    scores: NDArray
    """(N,) float64."""
    labels: Sequence[str] = ()
    """A column of labels beside the scores, in lower case, if there is one."""

    def doubt(self) -> str:
        """Say that the scores seem to be of the labels instead of bona fide; empty if not."""
        words = sorted(set(self.labels))
        if len(words) != 2 or (self.scores < 0.5).any() or (self.scores > 1).any():
            return ""
        return (
            f"the file calls recordings {' and '.join(words)}, and all its scores lie between 0.5 and 1: if a score is the "
            "probability of the label beside it, the results are meaningless; write the probability of bona fide instead"
        )


def read_scores(path: AnyPath) -> tuple[list[str], NDArray]:
    """Read ids and scores (N,) float64, as :func:`read_score_table`."""
    return read_score_table(path)[:2]


@reading_once()
def read_score_table(path: AnyPath) -> ScoreTable:
    """Read a score file.

    Blank lines are skipped. ``nan`` and ``inf`` are numbers, ``1_0`` is not; an empty field,
    ``N/A`` and the like are ``nan``. Tabs, commas, semicolons or vertical bars may separate fields,
    a header may name columns, and a line may be a JSON object
    (:mod:`nes2net.data.corpora.id_tables`). Baselines of ASVspoof 2019 write
    ``utterance attack label score``.

    Raises:
        InputError: if the file is missing, or a line has a wrong number of fields, an id with
            control characters, or a score that is not a number; the message states file and line.
    """
    path = Path(path)
    rows, id_column, score_column = read_id_table(path, "score", SCORE_COLUMNS, is_number, LABELS, _advise_column)
    ids: list[str] = []
    numbers: list[str] = []
    lines: list[int] = []
    labels: list[str] = []
    label_columns: list[int] = []
    for line, row in rows:
        if not lines:
            label_columns = [column for column, field in enumerate(row) if field.lower() in _LABEL_WORDS]
            label_columns = [column for column in label_columns if column not in (id_column, score_column)]
        lines.append(line)
        ids.append(row[id_column])
        numbers.append(row[score_column])
        if label_columns:
            labels.append(row[label_columns[-1]].lower())
    # Check all ids and all numbers at once. If a check fails, find the first wrong line.
    if has_control("".join(ids)) or not are_floats(numbers):
        numbers = ["nan" if number.lower() in MISSING else number for number in numbers]
        for line, id, number in zip(lines, ids, numbers):
            if has_control(id):
                raise InputError(f"{path}, line {line}: the id {short_repr(id)} cannot be used: {CONTROL}")
            parse_float(number, path, line)
    if not _LABEL_WORDS.issuperset(labels):
        labels = []
    return ScoreTable(ids, np.array(list(map(float, numbers))), labels)


def _advise_column(header: Sequence[str]) -> str:
    """Suggest the column that holds scores, by the words for a class in its name."""
    label_of: dict[str, str] = {}
    for word, label in LABELS.items():
        label_of.update(dict.fromkeys([name for name in header if word in name], label))
    of_bonafide = [name for name, label in label_of.items() if label == BONAFIDE]
    if label_of and not of_bonafide:
        return f"{next(iter(label_of))} is of spoof, so negate its numbers"
    return f"{' or '.join(of_bonafide or header)}, higher for bona fide"


def is_number(field: str) -> bool:
    try:
        float(field.replace(",", "."))
    except ValueError:
        return field.lower() in MISSING
    return True


def check_ids(ids: Iterable[str]) -> None:
    """Raise :class:`InputError` unless each id is one UTF-8 word that occurs once.

    Control characters, and a byte-order mark at the start, are refused, too.
    """
    known_ids: set[str] = set()
    for id in ids:
        if id in known_ids:
            raise InputError(
                f"two trials have the id {short_repr(id)}, but a score file has one line per id: name each trial once"
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
            renamed = short_repr("%20".join(words))
            fault = f"white space separates id and score there; rename the trial, for example to {renamed}"
        elif has_control(id):
            fault = CONTROL
        elif id.startswith("\ufeff"):
            fault = "readers drop the byte-order mark (U+FEFF) at its start; remove it from the protocol"
        if fault:
            raise InputError(f"a score file cannot hold the id {short_repr(id)}: {fault}")
