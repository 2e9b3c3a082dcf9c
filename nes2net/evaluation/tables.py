"""Figures with their 95 % intervals, tables of them, and the writers of tables: text, Markdown, LaTeX and JSON.

Pages draw the same tables. All intervals of a result come from the same bootstrap draws.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from nes2net import metrics
from nes2net.lib.progress import bootstrap_progress
from nes2net.lib.terminal import markdown_table, printable_name, text_table
from nes2net.lib.this_process import usable_processors
from nes2net.metrics.intervals import Draws, trials_behind

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Figure(NamedTuple):
    """A figure and its 95 % bootstrap interval."""

    value: float
    interval: tuple[float, float]

    def cell(self, write: Callable[[float], str], to: str = "–") -> Cell:
        """Write the figure and both ends of its interval, with ``to`` between them."""
        return Cell(write(self.value), interval=to.join(map(write, self.interval)))


def in_this_process() -> dict[str, Any]:
    """Tell a bootstrap how it shows its progress and how many threads are this process's share."""
    return {"progress": bootstrap_progress, "num_threads": usable_processors()}


class Measured:
    """Metrics of the scores of two classes, and of resamples that all metrics share.

    Args:
        rules: name → metric. :func:`~nes2net.metrics.compute_rates` gives all its rates by their
            own names. If a metric gives several numbers, the first one counts.
        draws: as for :func:`nes2net.metrics.bootstrap_values`.

    Attributes:
        values: name → figure.
        draws: name → the figure of each resample, (R,). Two systems on the same trials have the
            same draws.
    """

    def __init__(
        self, rules: Mapping[str, Callable[..., Any]], bonafide: NDArray, spoof: NDArray, **draws: Unpack[Draws]
    ) -> None:
        self.values: dict[str, float] = {}
        for name, rule in rules.items():
            found = rule(bonafide, spoof)
            is_rates = isinstance(found, metrics.Rates)
            self.values |= found._asdict() if is_rates else {name: found[0] if isinstance(found, tuple) else found}
        columns = metrics.bootstrap_values(list(rules.values()), bonafide, spoof, **in_this_process(), **draws).T
        self.draws: dict[str, NDArray] = dict(zip(self.values, columns))
        self._numbers = trials_behind(bonafide.size, spoof.size)

    def figure(self, name: str) -> Figure:
        """A metric by its name, with the interval of a rate if it is one."""
        value, draws = self.values[name], self.draws[name]
        if name in self._numbers:
            return Figure(value, metrics.rate_interval(value, draws, self._numbers[name]))
        return Figure(value, metrics.percentiles(draws, 0.95))

    def difference(self, first: str, second: str) -> Figure:
        """The difference of two metrics, first − second."""
        draws = self.draws[first] - self.draws[second]
        return Figure(self.values[first] - self.values[second], metrics.percentiles(draws, 0.95))


#: Longer tables stand only in the page and the JSON.
MOST_LINES = 150


class Cell(NamedTuple):
    """A text, whether its figure is the best among the systems, and its interval as text.

    A page draws the figure on a ground of the strength ``heat``, in percent; None for no ground.
    """

    text: str
    best: bool = False
    interval: str = ""
    heat: int | None = None

    @property
    def whole(self) -> str:
        """The text with its interval in parentheses."""
        return f"{self.text} ({self.interval})" if self.interval else self.text


class Table(NamedTuple):
    """A table whose first column holds names, and the others figures; ``note`` says more about them."""

    caption: str
    head: list[str]
    rows: list[list[Cell]]
    note: str = ""

    @classmethod
    def of(cls, caption: str, head: Sequence[str], rows: Iterable[Iterable[str | Cell]], note: str = "") -> Table:
        """Make a table of texts and cells."""
        cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
        return cls(caption, list(head), cells, note)

    @property
    def texts(self) -> list[list[str]]:
        return [[cell.text for cell in row] for row in self.rows]

    def lines(self, align: str = "lr") -> list[str]:
        """Write the head and the texts for a terminal; intervals, if there are any, below their figures."""
        rows = [self.head]
        for row in self.rows:
            rows += [[cell.text for cell in row]]
            rows += [[cell.interval for cell in row]] if any(cell.interval for cell in row) else []
        return text_table(rows, align)


def markdown(tables: Iterable[Table], notices: Iterable[str] = ()) -> str:
    """Write ``tables`` in Markdown (GitHub's), the best figures in bold, and notices below them."""

    def cell(cell: Cell) -> str:
        return f"**{markdown_text(cell.whole)}**" if cell.best else markdown_text(cell.whole)

    texts = [
        f"{markdown_text(table.caption)}\n\n"
        + markdown_table([markdown_text(text) for text in table.head], [list(map(cell, row)) for row in table.rows])
        for table in tables
    ]
    return "\n\n".join([*texts, *(f"Note: {markdown_text(notice)}." for notice in notices)]) + "\n"


def latex(tables: Iterable[Table], notices: Iterable[str] = ()) -> str:
    """Write ``tables`` in LaTeX with the package booktabs, the best figures in bold, and notices below them."""

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
    lines += [rf"\par\noindent Note: {latex_text(notice)}.\par" for notice in notices]
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


def cost(cost: float | None, absent: str = "–", digits: int = 4) -> str:
    """Write a cost, or bits."""
    return absent if cost is None else f"{cost:.{digits}f}"


def count(number: int) -> str:
    """Write a number with its thousands apart."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(rate: float | None, digits: int = 2) -> str:
    """Write a rate in percent, without the sign."""
    return "–" if rate is None else f"{100 * rate:.{digits}f}"


def percent_interval(interval: Sequence[float] | None) -> str:
    """Write an interval of rates in percent; empty if there is none."""
    return "" if interval is None else "–".join(map(percent, interval))


def points(difference: float, digits: int = 2) -> str:
    """Write a difference of rates in percent points, with its sign.

    >>> points(-0.0123)
    '−1.23'
    """
    return f"{100 * difference:+.{digits}f}".replace("-", "−")


def format_p(p_value: float) -> str:
    """
    >>> format_p(0.04213), format_p(0.0004)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def best_marked(
    values: Sequence[float | None], write: Callable[[float | None], str], *, mark: bool = True
) -> list[Cell]:
    """Write ``values``; lower is better. If there are several, all that read like the best are marked."""
    known = [value for value in values if value is not None]
    best = write(min(known)) if mark and len(known) > 1 else None
    return [Cell(text, text == best) for text in map(write, values)]


def plain(value: Any) -> Any:
    """Convert a result to plain data: a dataclass or named tuple to a mapping of its fields.

    Fields that are not in the representation of a dataclass, such as scores, are left out. A number
    that is not finite becomes None.

    >>> plain({"interval": (0.25, math.inf)})
    {'interval': [0.25, None]}
    """
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.repr}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
