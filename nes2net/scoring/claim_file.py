"""Score files of claims: a person, a recording, and the scores ``cm``, ``asv`` and ``sasv``.

The form of ASVspoof 5, track 2, has the header ``spk filename cm-score asv-score sasv-score`` with
tabs; ``-`` stands for all scores of a column that a system does not have. Two forms without header
have one score: ``speaker file attack key score`` of SASV 2022, and ``speaker file score key`` of the
package of the a-DCF.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.claims import CLAIMS, claim_id
from nes2net.data.corpora.id_tables import ID_COLUMNS, column_name, column_of, delimiter_of, first_line, open_rows
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.text_files import parse_float, reading_once
from nes2net.scoring.score_file import MISSING, is_number

#: The scores of a claim; all are higher for accept.
KINDS = ("cm", "asv", "sasv")
HEADER = "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"
_PERSON = ("spk", "speaker", "person", "model")
_NAMES = {"cm": ("cm_score", "cm"), "asv": ("asv_score", "asv"), "sasv": ("sasv_score", "sasv")}


class ClaimTable(NamedTuple):
    """A score file of claims, in its order."""

    ids: list[str]
    scores: NDArray
    """(N, 3) float64: ``KINDS``; a column that the file does not have is NaN."""
    claims: Sequence[str] = ()
    """What the file itself calls each claim, if it does."""


class _Columns(NamedTuple):
    person: int
    recording: int
    scores: dict[str, int]
    """Kind → column."""
    claim: int | None = None
    has_header: bool = False


def begins_claims(line: str) -> bool:
    """Whether ``line``, the first of a file, is one of a score file of claims."""
    return _columns_of(_fields_of(line)) is not None


def _fields_of(line: str) -> list[str]:
    return [field.strip() for field in line.split(delimiter_of(line))]


def _columns_of(fields: Sequence[str]) -> _Columns | None:
    header = list(map(column_name, fields))
    person = column_of(header, _PERSON)
    scores = {kind: number for kind in KINDS if (number := column_of(header, _NAMES[kind])) is not None}
    recording = column_of(header, ID_COLUMNS)
    if person is not None and recording is not None and scores.keys() & {"asv", "sasv"}:
        return _Columns(person, recording, scores, has_header=True)
    # Both forms without header name the claim in the fourth field.
    if len(fields) in (4, 5) and fields[3] in CLAIMS:
        score = 2 if len(fields) == 4 else 4
        if is_number(fields[score]):
            return _Columns(0, 1, {"sasv": score}, claim=3)
    return None


@reading_once()
def read_claim_table(path: Path) -> ClaimTable:
    """Read a score file of claims.

    Raises:
        InputError: if it is malformed, a column has some of its scores only, or there are no rows;
            the message states file and line.
    """
    fields, rows, _ = open_rows(path, first_line(path), "score", is_number)
    columns = _columns_of(fields)
    if columns is None:
        raise InputError(
            f"{path}, line 1: {short_repr(' '.join(fields))} is no line of scores of claims: expected the columns "
            f"{', '.join(HEADER.split())}"
        )
    if columns.has_header:
        next(rows)
    ids: list[str] = []
    claims: list[str] = []
    values: dict[str, list[str]] = {kind: [] for kind in columns.scores}
    lines: list[int] = []
    for line, row in rows:
        lines.append(line)
        recording = "%20".join(row[columns.recording].split())
        ids.append(claim_id(row[columns.person].strip(), recording))
        for kind, column in columns.scores.items():
            values[kind].append(row[column].strip())
        if columns.claim is not None:
            claims.append(row[columns.claim])
    if not ids:
        raise InputError(f"{path}: has no rows; expected one for each claim: score again")
    scores = np.full((len(ids), len(KINDS)), np.nan)
    for kind, words in values.items():
        is_missing = [word.lower() in MISSING for word in words]
        if all(is_missing):
            continue
        if any(is_missing):
            line = lines[is_missing.index(True)]
            raise InputError(
                f"{path}, line {line}: no {kind} score, but other lines have one: give a column all its scores, or none"
            )
        scores[:, KINDS.index(kind)] = [parse_float(word, path, line) for word, line in zip(words, lines)]
    return ClaimTable(ids, scores, claims)
