"""Write the tables of published results and detectors into a page of the manual.

``python scripts/site/published.py docs/published.md`` writes them again, between their marks.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from marked import filled

from nes2net.apps.info.names import architecture
from nes2net.lib.terminal import markdown_table
from nes2net.models.published_models import PUBLISHED, PUBLISHED_MODELS
from nes2net.models.published_results import published_tables
from nes2net.models.published_tables import LEGEND, number_notes, reproduction_rows, system_rows


def page(text: str) -> str:
    """Replace the tables in the page ``text`` by the current tables."""
    return filled(text, {"results": results(), **detectors()})


def results() -> str:
    """Write the tables of published results, their notes, and how each is measured again."""
    tables = published_tables()
    numbers = number_notes(tables)
    blocks = ["\n".join(wrapped(f"- *{sign}*: {meaning}.", 2) for sign, meaning in LEGEND.items())]
    for table in tables:
        blocks += [f"### {table.title}", *map(wrapped, (table.about, *table.notes))]
        blocks += [markdown(system_rows(table, numbers))] if table.systems else []
    ways = []
    for row in reproduction_rows(tables):
        recipe = row["recipe"]
        address = row["checkpoint or code"]
        link = f"[{re.sub(r'^https://(github.com/)?', '', address)}]({address})" if address else ""
        ways.append(row | {"recipe": f"`{recipe}`" if recipe else "", "checkpoint or code": link})
    blocks += ["### Notes", "\n".join(wrapped(f"{number}. {note}", 4) for note, number in numbers.items())]
    return "\n\n".join([*blocks, "### How they are measured again", markdown(ways)])


def detectors() -> dict[str, str]:
    """Write the tables of published detectors: name of a mark in the page → table."""
    architectures = [
        {
            "detector": f"`{name}`",
            "front-end + aggregation + back-end": f"`{architecture(PUBLISHED_MODELS[name])}`",
            "scored as published": row.scored,
            "as stated in": row.scored_in or "nothing public",
        }
        for name, row in PUBLISHED.items()
    ]
    licences = [
        {
            "detector": f"`{name}`",
            "licence of the weights": f"**{row.licence}**" if row.non_commercial else row.licence,
            "of the code": row.code_licence,
            "trained on": ", ".join(row.trained_on) or "not known",
            "epoch selected on": ", ".join(row.selected_on) or "not known",
            "source": row.source,
        }
        for name, row in PUBLISHED.items()
    ]
    by_note: dict[str, list[str]] = {}
    for name, row in PUBLISHED.items():
        for note in row.notes:
            by_note.setdefault(note, []).append(f"`{name}`")
    return {
        "architectures": markdown(architectures),
        "licences": markdown(licences),
        "notes": "\n".join(f"- {', '.join(names)}: {note}." for note, names in by_note.items()),
    }


def wrapped(text: str, indent: int = 0) -> str:
    """Wrap a paragraph at 100 characters; its later lines are indented."""
    return textwrap.fill(text, 100, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Write rows, each a mapping of headings to cells, as a Markdown table."""
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows]).replace("---:", "---")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
