"""The tables of published results, for ``nes2net info published`` and the manual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nes2net.models.published_results import PublishedRow, PublishedTable

#: Heading or sign in the tables → its meaning.
LEGEND = {
    "figures": "EER in % of the best training run; in parentheses, the mean over the runs",
    "front-end": "front-end, as the source names it",
    "params": "number of parameters of the back-end, as the source counts them",
    "avg.": "number of averaged checkpoints; N/A for a single checkpoint",
    "‡": "a fusion of several systems",
    "recipe": "packaged recipe that trains the system",
    "code": "address of the authors' checkpoint or code; only for networks that nes2net implements",
    "–": "not stated in the source; in the columns recipe, code and notes: there is none",
}


def number_notes(tables: Sequence[PublishedTable]) -> dict[str, int]:
    """Number the notes of the results from 1, in order of first use: text → number."""
    notes = dict.fromkeys(note for table in tables for row in table.rows for note in row.remarks)
    return {note: number for number, note in enumerate(notes, start=1)}


def system_rows(table: PublishedTable, numbers: dict[str, int]) -> list[dict[str, str]]:
    """Make a row (heading → text) for each system: facts, figures, and ``numbers`` of its notes."""
    rows = []
    for results in table.systems:
        # Facts about the system are taken from its result with the most ways to measure it again.
        row = max(results.values(), key=lambda result: len(result.ways))
        notes = sorted({numbers[note] for result in results.values() for note in result.remarks})
        cells = {
            "system": _label(row),
            "front-end": row.reported_frontend or "",
            "params": f"{round(row.parameters / 1000):,}k" if row.parameters is not None else "",
            "avg.": {None: "", 1: "N/A"}.get(row.averaged, str(row.averaged)),
            **{heading: results[test].cell if test in results else "" for test, heading in table.columns.items()},
            "recipe": " ".join([Path(row.recipe).stem, *row.overrides]) if row.recipe else "",
            "code": row.checkpoint or "" if "checkpoint" in row.ways else "",
            "notes": ", ".join(map(str, notes)),
        }
        rows.append({heading: cell or "–" for heading, cell in cells.items()})
    return rows


def _label(row: PublishedRow) -> str:
    label = row.label or row.system
    return f"{label}‡" if row.fusion else label
