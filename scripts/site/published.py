"""Write the tables of published results and detectors into a page of the manual.

``python scripts/site/published.py docs/published.md`` writes them again, between their marks.
"""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

from marked import filled, rewrite
from measured import read_rows

from nes2net.lib.output.terminal import markdown_table
from nes2net.models.published_models import PUBLISHED, PublishedModel
from nes2net.models.published_results import published_rows, published_tables
from nes2net.models.published_tables import LEGEND, number_notes, system_rows

#: Heading in the terminal → heading in the manual, which has more room.
HEADINGS = {"figures": "EER", "params": "back-end parameters", "avg.": "averaged checkpoints"}


def page(text: str) -> str:
    """Replace the tables in the page ``text`` by the current tables."""
    return filled(text, {"results": results(), "measured": measured(), "families": families()})


def results() -> str:
    """Write the tables of published results, and their notes."""
    tables = published_tables()
    numbers = number_notes(tables)
    blocks = ["\n".join(wrapped(f"- *{HEADINGS.get(sign, sign)}*: {meaning}.", 2) for sign, meaning in LEGEND.items())]
    for table in tables:
        blocks += [f"### {table.title}", *map(wrapped, (table.about, *table.notes))]
        rows = [
            {**row, "recipe": coded(row["recipe"]), "code": linked(row["code"])} for row in system_rows(table, numbers)
        ]
        headings = HEADINGS | {heading: f"{heading}: EER in %" for heading in table.columns.values()}
        if rows:
            head = [headings.get(heading, heading) for heading in rows[0]]
            blocks.append(left_aligned(head, [list(row.values()) for row in rows]))
    notes = "\n".join(wrapped(f"{number}. {note}", 4) for note, number in numbers.items())
    return "\n\n".join([*blocks, "### Notes", notes])


def measured() -> str:
    """Write the figures of results/*.csv beside the published ones."""
    published = {row.id: row.cell for row in published_rows()}
    cells = []
    for row in read_rows():
        figure = published.get(row["published"], "–")
        eer = round(float(row["eer"]), 2)
        interval = f"{row['low']}–{row['high']}"
        trials = f"{row['bonafide']} + {row['spoof']}"
        test = f"{row['corpus']}, {row['phase']}"
        scores = linked(row["source"])
        cells.append([row["system"], test, figure, f"{eer:.2f} ({interval})", trials, scores])
    head = [
        "system",
        "test",
        "published EER in %",
        "measured EER in % (95 % interval)",
        "bona fide + spoofed",
        "scores",
    ]
    return left_aligned(head, cells)


def families() -> str:
    """Write the table of scoring, licences and training data, in which detectors with equal facts share a row, and notes."""
    rows: dict[tuple[str, ...], dict[str, list[str]]] = {}
    by_note = defaultdict(list)
    for name, model in PUBLISHED.items():
        facts = (
            f"{score_length(model)}; {model.score_rule}",
            f"**{model.licence}**" if model.non_commercial else model.licence,
            model.code_licence,
            ", ".join(model.trained_on) or "not known",
            ", ".join(model.selected_on) or "not known",
        )
        publisher = re.split("[/,]", model.source)[0]  # a paper, a host, or an owner on the hub
        row = rows.setdefault((publisher, *facts), {"names": [], "sources": []})
        row["names"].append(name)
        row["sources"] += model.source.split(", ")
        for note in model.notes:
            by_note[note].append(name)
    head = [
        "detector",
        "scored samples; score rule",
        "licence of the weights",
        "licence of the code",
        "trained on",
        "epoch selected on",
        "source",
    ]
    cells = [
        [in_words(row["names"]), *facts, ", ".join(dict.fromkeys(row["sources"]))] for (_, *facts), row in rows.items()
    ]
    notes = "\n".join(wrapped(f"- {in_words(names)}: {note}.", 2) for note, names in by_note.items())
    return f"{left_aligned(head, cells)}\n\n{notes}"


def score_length(model: PublishedModel) -> str:
    """Write the score length of the authors in a few words, which the page explains."""
    if model.num_samples is None:
        return "whole utterance"
    if model.num_samples == "corpus":
        return "as usual for the corpus"
    return f"{'first' if model.crop == 'head' else model.crop} {model.num_samples:,}"


def in_words(names: Sequence[str]) -> str:
    """Write names of detectors; as ``prefix*`` if they are all detectors with a common prefix.

    >>> in_words(["df_arena_500m", "df_arena_1b"]), in_words(["spectra_0", "spectra_aasist", "spectra_aasist3"])
    ('`df_arena_500m`, `df_arena_1b`', '`spectra_*`')
    """
    prefix = "".join(first for first, *_ in takewhile(lambda letters: len({*letters}) == 1, zip(*names)))
    if len(names) > 2 and prefix and list(names) == [name for name in PUBLISHED if name.startswith(prefix)]:
        return f"`{prefix}*`"
    return ", ".join(f"`{name}`" for name in names)


def coded(cell: str) -> str:
    """Put a cell that is not empty in backticks."""
    return cell if cell == "–" else f"`{cell}`"


def linked(address: str) -> str:
    """Make a link of an address, without the host GitHub in its text."""
    return address if address == "–" else f"[{re.sub(r'^https://(github.com/)?', '', address)}]({address})"


def wrapped(text: str, indent: int = 0) -> str:
    """Wrap a paragraph at 100 characters; its later lines are indented."""
    return textwrap.fill(text, 100, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def left_aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table with all columns aligned to the left."""
    return markdown_table(head, rows).replace("---:", "---")


if __name__ == "__main__":
    rewrite(page)
