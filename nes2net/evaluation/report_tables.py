"""The tables of a report, for its page, and in LaTeX and Markdown for a paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nes2net.evaluation.breakdown import OFFICIAL, Row
from nes2net.evaluation.compare import Report, format_p
from nes2net.evaluation.evaluate import Evaluation, percent, percent_interval, points
from nes2net.evaluation.key import describe_excluded
from nes2net.evaluation.transfer import TransferTable
from nes2net.evaluation.transfer_tables import tables_of
from nes2net.machine.terminal import markdown_table, printable_name
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.registry import corpora


@dataclass(frozen=True)
class Cell:
    """A text, whether its figure is the best among the systems, and its interval as text."""

    text: str
    best: bool = False
    interval: str = ""

    @property
    def whole(self) -> str:
        """The text with its interval in parentheses."""
        return f"{self.text} ({self.interval})" if self.interval else self.text


@dataclass(frozen=True)
class ReportTable:
    """A table whose first column holds names, and the others figures; ``note`` says more about them."""

    caption: str
    head: list[str]
    rows: list[list[Cell]]
    note: str = ""


@dataclass(frozen=True)
class SystemRows:
    """The rows of one system in a breakdown, by their values of the breakdown's fields."""

    name: str
    rows: dict[tuple[str, ...], Row]

    @property
    def worst(self) -> float:
        """The highest EER."""
        return max((row.eer for row in self.rows.values() if row.eer is not None), default=0)

    def values(self, position: int) -> list[str]:
        """The values of the field at ``position``, sorted."""
        return sorted({values[position] for values in self.rows})


@dataclass(frozen=True)
class Breakdown:
    """A breakdown of all systems that have it."""

    fields: tuple[str, ...]
    systems: list[SystemRows]

    @property
    def title(self) -> str:
        """Its heading."""
        return "Official table" if self.fields == OFFICIAL else "By " + " and ".join(map(words, self.fields))

    @property
    def longest(self) -> int:
        """The largest number of rows of a system."""
        return max(len(system.rows) for system in self.systems)

    @property
    def worst(self) -> float:
        """The highest EER of all systems."""
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

    def eers(self, values: tuple[str, ...], mark: bool) -> list[Cell]:
        """The EER in % of each system in the row of ``values``; ``mark`` the best ones."""
        found = [system.rows.get(values) for system in self.systems]
        return _column([row.eer if row else None for row in found], percent, mark)


def breakdowns(systems: Sequence[Evaluation]) -> list[Breakdown]:
    """Collect the breakdowns of ``systems``."""
    return [
        Breakdown(
            fields,
            [
                SystemRows(system.system, {tuple(row.group.values()): row for row in rows})
                for system in systems
                if (rows := system.rows(*fields))
            ],
        )
        for fields in dict.fromkeys(table.fields for system in systems for table in system.tables)
    ]


def title_of(report: Report) -> str:
    """Name the corpus and the phase of ``report``."""
    return f"{corpora.get(report.corpus).title}, {report.phase}"


def same_trials(systems: Sequence[Evaluation]) -> bool:
    """Whether several systems rest on the same trials, so that one can be the best."""
    if len(systems) < 2:
        return False
    ids = {trial.id for trial in systems[0].matched.trials}
    return all(ids == {trial.id for trial in system.matched.trials} for system in systems[1:])


def summary(report: Report) -> ReportTable:
    """The pooled figures of the systems; the best figure of each column is marked."""
    systems, mark = report.systems, same_trials(report.systems)
    columns = {"EER %": _column([system.eer for system in systems], percent, mark)}
    columns["95 % interval"] = [Cell(percent_interval(system.interval)) for system in systems]
    if any(system.min_tdcf is not None for system in systems):
        columns["min t-DCF"] = _column([system.min_tdcf for system in systems], cost, mark)
    columns["minDCF"] = _column([system.min_dcf for system in systems], cost, mark)
    columns["trials"] = [Cell(count(system.num_bonafide + system.num_spoof)) for system in systems]
    first = systems[0]
    excluded = f", without {describe_excluded(first.excluded)}" if first.excluded else ""
    caption = f"{title_of(report)}{excluded}. minDCF with the costs of {first.min_dcf_costs}."
    return _table(caption, "system", [system.system for system in systems], columns.items())


def calibration(report: Report) -> ReportTable:
    """The figures that read scores as log-likelihood ratios; the best one is marked."""
    systems, mark = report.systems, same_trials(report.systems)
    columns = {
        "actDCF": _column([system.act_dcf for system in systems], cost, mark),
        "Cllr, bits": _column([system.cllr for system in systems], cost, mark),
    }
    caption = f"Scores read as log-likelihood ratios. actDCF with the costs of {ASVSPOOF5_COSTS}."
    return _table(caption, "system", [system.system for system in systems], columns.items())


def transfer_tables(transfers: Iterable[TransferTable]) -> list[ReportTable]:
    """The error rates at the transferred threshold, the costs of the ratios, and the sets of one class."""
    return [
        ReportTable(
            one.caption,
            one.head,
            [
                [Cell(name), *(Cell(text, interval=interval) for text, interval in figures)]
                for name, figures in one.rows
            ],
            one.note,
        )
        for table in transfers
        for one in tables_of(table)
    ]


def paper_tables(report: Report) -> list[ReportTable]:
    """The tables that a paper may want.

    They are pooled figures, those at the transferred threshold, differences, breakdowns by one field.
    """
    systems, mark = report.systems, same_trials(report.systems)
    tables = [summary(report), calibration(report)] if systems else []
    tables += transfer_tables(report.transfers)
    if report.pairs:
        columns = {
            "difference": [Cell(points(pair.difference)) for pair in report.pairs],
            "95 % interval": [Cell(" to ".join(map(points, pair.interval))) for pair in report.pairs],
            "p": [Cell(format_p(pair.p_value)) for pair in report.pairs],
        }
        names = [f"{pair.first} − {pair.second}" for pair in report.pairs]
        tables.append(_table("EER differences in percent points.", "systems", names, columns.items()))
    for breakdown in breakdowns(systems):
        if len(breakdown.fields) == 1:
            eers = [breakdown.eers(values, mark) for values in breakdown.largest]
            # Pairs, not a mapping: a system may have the name of another column.
            figures = [
                (system.name if len(systems) > 1 else "EER %", [row[number] for row in eers])
                for number, system in enumerate(breakdown.systems)
            ]
            figures.append(("bona fide", [Cell(count(row.num_bonafide)) for row in breakdown.largest.values()]))
            figures.append(("spoof", [Cell(count(row.num_spoof)) for row in breakdown.largest.values()]))
            names = [values[0] for values in breakdown.largest]
            caption = f"{title_of(report)}: EER in %, {breakdown.title[0].lower()}{breakdown.title[1:]}."
            tables.append(_table(caption, words(breakdown.fields[0]), names, figures))
    return tables


def markdown(report: Report) -> str:
    """Write :func:`paper_tables` in Markdown."""
    return markdown_tables(paper_tables(report))


def markdown_tables(tables: Iterable[ReportTable]) -> str:
    """Write ``tables`` in Markdown (GitHub's), the best figures in bold."""

    def cell(cell: Cell) -> str:
        return f"**{markdown_text(cell.whole)}**" if cell.best else markdown_text(cell.whole)

    texts = [
        f"{markdown_text(table.caption)}\n\n"
        + markdown_table([markdown_text(text) for text in table.head], [list(map(cell, row)) for row in table.rows])
        for table in tables
    ]
    return "\n\n".join(texts) + "\n"


def latex(report: Report) -> str:
    """Write :func:`paper_tables` in LaTeX."""
    return latex_tables(paper_tables(report))


def latex_tables(tables: Iterable[ReportTable]) -> str:
    """Write ``tables`` in LaTeX with the package booktabs, the best figures in bold."""

    def cell(cell: Cell) -> str:
        return rf"\textbf{{{latex_text(cell.whole)}}}" if cell.best else latex_text(cell.whole)

    lines = [r"% Needs \usepackage{booktabs} in the preamble."]
    for table in tables:
        lines += [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex_text(table.caption)}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"    \toprule",
            rf"    {' & '.join(map(latex_text, table.head))} \\",
            r"    \midrule",
            *(rf"    {' & '.join(map(cell, row))} \\" for row in table.rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


_LATEX = str.maketrans(
    {
        **{special: rf"\{special}" for special in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"{\char34}",
        "[": "{[}",  # after \\ a bracket would begin an option
        "*": "{*}",  # and a star would be one
        "\0": "{}",
        "`": r"\textasciigrave{}",
        "'": r"\textquotesingle{}",
        "−": "$-$",
        "–": "--",
        "½": r"$\frac12$",
        "\N{NARROW NO-BREAK SPACE}": r"\,",
    }
)


def latex_text(text: str) -> str:
    r"""Escape ``text`` for LaTeX.

    >>> latex_text("50 % of a_b & c\\d")
    '50 \\% of a\\_b \\& c\\textbackslash{}d'
    """
    return re.sub("-(?=-)", "-\0", printable_name(text)).translate(_LATEX)  # two hyphens would be a dash


def markdown_text(text: str) -> str:
    r"""Escape ``text`` for a cell of a Markdown table.

    >>> markdown_text("a|b *c* <d>")
    'a\\|b \\*c\\* \\<d\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", printable_name(text))


def words(field: str) -> str:
    """Write the name of a field as words."""
    return field.replace("_", " ")


def cost(cost: float | None, absent: str = "–") -> str:
    """Write a cost."""
    return absent if cost is None else f"{cost:.4f}"


def count(number: int) -> str:
    """Write a number with its thousands apart."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _column(values: Sequence[float | None], write: Callable[[float | None], str], mark: bool) -> list[Cell]:
    """Write ``values``, of which lower is better. All that read like the best are marked."""
    known = [value for value in values if value is not None]
    best = write(min(known)) if mark and len(known) > 1 else None
    return [Cell(text, text == best) for text in map(write, values)]


def _table(caption: str, first: str, names: Sequence[str], columns: Iterable[tuple[str, list[Cell]]]) -> ReportTable:
    heads, cells = zip(*columns)
    return ReportTable(caption, [first, *heads], [[Cell(name), *row] for name, row in zip(names, zip(*cells))])


def _num_trials(row: Row) -> int:
    return row.num_bonafide + row.num_spoof
