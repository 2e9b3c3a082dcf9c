"""The result of an evaluation: a header, which says what was evaluated, and tables of figures.

Experiments and evaluations of recordings, of frames and under conditions give such a result. One
set of functions writes all as text, Markdown, LaTeX, JSON and HTML.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from nes2net.evaluation import writers
from nes2net.evaluation.tables import Figure, Row, Table, plain
from nes2net.lib.errors import check_known
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.output.terminal import markdown_text
from nes2net.version import __version__

# In running text: papers name files only.
_FOLDERS = re.compile(r"(?<![\w.:/-])\.{0,2}/(?:[^\s/]+/)+")

if TYPE_CHECKING:
    from markupsafe import Markup


class Plot(NamedTuple):
    """A drawing and its caption."""

    svg: Markup
    caption: str
    kind: str = ""
    """CSS class in the page, if any."""


#: Heading of a section → plots.
Plots: TypeAlias = Mapping[str, Sequence[Plot]]


@dataclass(frozen=True, repr=False)
class Result:
    """The facts of an evaluation, and all its figures; ``dict(result)`` maps measure → figure.

    - ``header``: facts as plain data, at the top of the JSON: ``sources`` of the scores, ``inputs``
      (files with SHA-256), ``versions`` of software and so on.
    - ``lines``: the same facts as sentences.
    - ``tables``: the figures, the most important first.
    - ``notes``: what readers must know. ``warnings``: reasons for doubt that do not come from the
      scores.
    - ``plots``: gives heading of a section → plots; ``curves`` gives their data for the JSON. Both
      are called only if needed, because they take time.
    - ``draw``: draws a plot for a paper into a file, if there is one.
    """

    title: str
    header: Facts
    lines: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    plots: Callable[[], Plots] = dict
    curves: Callable[[], Facts] = dict
    draw: Callable[[str | Path], None] | None = None

    @property
    def notices(self) -> list[str]:
        """Notes, then warnings; :meth:`text` prints only the notes."""
        return [*self.notes, *self.warnings]

    @property
    def printed(self) -> list[Table]:
        """The tables that pages and papers show."""
        return [table for table in self.tables if table.readers != "nobody"]

    def __repr__(self) -> str:
        """The first nine lines of :meth:`text`, and a line about the others."""
        return "\n".join([*self.text().splitlines()[:9], "… print(result.text()) prints all"])

    def keys(self) -> list[str]:
        """List the measures for which :meth:`__getitem__` finds a figure."""
        return list(dict.fromkeys(chain.from_iterable(table.rows[0].figures for table in self.tables if table.rows)))

    def __getitem__(self, measure: str) -> Figure:
        """Find the figure of ``measure`` in the first table whose first row has it.

        Raises:
            KeyError: if no table has it.
        """
        for table in self.tables:
            if table.rows and measure in table.rows[0].figures:
                return table.rows[0][measure]
        raise KeyError(f"the result has no figure '{measure}': see its tables for those that it has")

    def only(self, metrics: Collection[str]) -> Result:
        """Return a result with only the figures of ``metrics``, and numbers of trials beside them.

        Raises:
            InputError: if no table has one of them.
        """
        # Numbers of trials cannot be named: they are always shown.
        metric_names = {measure.name for table in self.tables for measure in table.measures if measure.unit != "count"}
        check_known(metrics, metric_names, "`metric` names figures of this result, not")
        tables = []
        for table in self.tables:
            measures = [measure for measure in table.measures if measure.name in metrics or measure.unit == "count"]
            if any(measure.name in metrics for measure in measures):
                tables.append(replace(table, measures=measures, rows=[row.only(measures) for row in table.rows]))
        return replace(self, tables=tables)

    def rows(self, name: str) -> Sequence[Row]:
        """Return the rows of the table called ``name``, or none."""
        for table in self.tables:
            if table.name == name:
                return table.rows
        return []

    def to_dict(self) -> FactsDict:
        """Convert the result to plain data for JSON, without scores; NaN and infinity become None."""
        # Users' programs read these keys.
        return {
            "title": self.title,
            **plain(self.header),
            "lines": list(self.lines),
            "notices": self.notices,
            "tables": [table.to_dict() for table in self.tables],
            **plain(self.curves()),
        }

    def text(self) -> str:
        """Write header, tables and notes for a terminal; the caller prints the warnings."""
        lines = list(self.lines)
        for table in self.tables:
            if table.readers == "all":
                lines += ["", *writers.text_lines(table)]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Write title, header, tables and notices in Markdown, without folders of this machine."""
        head = [f"# {markdown_text(self.title)}", *map(markdown_text, self.lines)]
        return _FOLDERS.sub("", "\n\n".join([*head, writers.markdown(self.printed, self.notices)]))

    def latex(self) -> str:
        """Write tables and notices in LaTeX, without folders of this machine."""
        # A paper may have tables of several results, whose labels must differ.
        title = " ".join([self.title, *self.header.get("sources", ())])
        return _FOLDERS.sub("", writers.latex(self.printed, self.notices, title))


def versions() -> dict[str, str]:
    """List versions of nes2net, Python and the packages behind figures and plots."""
    packages = {package: version(package) for package in ("numpy", "scipy", "matplotlib")}
    return {"nes2net": __version__, "python": platform.python_version(), **packages}
