"""The tables of published results, for ``nes2net info published`` and the manual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nes2net.models.published_results import PublishedRow, PublishedTable

#: Heading or sign in the tables → its meaning.
LEGEND = {
    "figures": "EER in %, best (mean) of the runs that the source reports; –: not reported",
    "front-end": "as the source names it",
    "params": "of the back-end, as the source counts them",
    "avg.": "checkpoints that are averaged; N/A: a single one",
    "‡": "several systems are fused",
    "here": "R: a recipe of this package trains it; C: the authors' checkpoint or code is public, and the model is here; "
    "–: only reported",
}


def number_notes(tables: Sequence[PublishedTable]) -> dict[str, int]:
    """Number the notes of the results from 1, in order of first use: text → number."""
    notes = dict.fromkeys(note for table in tables for row in table.rows for note in row.notes)
    return {note: number for number, note in enumerate(notes, start=1)}


def system_rows(table: PublishedTable, numbers: dict[str, int]) -> list[dict[str, str]]:
    """Make a row (heading → text) for each system: facts, figures, and ``numbers`` of its notes."""
    rows = []
    for results in table.systems:
        row = max(results.values(), key=lambda result: len(result.ways))
        notes = sorted({numbers[note] for result in results.values() for note in result.notes})
        num_parameters = f"{round(row.parameters / 1000):,}k" if row.parameters is not None else "–"
        cells = dict.fromkeys(table.columns.values(), "–")
        cells |= {table.columns[test]: result.cell for test, result in results.items()}
        rows.append(
            {
                "system": _label(row),
                "front-end": row.reported_frontend or "–",
                "params": num_parameters,
                "avg.": {None: "–", 1: "N/A"}.get(row.averaged, str(row.averaged)),
                **cells,
                "here": " ".join(way[0].upper() for way in row.ways) or "–",  # R or C, which LEGEND explains
                "notes": ", ".join(map(str, notes)),
            }
        )
    return rows


def reproduction_rows(tables: Sequence[PublishedTable]) -> list[dict[str, str]]:
    """Make a row (heading → text) for each system: how to measure its figures again, if possible.

    Equal rows are merged.
    """
    rows = []
    for table in tables:
        for results in table.systems:
            row = max(results.values(), key=lambda result: len(result.ways))
            recipe = checkpoint = ""
            remark = row.here or ""
            if row.recipe:
                recipe = " ".join([Path(row.recipe).stem, *row.overrides])
            if "checkpoint" in row.ways:
                checkpoint = row.checkpoint or ""
            if not row.ways:
                remark = f"Only reported. {remark}".rstrip()
            rows.append({"system": _label(row), "recipe": recipe, "checkpoint or code": checkpoint, "remark": remark})
    return list({tuple(row.items()): row for row in rows}.values())


def _label(row: PublishedRow) -> str:
    label = row.label or row.system
    return f"{label}‡" if row.fusion else label


def plain_tables(tables: Sequence[PublishedTable]) -> list[dict[str, Any]]:
    """Convert tables to plain data for JSON."""
    return [
        {
            "title": table.title,
            "about": table.about,
            "columns": table.columns,
            "notes": table.notes,
            "results": [{**asdict(row), "ways": row.ways} for row in table.rows],
        }
        for table in tables
    ]
