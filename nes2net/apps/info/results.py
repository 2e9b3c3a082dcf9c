"""Describe published results: the results about a name, one result, and the tables of all results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from nes2net.lib.output.sheet import Facts, Sheet
from nes2net.models.published_results import PublishedRow, find_row, published_rows, published_tables
from nes2net.models.published_tables import LEGEND, number_notes, system_rows

#: Protocols with another length than ``samples``.
_PROTOCOLS = {"full": "whole utterances", "unknown": "the source does not say what length is scored"}


def rows_about(names: Collection[str]) -> list[PublishedRow]:
    """List the published results of these models, recipes or corpora."""
    return [row for row in published_rows() if not {*row.models, _recipe_name(row), row.corpus}.isdisjoint(names)]


def lines_about(*names: str) -> list[str]:
    """Describe the published results of these models, recipes or corpora, in a line each."""
    return [_line(row) for row in rows_about(names)]


def _recipe_name(row: PublishedRow) -> str | None:
    return Path(row.recipe).stem if row.recipe else None


def _line(row: PublishedRow) -> str:
    released = f"; {row.obtain}" if row.released is not None else ""
    return f"{row.id}: {row.describe()}{released}"


def figure_of(row: PublishedRow) -> str:
    """Write metric, figure, test and system, for the overview."""
    figure = f"mean {row.percent(row.mean)}" if row.best is None else row.percent(row.best)
    return f"{row.metric} {figure} % on {row.test}: {row.system}"


def result_sheet(id: str) -> Sheet:
    """Describe where a result stands, how it was measured, and how it is measured again."""
    row = find_row(id, published_rows())
    facts = {
        "what": _line(row),
        "model": ", ".join(row.models),
        "recipe": _recipe_name(row),
        "measured again": ", ".join(row.ways) or "only reported",
        "here": row.here,
        "front-end": row.reported_frontend,
        "parameters": row.parameters,
        "averaged": row.averaged,
        "fusion": "several systems are fused" if row.fusion else "",
        "paper": row.paper,
        "notes": row.notes,
        "protocol": _PROTOCOLS.get(row.protocol) or f"the first {row.samples:,} samples",
        "excluded": ", ".join(f"{key} {', '.join(values)}" for key, values in row.exclude.items()),
        "average of": f"{row.average} checkpoints, best by {row.select}" if row.average > 1 else "",
        "checkpoint": row.obtain,
    }
    return Sheet(f"{id}: published result", facts, commands=[f"nes2net experiment reproduce {id} --data FOLDER"])


def published_sheet() -> Sheet:
    tables = published_tables()
    numbers = number_notes(tables)
    rows: dict[str, Sequence[Facts]] = {}
    sources = []
    for table in tables:
        rows[table.title] = systems = system_rows(table, numbers)
        for system in systems:
            # A table of a terminal has no room for recipe and address: remove them from `rows` too.
            ways = {heading: system.pop(heading) for heading in ("recipe", "code")}
            how = "; ".join(f"{heading} {cell}" for heading, cell in ways.items() if cell != "–")
            sources.append({"system": system["system"], "from": how or "only reported"})
    rows["recipes and code"] = sources
    rows["notes"] = [{"no.": number, "note": note} for note, number in numbers.items()]
    commands = [
        "nes2net info ID, what is known of one result",
        "nes2net experiment reproduce, the ids; nes2net experiment reproduce ID",
    ]
    legend = LEGEND | {table.title: [table.about, *table.notes] for table in tables}
    return Sheet("Published results", legend, tables=rows, commands=commands)
