"""Writers of tables of figures: text for a terminal, Markdown, LaTeX; pages draw the same cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nes2net.evaluation.tables import MOST_LINES, Figure, Measure, Row, Table, words
from nes2net.lib.terminal import markdown_table, printable_name, text_table


class Cell(NamedTuple):
    """What a cell of a table says.

    ``details`` are an interval and further figures. A page draws the cell on a ground of the strength
    ``heat``, in percent; None for no ground.
    """

    text: str
    is_best: bool = False
    details: tuple[str, ...] = ()
    heat: int | None = None

    @property
    def whole(self) -> str:
        """The text with its details in parentheses."""
        if not self.details:
            return self.text
        return f"{self.text} ({', '.join(self.details)})"


class Grid(NamedTuple):
    """A table as readers see it; the first ``num_labels`` columns hold names."""

    head: list[str]
    rows: list[list[Cell]]
    num_labels: int


def grid(table: Table, *, in_text: bool = False) -> Grid:
    """Lay out the rows of ``table`` that are shown.

    Measures without any figure are left out. A terminal has a row for each row; on paper, the values
    of ``table.across`` stand side by side.
    """
    measures = [
        measure for measure in table.measures if any(row[measure.name].value is not None for row in table.shown)
    ]
    if not measures:
        return Grid([], [], 0)
    if table.across in table.labels and not in_text:
        return _crossed(table, measures)
    head = [*map(words, table.labels), *(measure.heading for measure in measures)]
    rows = []
    for row in table.shown:
        labels = [Cell(row.labels[name]) for name in table.labels]
        figures = [_cell(table, measure, row[measure.name], in_text=in_text) for measure in measures]
        rows.append(labels + figures)
    return Grid(head, rows, len(table.labels))


def _cell(table: Table, measure: Measure, figure: Figure, *, in_text: bool = False) -> Cell:
    details: tuple[str, ...] = ()
    if figure.interval is not None:
        details = (measure.write_interval(figure.interval),)
    heat = None
    if measure.has_heat and figure.value is not None:
        highest = max(row[measure.name].value or 0.0 for row in table.shown)
        heat = round(100 * figure.value / highest) if figure.value > 0 else 0
    return Cell(measure.write(figure.value, in_text=in_text), figure.is_best, details, heat)


def _crossed(table: Table, measures: Sequence[Measure]) -> Grid:
    """Put the values of ``table.across`` side by side: the first measure, and in its details those that differ there."""
    names = [name for name in table.labels if name != table.across]
    columns = list(dict.fromkeys(row.labels[table.across] for row in table.shown))
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in table.shown:
        group = groups.setdefault(tuple(row.labels[name] for name in names), {})
        group[row.labels[table.across]] = row
    main = measures[0]
    common = []
    differing = []
    for measure in measures[1:]:
        num_values = [len({row[measure.name].value for row in group.values()}) for group in groups.values()]
        if max(num_values) == 1:
            common.append(measure)
        else:
            differing.append(measure)
    rows = []
    for values, group in groups.items():
        cells = [Cell(value) for value in values]
        for column in columns:
            if column not in group:
                cells.append(Cell("–"))
                continue
            cell = _cell(table, main, group[column][main.name])
            details = list(cell.details)
            for measure in differing:
                if (value := group[column][measure.name].value) is not None:
                    details.append(f"{measure.heading} {measure.write(value)}")
            cells.append(cell._replace(details=tuple(details)))
        first = next(iter(group.values()))
        cells += [_cell(table, measure, first[measure.name]) for measure in common]
        rows.append(cells)
    head = [*map(words, names), *columns, *(measure.heading for measure in common)]
    return Grid(head, rows, len(names))


def text_lines(table: Table) -> list[str]:
    """Write ``table`` for a terminal.

    The intervals of a single measure have a column of their own; those of several stand below their figures.
    """
    layout = grid(table, in_text=True)
    if len(layout.rows) > MOST_LINES:
        return [f"{table.caption} {len(layout.rows)} rows, which the page and the JSON hold.", *table.notes]
    if not layout.rows:
        return [table.caption, *table.notes]
    with_details = [number for number in range(len(layout.head)) if any(row[number].details for row in layout.rows)]
    lines = [layout.head]
    for row in layout.rows:
        texts = [cell.text for cell in row]
        intervals = [" ".join(cell.details) for cell in row]
        if len(with_details) == 1:
            column = with_details[0] + 1
            lines.append([*texts[:column], intervals[column - 1] or "–", *texts[column:]])
        else:
            lines.append(texts)
            if any(intervals):
                lines.append(intervals)
    if len(with_details) == 1:
        column = with_details[0] + 1
        lines[0] = [*layout.head[:column], "95 % interval", *layout.head[column:]]
    return [table.caption, *text_table(lines, "l" * layout.num_labels + "r"), *table.notes]


def markdown(tables: Iterable[Table], notices: Iterable[str] = ()) -> str:
    """Write ``tables`` in Markdown (GitHub's), the best figures in bold, and notices below them."""
    texts = []
    for table in tables:
        layout = grid(table)
        head = [markdown_text(text) for text in layout.head]
        rows = [[_emphasised(markdown_text(cell.whole), cell, "**{}**") for cell in row] for row in layout.rows]
        if rows:
            texts += [markdown_text(table.caption), markdown_table(head, rows)]
        texts += [markdown_text(note) for note in table.notes]
    texts += [f"Note: {markdown_text(notice)}." for notice in notices]
    return "\n\n".join(texts) + "\n"


def latex(tables: Iterable[Table], notices: Iterable[str] = ()) -> str:
    """Write ``tables`` in LaTeX with the package booktabs, the best figures in bold, and notices below them."""
    lines = [r"% Needs \usepackage{booktabs} in the preamble."]
    for table in tables:
        layout = grid(table)
        if not layout.rows:
            continue
        rows = [[_emphasised(latex_text(cell.whole), cell, r"\textbf{{{}}}") for cell in row] for row in layout.rows]
        alignment = "l" * layout.num_labels + "r" * (len(layout.head) - layout.num_labels)
        lines += [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex_text(' '.join([table.caption, *table.notes]))}}}",
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            rf"    {' & '.join(map(latex_text, layout.head))} \\",
            r"    \midrule",
            *(rf"    {' & '.join(row)} \\" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    lines += [rf"\par\noindent Note: {latex_text(notice)}.\par" for notice in notices]
    return "\n".join(lines) + "\n"


def _emphasised(text: str, cell: Cell, form: str) -> str:
    return form.format(text) if cell.is_best else text


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
