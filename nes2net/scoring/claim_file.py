"""Score files of claims: a person, a recording, and the scores ``cm``, ``asv`` and ``sasv``.

The form of ASVspoof 5, track 2, has the header ``spk filename cm-score asv-score sasv-score`` with
tabs; ``-`` stands for all scores of a column that a system does not have. Two forms without header
have one score: ``speaker file attack key score`` of SASV 2022, and ``speaker file score key`` of the
package of the a-DCF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.id_tables import column_name, delimiter_of, first_line, open_rows
from nes2net.data.corpora.trial import CLAIMS, claim_id
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.text_files import parse_float, reading_once
from nes2net.scoring.score_file import MISSING, is_number

#: The scores of a claim; all are higher for accept.
KINDS = ("cm", "asv", "sasv")
HEADER = "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"
_COLUMNS = tuple(f"{kind}_score" for kind in KINDS)
# Number of columns → their names in a file without header.
_FORMS = {
    4: ("spk", "filename", "sasv_score", "claim"),
    5: ("spk", "filename", "attack", "claim", "sasv_score"),
}


class ClaimTable(NamedTuple):
    """A score file of claims, in its order."""

    ids: list[str]
    scores: NDArray
    """(N, 3) float64: ``KINDS``; a column that the file does not have is NaN."""


def begins_claims(line: str) -> bool:
    """Whether ``line``, the first of a file, is one of a score file of claims."""
    return bool(_columns_of([field.strip() for field in line.split(delimiter_of(line))]))


def _columns_of(fields: Sequence[str]) -> Sequence[str]:
    """Name the columns by the first line; empty if it is no line of scores of claims."""
    header = list(map(column_name, fields))
    if {"spk", "filename"}.issubset(header) and not {"asv_score", "sasv_score"}.isdisjoint(header):
        return header
    form = _FORMS.get(len(fields), ())
    if form and fields[3] in CLAIMS and is_number(fields[form.index("sasv_score")]):
        return form
    return ()


@reading_once()
def read_claim_table(path: Path) -> ClaimTable:
    """Read a score file of claims.

    Raises:
        InputError: if it is malformed, a column has some of its scores only, or there are no scores;
            the message states file and line.
    """
    fields, rows, _ = open_rows(path, first_line(path), "score", is_number)
    columns = _columns_of(fields)
    if not columns:
        raise InputError(
            f"{path}, line 1: {short_repr(' '.join(fields))} is no line of scores of claims: expected the columns "
            f"{', '.join(HEADER.split())}"
        )
    if "filename" in map(column_name, fields):
        next(rows)
    ids: list[str] = []
    lines: list[int] = []
    values: list[list[float]] = []
    for line, row in rows:
        cells = dict(zip(columns, map(str.strip, row)))
        ids.append(claim_id(cells["spk"], "%20".join(cells["filename"].split())))
        lines.append(line)
        values.append([_score(cells.get(column, "-"), path, line) for column in _COLUMNS])
    scores = np.array(values).reshape(-1, len(KINDS))
    is_missing = np.isnan(scores)
    if is_missing.all():
        raise InputError(f"{path}: has no scores; expected one for each claim: score again")
    for kind, column in zip(KINDS, is_missing.T):
        if column.any() and not column.all():
            line = lines[int(column.argmax())]
            raise InputError(
                f"{path}, line {line}: no {kind} score, but other lines have one: give a column all its scores, or none"
            )
    return ClaimTable(ids, scores)


def _score(word: str, path: Path, line: int) -> float:
    return math.nan if word.lower() in MISSING else parse_float(word, path, line)
