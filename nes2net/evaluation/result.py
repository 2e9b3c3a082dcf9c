"""The result of an evaluation: a header, which says what was evaluated, and tables of figures.

Experiments give such a result, and so do evaluations of recordings, of frames and under conditions.
One set of functions writes every result as text, Markdown, LaTeX, JSON and HTML.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nes2net.evaluation import writers
from nes2net.evaluation.tables import Figure, Row, Table, plain
from nes2net.lib.errors import check_known
from nes2net.lib.terminal import markdown_text
from nes2net.version import __version__

# The folders of a path that begins with a folder, in running text: papers name files only.
_FOLDERS = re.compile(r"(?<![\w.:/-])\.{0,2}/(?:[^\s/]+/)+")

if TYPE_CHECKING:
    from markupsafe import Markup


class Plot(NamedTuple):
    """A drawing and its caption."""

    svg: Markup
    caption: str
    kind: str = ""
    """CSS class of the plot in the page; empty if it has no class."""


def _no_content() -> dict[str, Any]:
    """Stand in for the plots or curves that a :class:`Result` lacks."""
    return {}


@dataclass(frozen=True)
class Result:
    """The facts of an evaluation, and all its figures.

    - ``header`` holds the facts for programs as plain data, at the top of the JSON. The key
      ``sources`` of the header says where each set of scores comes from, ``inputs`` names the files
      that were read, with their SHA-256, and ``versions`` names the software.
    - ``lines`` holds the same facts as sentences.
    - ``tables`` holds the figures; the first table has the most important figures.
    - ``notes`` says what readers must know about the figures. ``warnings`` gives reasons to doubt
      the figures; these reasons do not come from the scores.
    - ``plots`` draws the plots of the page: heading of a section → plots of the section. ``curves``
      computes the data of the plots for the JSON. Both functions take time, so they are called only if
      their result is needed.
    - ``draw`` draws a plot for a paper into a file; None for results without such a plot.
    """

    title: str
    header: Mapping[str, Any]
    lines: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    plots: Callable[[], Mapping[str, Sequence[Plot]]] = _no_content
    curves: Callable[[], Mapping[str, Any]] = _no_content
    draw: Callable[[str | Path], None] | None = None

    @property
    def notices(self) -> list[str]:
        """List the notes, then the warnings. :meth:`text` prints only the notes; all other writers
        also print the warnings."""
        return [*self.notes, *self.warnings]

    @property
    def printed(self) -> list[Table]:
        """The tables that pages and papers show."""
        return [table for table in self.tables if table.readers != "nobody"]

    def __getitem__(self, measure: str) -> Figure:
        """Find the figure of ``measure``, as in ``result["eer"]``, in the first table whose first row has this figure.

        Raises:
            KeyError: if no table has the measure.
        """
        for table in self.tables:
            if table.rows and measure in table.rows[0].figures:
                return table.rows[0][measure]
        raise KeyError(f"the result has no figure '{measure}'")

    def only(self, metrics: Collection[str]) -> Result:
        """Return a result that has only the figures of ``metrics``, and the numbers of trials in the same tables.

        Raises:
            InputError: if one of the metrics is not in any table.
        """
        # ``metrics`` cannot name numbers of trials, because these numbers are always shown.
        known = {measure.name for table in self.tables for measure in table.measures if measure.unit != "count"}
        check_known(metrics, known, "`metric` names figures of this result, not")
        tables = []
        for table in self.tables:
            measures = [measure for measure in table.measures if measure.name in metrics or measure.unit == "count"]
            if any(measure.name in metrics for measure in measures):
                tables.append(replace(table, measures=measures, rows=[row.only(measures) for row in table.rows]))
        return replace(self, tables=tables)

    def rows(self, name: str) -> Sequence[Row]:
        """Return the rows of the table called ``name``; empty if no table has this name."""
        for table in self.tables:
            if table.name == name:
                return table.rows
        return []

    def to_dict(self) -> dict[str, Any]:
        """Convert the result to plain data for JSON, without scores; a number that is not finite becomes None."""
        return {
            "title": self.title,
            **plain(self.header),
            "lines": list(self.lines),
            "notices": self.notices,
            "tables": [table.to_dict() for table in self.tables],
            **plain(self.curves()),
        }

    def text(self) -> str:
        """Write the header, the tables and the notes for a terminal; the caller prints the warnings."""
        lines = list(self.lines)
        for table in self.tables:
            if table.readers == "all":
                lines += ["", *writers.text_lines(table)]
        if self.notes:
            lines.append("")
        for note in self.notes:
            lines.append(f"note: {note}")
        return "\n".join(lines)

    def markdown(self) -> str:
        """Write the title, the header, the tables and the notices in Markdown, without folders of this machine."""
        head = [f"# {markdown_text(self.title)}", *map(markdown_text, self.lines)]
        return _FOLDERS.sub("", "\n\n".join([*head, writers.markdown(self.printed, self.notices)]))

    def latex(self) -> str:
        """Write the tables and the notices in LaTeX, without folders of this machine."""
        return _FOLDERS.sub("", writers.latex(self.printed, self.notices))


def versions() -> dict[str, str]:
    """List the versions of nes2net, Python and the packages on which figures and plots depend."""
    packages = {"nes2net": __version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "matplotlib"):
        packages[package] = version(package)
    return packages
