"""Files of class logits: tables separated by tabs, with a row for each utterance.

The header is ``utterance`` and the names of the classes, which may contain spaces and commas. Files
of other programs may hold posteriors, and judgements of other packages other values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.id_tables import LABEL_COLUMNS, LABELS, column_name
from nes2net.lib.errors import InputError, join_names, short_repr
from nes2net.lib.storage.text_files import parse_float, text_blocks
from nes2net.scoring.score_file import SCORE_COLUMNS

#: A caution for the user that is shown beside the names of classes.
MEANING_OF_NAMES = 'a name means "most like these", which is no proof of the origin'
_ID = "utterance"
#: A row holds posteriors if its sum differs from 1 by less than this tolerance.
_POSTERIOR_TOLERANCE = 1e-3


class ClassTable(NamedTuple):
    """A file of class logits, or of another program's posteriors."""

    names: tuple[str, ...]
    """Names of the K classes."""
    ids: list[str]
    """N ids."""
    logits: NDArray
    """N×K float32."""

    @property
    def holds_posteriors(self) -> bool:
        """Whether each row sums to 1 without negative numbers."""
        return bool((self.logits >= 0).all() and (np.abs(self.logits.sum(1) - 1) < _POSTERIOR_TOLERANCE).all())


def begins_classes(line: str) -> bool:
    """Whether ``line``, the first of a file, is a header of two classes or more, and not one of scores."""
    first, *names = map(str.strip, line.split("\t"))
    # Underscores at both ends make ``in`` compare whole words. If every column has a word for bona fide or spoof, such
    # as "real" and "fake_score", the file is of one detector of fakes.
    columns = {f"_{column_name(name)}_" for name in names}
    of_scores = {f"_{name}_" for name in (*SCORE_COLUMNS, *LABEL_COLUMNS)}
    of_one_detector = {column for column in columns if any(f"_{word}_" in column for word in LABELS)}
    return first == _ID and len(names) > 1 and columns.isdisjoint(of_scores) and columns != of_one_detector


def read_class_table(path: Path, expected: Sequence[str] = ()) -> ClassTable:
    """Read a file of class logits or posteriors.

    Args:
        expected: the classes that the file must have; empty for any two or more.

    Raises:
        InputError: if the file cannot be read or has no rows, if its classes are not the expected
            classes, or if a line is malformed.
    """
    names: list[str] = []
    ids: list[str] = []
    logits = np.empty((0, 0), np.float32)
    for number, lines in text_blocks(path):
        if not names:
            header = lines.pop(0)
            first, *names = map(str.strip, header.split("\t"))
            if not expected and (first != _ID or len(set(names)) != len(names) or len(names) < 2):
                raise InputError(
                    f"{path}, line 1: expected '{_ID}' and the names of at least two classes, each once, with tabs between "
                    f"them, found {short_repr(header)}"
                )
            if expected and [first, *names] != [_ID, *map(str.strip, expected)]:
                raise InputError(
                    f"{path}: has the columns {join_names(names)}, but its record states {join_names(expected)}: restore the scored file, "
                    "or score again"
                )
            number += 1
        if not lines:
            continue
        # As in score files, %20 stands for a space in an id.
        ids += ["%20".join(line.split("\t", 1)[0].split()) for line in lines]
        # One array grows in place, because joining a list of blocks would take twice the memory.
        logits.resize((len(ids), len(names)), refcheck=False)
        logits[-len(lines) :] = _parse_logits(path, number, lines, len(names))
    if not ids:
        raise InputError(f"{path}: has no rows; expected a row of logits for each utterance: score again")
    return ClassTable(tuple(names), ids, logits)


def _parse_logits(path: Path, first_number: int, lines: Sequence[str], num_classes: int) -> NDArray:
    """Parse N ``lines``, from line ``first_number`` of the file, to logits N×K float32; raise
    InputError if one is malformed.
    """
    columns = range(1, num_classes + 1)
    if all(line.count("\t") == num_classes for line in lines):
        with contextlib.suppress(ValueError):  # if a cell is not a number, the loop below finds its line
            return np.loadtxt(lines, np.float32, delimiter="\t", usecols=columns, comments=None, ndmin=2)
    for line_number, line in enumerate(lines, start=first_number):
        cells = line.split("\t")[1:]
        if len(cells) != num_classes:
            raise InputError(
                f"{path}, line {line_number}: expected an utterance and {num_classes} numbers with tabs between them, found "
                f"{short_repr(line)}"
            )
        for cell in cells:
            parse_float(cell, path, line_number, "value")
    raise InputError(f"{path}, line {first_number} and below: a value is not a number; write numbers as 1.5 or 1e-3")
