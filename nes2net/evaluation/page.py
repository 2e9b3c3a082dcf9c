"""A report as one HTML page without scripts or links: styles and plots are inside.

The template ``page.html.jinja`` escapes all text from files (names of systems, attacks, utterances,
paths), and the page's own policy forbids scripts and requests. The same report gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nes2net.evaluation.breakdown import OFFICIAL, Row
from nes2net.evaluation.compare import Pair, Report, format_p
from nes2net.evaluation.evaluate import Evaluation, describe_excluded, percent, percent_interval
from nes2net.evaluation.plots import det_svg, distribution_svg, series_style
from nes2net.machine.files import json_text, write_output
from nes2net.machine.terminal import printable
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.registry import corpora

# Tables of more rows start folded; matrices of more than ten times as many cells do.
_LONG = 40


def write_report(report: Report, page: str | Path | None = None, data: str | Path | None = None) -> None:
    """Write the page and the JSON of ``report``, each whole or not at all, or to a device or a pipe.

    Raises:
        InputError: if one of the files cannot be written.
    """
    if page is not None:
        write_output(page, printable(html_page(report)))
    if data is not None:
        text = json_text(report.to_dict(), indent=1, ensure_ascii=False)
        write_output(data, printable(text) + "\n")


def html_page(report: Report) -> str:
    """Make the page of ``report``."""
    environment = Environment(
        loader=PackageLoader("nes2net", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    systems = report.systems
    breakdowns = _breakdowns(systems)
    return environment.get_template("page.html.jinja").render(
        title=f"{corpora.get(report.corpus).title}, {report.phase}",
        style=Markup((files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8")),
        report=report,
        systems=systems,
        several=len(systems) > 1,
        notes=dict.fromkeys(note for system in systems for note in system.notes),
        asvspoof5_costs=ASVSPOOF5_COSTS,
        differences_by_row=_differences_by_row(report),
        det=Markup(det_svg(systems)),
        distributions=[Markup(distribution_svg(system, str(number))) for number, system in enumerate(systems)],
        by_one_field=[breakdown for breakdown in breakdowns if len(breakdown.fields) == 1],
        by_two_fields=[breakdown for breakdown in breakdowns if len(breakdown.fields) == 2],
    )


@dataclass(frozen=True)
class _SystemRows:
    """The rows of one system in a breakdown, by their values of the breakdown's fields."""

    name: str
    rows: dict[tuple[str, ...], Row]

    @property
    def worst(self) -> float:
        return max((row.eer for row in self.rows.values() if row.eer is not None), default=0)

    def values(self, position: int) -> list[str]:
        """The values of the field at ``position``, sorted."""
        return sorted({values[position] for values in self.rows})


@dataclass(frozen=True)
class _Breakdown:
    """A breakdown of all systems that have it."""

    fields: tuple[str, ...]
    systems: list[_SystemRows]

    @property
    def title(self) -> str:
        return "Official table" if self.fields == OFFICIAL else "By " + " and ".join(map(_words, self.fields))

    @property
    def open(self) -> bool | None:
        """Whether the section starts open; None if it cannot be folded."""
        longest = max(len(system.rows) for system in self.systems)
        if len(self.fields) == 1:
            return False if longest > _LONG else None
        return len(self.systems) == 1 and longest <= 10 * _LONG

    @property
    def worst(self) -> float:
        return max(system.worst for system in self.systems)

    @property
    def largest(self) -> dict[tuple[str, ...], Row]:
        """Each combination of values with the row that rests on the most trials."""
        largest: dict[tuple[str, ...], Row] = {}
        for system in self.systems:
            for values, row in system.rows.items():
                if values not in largest or _num_trials(row) > _num_trials(largest[values]):
                    largest[values] = row
        return largest


def _breakdowns(systems: Sequence[Evaluation]) -> list[_Breakdown]:
    return [
        _Breakdown(
            fields,
            [
                _SystemRows(system.system, {tuple(row.group.values()): row for row in rows})
                for system in systems
                if (rows := system.rows(*fields))
            ],
        )
        for fields in dict.fromkeys(table.fields for system in systems for table in system.tables)
    ]


def _differences_by_row(report: Report) -> dict[str, list[Pair | None]]:
    """Each system with its comparisons to all systems, in their order; None for that to itself."""
    pairs: dict[tuple[str, str], Pair] = {}
    for pair in report.pairs:
        low, high = pair.interval
        pairs[pair.first, pair.second] = pair
        pairs[pair.second, pair.first] = replace(pair, difference=-pair.difference, interval=(-high, -low))
    names = [system.system for system in report.systems]
    return {row: [pairs.get((row, column)) for column in names] for row in names}


def _num_trials(row: Row) -> int:
    return row.num_bonafide + row.num_spoof


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}".replace("-", "−")


def _cost(cost: float | None, absent: str = "–") -> str:
    return absent if cost is None else f"{cost:.4f}"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _equals_p(p_value: float) -> str:
    text = format_p(p_value)
    return text if text.startswith("<") else f"= {text}"


def _words(field: str) -> str:
    return field.replace("_", " ")


def _line_style(number: int) -> str:
    """Write the style of the line of system ``number`` in the plots as CSS."""
    colour, line = series_style(number)
    return f"{ {'-': 'solid', '--': 'dashed', '-.': 'double', ':': 'dotted'}[line] } {colour}"


_FILTERS = {
    "count": _count,
    "cost": _cost,
    "equals_p": _equals_p,
    "excluded": describe_excluded,
    "interval": percent_interval,
    "line_style": _line_style,
    "percent": percent,
    "points": _points,
    "words": _words,
}
