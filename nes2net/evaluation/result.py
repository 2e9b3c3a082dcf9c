"""The result of an evaluation: a header, which says what was evaluated, and tables of figures.

Evaluations of recordings and of frames, of a detector under conditions, and experiments all have this form, so
all share the writers of text, Markdown, LaTeX, JSON and HTML.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from nes2net.evaluation import writers
from nes2net.evaluation.tables import Figure, Row, Table, plain
from nes2net.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup


class Plot(NamedTuple):
    """A drawing, what it shows, and its CSS class if it has one."""

    svg: Markup
    caption: str
    kind: str = ""


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Result:
    """What was evaluated, and all figures.

    - ``header`` holds the facts for programs: plain data. The JSON has them at its top. ``sources`` says of each
      set of scores where it comes from, ``inputs`` names the files that were read, with their SHA-256, and
      ``versions`` the software.
    - ``lines`` holds the facts in words, a sentence each.
    - ``tables`` holds the figures; the first one has those that matter most.
    - ``notes`` says what readers must know of the figures, and ``warnings`` what makes them doubtful for reasons
      outside the scores.
    - ``plots`` draws the plots of each section of the page, and ``curves`` computes what they show, for the JSON.
      Both are called when they are needed, because they take longer than text.
    """

    title: str
    header: Mapping[str, Any]
    lines: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    plots: Callable[[], Mapping[str, Sequence[Plot]]] = _nothing
    curves: Callable[[], Mapping[str, Any]] = _nothing

    @property
    def notices(self) -> list[str]:
        """All that readers must know of the figures; every writer prints it."""
        return [*self.notes, *self.warnings]

    @property
    def printed(self) -> list[Table]:
        """The tables of the page and of papers."""
        return [table for table in self.tables if table.readers != "nobody"]

    def __getitem__(self, measure: str) -> Figure:
        """The figure of ``measure`` in the first row of the first table that has it, such as ``result["eer"]``.

        Raises:
            KeyError: if no table has it.
        """
        for table in self.tables:
            if table.rows and measure in table.rows[0].figures:
                return table.rows[0][measure]
        raise KeyError(f"the result has no figure '{measure}'")

    def rows(self, name: str) -> Sequence[Row]:
        """The rows of the table called ``name``; empty if there is no such table."""
        return next((table.rows for table in self.tables if table.name == name), [])

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON, without scores; a number that is not finite becomes None."""
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
            lines += ["", *(f"note: {note}" for note in self.notes)]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Write the title, the header, the tables and the notices in Markdown."""
        head = [f"# {writers.markdown_text(self.title)}", *map(writers.markdown_text, self.lines)]
        return "\n\n".join([*head, writers.markdown(self.printed, self.notices)])

    def latex(self) -> str:
        """Write the tables and the notices in LaTeX."""
        return writers.latex(self.printed, self.notices)


def versions() -> dict[str, str]:
    """List the versions of everything that figures and plots depend on."""
    packages = {"nes2net": __version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "matplotlib"):
        packages[package] = version(package)
    return packages
