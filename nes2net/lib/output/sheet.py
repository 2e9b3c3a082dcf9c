"""Describe a thing by facts and tables, as text for a terminal or as plain data for JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeAlias

from nes2net.lib.output.terminal import printable_name, table_line, wrap_text

#: Plain data about a thing: name → text, number or list.
Facts: TypeAlias = Mapping[str, Any]
#: Facts that may be changed or extended.
FactsDict: TypeAlias = dict[str, Any]
#: Heading → rows with the same columns.
Tables: TypeAlias = Mapping[str, Sequence[Facts]]
#: Largest number of characters in a line of text.
WIDTH = 100
_AS_WRITTEN = ("value", "default")  # columns with values of a recipe, which are written as JSON


@dataclass
class Sheet:
    """The description of one thing.

    >>> options = [{"option": "a", "default": 1}]
    >>> sheet = Sheet("sea: aggregation", {"parameters": 1234}, tables={"options": options})
    >>> print(sheet.text())
    sea: aggregation
      parameters  1,234
    <BLANKLINE>
    options
      option  default
      a       1
    >>> sheet.to_dict()
    {'title': 'sea: aggregation', 'parameters': 1234, 'options': [{'option': 'a', 'default': 1}]}
    """

    title: str
    facts: Facts = field(default_factory=dict)
    """Empty ones are not shown."""
    notes: str = ""
    """Text that is shown without wrapping."""
    tables: Tables = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    """Commands to type next."""
    brief: bool = False
    """See :func:`table`."""

    def text(self) -> str:
        """Write the description for a terminal, wrapped at 100 columns."""
        facts = {heading: value for heading, value in self.facts.items() if value not in ("", None, [])}
        width = max(map(len, facts), default=0)
        lines = wrap_text(printable_name(self.title), "", "  ", WIDTH)
        for heading, value in facts.items():
            items = value if isinstance(value, list) else [value]
            for number, item in enumerate(items):
                start = "" if number else printable_name(heading)
                lines += wrap_text(
                    printable_name(format_value(item)), f"  {start:<{width}}  ", " " * (width + 4), WIDTH
                )
        if self.notes:
            lines += ["", *map(printable_name, self.notes.splitlines())]
        for heading, rows in self.tables.items():
            if rows:
                lines += ["", printable_name(heading), *table(rows, self.brief)]
        if self.commands:
            lines += ["", *(f"  {printable_name(command)}" for command in self.commands)]
        return "\n".join(lines)

    def to_dict(self) -> Facts:
        """Return plain data for JSON, without empty entries."""
        content = {"title": self.title, **self.facts, "notes": self.notes, **self.tables, "next": self.commands}
        return {key: value for key, value in content.items() if value not in ("", None, [])}


def table(rows: Sequence[Facts], brief: bool = False) -> list[str]:
    """Lay out ``rows``, at least one, in columns below their headings; omit empty columns, and wrap the widest.

    Args:
        brief: no headings, and one line for each row; only for two columns that are not empty.
    """
    columns = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
    cells = [[_cell_text(name, row[name]) for name in columns] for row in rows]
    if brief:
        room = (
            WIDTH
            - 4
            - max(  # 4: two spaces before each column
                len(name) for name, _ in cells
            )
        )
        cells = [[name, textwrap.shorten(text, room, placeholder=" …")] for name, text in cells]
    else:
        cells.insert(0, columns)
    widths = _column_widths(cells)
    # Numbers stand at the right of their columns, texts at the left.
    aligned = ""
    for name in columns:
        is_number = name not in _AS_WRITTEN and all(isinstance(row[name], (int, float)) for row in rows)
        aligned += "r" if is_number else "l"
    lines = []
    for row in cells:
        wrapped = [
            textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]
            for cell, width in zip(row, widths)
        ]
        lines += ["  " + table_line(line, widths, aligned) for line in zip_longest(*wrapped, fillvalue="")]
    return [line.rstrip() for line in lines]


def _column_widths(cells: Sequence[Sequence[str]]) -> list[int]:
    """Narrow the widest columns until the table fits, but none below its longest word."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = [" ".join(column).split() for column in zip(*cells, strict=True)]
    longest_words = [max(map(len, words_of_column), default=0) for words_of_column in words]
    while sum(widths) + 2 * len(widths) > WIDTH:  # two spaces before each
        wide = [index for index, width in enumerate(widths) if width > longest_words[index]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _cell_text(column: str, value: object) -> str:
    if column in _AS_WRITTEN and not isinstance(value, str):
        return printable_name(json.dumps(value, ensure_ascii=False, default=str))
    return printable_name(format_value(value))


def as_json(data: object) -> str:
    """Write JSON for :func:`~nes2net.lib.output.terminal.print_output`."""
    return json.dumps(data, indent=1, ensure_ascii=False, default=str)


def format_value(value: object) -> str:
    """Write a value for people: numbers with separators, lists as in YAML, None as a dash.

    >>> [format_value(value) for value in (1234567, 2.5e-07, True, None, [8, 8], "mean", {"a": [1]})]
    ['1,234,567', '2.5e-07', 'yes', '–', '[8, 8]', 'mean', 'a: [1]']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(str(item) if isinstance(item, int) else format_value(item) for item in value)}]"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {format_value(item)}" for key, item in value.items())
    return str(value)
