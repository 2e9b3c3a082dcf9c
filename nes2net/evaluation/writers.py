"""Write tables of figures as text for a terminal, as Markdown and as LaTeX; pages show the same cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from nes2net.evaluation.tables import MAX_LINES, Figure, Measure, Row, Table, words
from nes2net.lib.output.terminal import markdown_table, markdown_text, printable_name, text_table


class Cell(NamedTuple):
    """A cell of a table, as text."""

    text: str
    is_best: bool = False
    """Whether it is the best figure of its column."""
    details: tuple[str, ...] = ()
    """An interval and further figures, beside or below ``text``."""
    heat: int | None = None
    """Percent of the highest figure of the measure; a page gives higher ones a stronger background."""

    @property
    def text_with_details(self) -> str:
        """The text, with its details in parentheses."""
        if not self.details:
            return self.text
        return f"{self.text} ({', '.join(self.details)})"


class Grid(NamedTuple):
    """The head and the cells of a table, as shown."""

    head: list[str]
    rows: list[list[Cell]]
    num_labels: int
    """Number of label columns, which come first."""


def grid(table: Table, *, in_text: bool = False) -> Grid:
    """Turn ``table`` into cells, without rows of too few trials; empty without figures.

    A measure without figures has no column. Without ``in_text``, each value of ``table.across`` has one.
    """
    measures = [
        measure for measure in table.measures if any(row[measure.name].value is not None for row in table.shown)
    ]
    if not measures:
        return Grid([], [], 0)
    if table.across in table.labels and not in_text:
        return _crossed_grid(table, measures)
    head = [*map(words, table.labels), *(measure.heading for measure in measures)]
    rows = []
    for row in table.shown:
        cells = [_cell(table, measure, row[measure.name], in_text=in_text) for measure in measures]
        rows.append([*(Cell(row.labels[name]) for name in table.labels), *cells])
    return Grid(head, rows, len(table.labels))


def _cell(table: Table, measure: Measure, figure: Figure, *, in_text: bool = False) -> Cell:
    details = () if figure.interval is None else (measure.write_interval(figure.interval),)
    heat = None
    if measure.has_heat and figure.value is not None:
        # Not 0: this figure is one of them; if it is 0 or less, there is no heat.
        highest = max(row[measure.name].value or 0.0 for row in table.shown)
        heat = round(100 * figure.value / highest) if figure.value > 0 else 0
    text = measure.write(figure.value, in_text=in_text)
    if figure.is_bound:
        text = f"≤ {text}"
    return Cell(text, figure.is_best, details, heat)


def _details(row: Row, measures: Sequence[Measure]) -> Iterator[str]:
    for measure in measures:
        value = row[measure.name].value
        if value is not None:
            yield f"{measure.heading} {measure.write(value)}"


def _crossed_grid(table: Table, measures: Sequence[Measure]) -> Grid:
    """Give each value of ``table.across`` a column, with figures of the first measure.

    A further measure has one column if it is the same for all values; else it is added to cells as details.
    """
    # Each group of rows that differ only in ``table.across`` becomes a row.
    names = [name for name in table.labels if name != table.across]
    columns = list(dict.fromkeys(row.labels[table.across] for row in table.shown))
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in table.shown:
        group = groups.setdefault(tuple(row.labels[name] for name in names), {})
        group[row.labels[table.across]] = row
    # A common measure has the same figure in all rows of each group; a differing one does not.
    main, *details_of = measures
    common: list[Measure] = []
    differing: list[Measure] = []
    for measure in details_of:
        if all(len({row[measure.name].value for row in group.values()}) == 1 for group in groups.values()):
            common.append(measure)
        else:
            differing.append(measure)
    rows = []
    for values, group in groups.items():
        cells = list(map(Cell, values))
        for column in columns:
            cell = Cell("–")
            if column in group:
                cell = _cell(table, main, group[column][main.name])
                cell = cell._replace(details=(*cell.details, *_details(group[column], differing)))
            cells.append(cell)
        first = next(iter(group.values()))
        rows.append([*cells, *(_cell(table, measure, first[measure.name]) for measure in common)])
    return Grid([*map(words, names), *columns, *(measure.heading for measure in common)], rows, len(names))


def text_lines(table: Table) -> list[str]:
    """Write ``table`` for a terminal; without rows or with more than 150, only caption and notes.

    Intervals have a column if only one measure has any, or are below figures.
    """
    layout = grid(table, in_text=True)
    if len(layout.rows) > MAX_LINES:
        return [f"{table.caption} {len(layout.rows)} rows, which the page and the JSON hold.", *table.notes]
    if not layout.rows:
        return [table.caption, *table.notes]
    with_details = [number for number in range(len(layout.head)) if any(row[number].details for row in layout.rows)]
    lines = [layout.head]
    for row in layout.rows:
        texts = [cell.text for cell in row]
        intervals = [" ".join(cell.details) for cell in row]
        lines.append(texts)
        if len(with_details) == 1:
            texts.insert(with_details[0] + 1, intervals[with_details[0]] or "–")
        elif any(intervals):
            lines.append(intervals)
    if len(with_details) == 1:
        layout.head.insert(with_details[0] + 1, "95 % interval")  # `lines` begins with it
    return [table.caption, *text_table(lines, "l" * layout.num_labels + "r"), *table.notes]


def markdown(tables: Iterable[Table], notices: Iterable[str] = ()) -> str:
    """Write ``tables`` in GitHub's Markdown, with the best in bold, then ``notices``."""
    texts = []
    for table in tables:
        layout = grid(table)
        if layout.rows:
            rows = _cell_texts(layout, markdown_text, "**{}**")
            texts += [markdown_text(table.caption), markdown_table(list(map(markdown_text, layout.head)), rows)]
        texts += map(markdown_text, table.notes)
    texts += [f"Note: {markdown_text(notice)}." for notice in notices]
    return "\n\n".join(texts) + "\n"


def latex(tables: Iterable[Table], notices: Iterable[str] = (), title: str = "") -> str:
    """Write ``tables`` in LaTeX with booktabs, with the best in bold, then ``notices``; labels begin with ``title``."""
    lines = [r"% Needs \usepackage{booktabs} in the preamble."]
    for table in tables:
        layout = grid(table)
        if not layout.rows:
            continue
        alignment = "l" * layout.num_labels + "r" * (len(layout.head) - layout.num_labels)
        lines += [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex_text(' '.join([table.caption, *table.notes]))}}}",
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            rf"    {' & '.join(map(latex_text, layout.head))} \\",
            r"    \midrule",
            *(rf"    {' & '.join(row)} \\" for row in _cell_texts(layout, latex_text, r"\textbf{{{}}}")),
            r"    \bottomrule",
            r"  \end{tabular}",
            rf"  \label{{tab:{re.sub('[^a-z0-9]+', '-', f'{title} {table.name}'.lower()).strip('-')}}}",
            r"\end{table}",
        ]
    lines += [rf"\par\noindent Note: {latex_text(notice)}.\par" for notice in notices]
    return "\n".join(lines) + "\n"


def _cell_texts(layout: Grid, escape: Callable[[str], str], best_form: str) -> list[list[str]]:
    rows = []
    for row in layout.rows:
        texts = []
        for cell in row:
            text = escape(cell.text_with_details)
            texts.append(best_form.format(text) if cell.is_best else text)
        rows.append(texts)
    return rows


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
        "[": "{[}",  # without braces, LaTeX would read a bracket after \\ as an option
        "*": "{*}",  # without braces, LaTeX would read a star after \\ as an option
        "\0": "{}",
        "`": r"\textasciigrave{}",
        "'": r"\textquotesingle{}",
        "−": "$-$",
        "–": "--",
        "½": r"$\frac12$",
        "≤": r"$\leq$",
        "\N{NARROW NO-BREAK SPACE}": r"\,",
    }
)


def latex_text(text: str) -> str:
    r"""Escape characters that have a meaning in LaTeX.

    >>> latex_text("50 % of a_b & c\\d")
    '50 \\% of a\\_b \\& c\\textbackslash{}d'
    """
    # LaTeX would print two hyphens as a dash: _LATEX puts {} for \0 between them.
    return re.sub("-(?=-)", "-\0", printable_name(text)).translate(_LATEX)
