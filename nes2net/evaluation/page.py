"""Write a result as one HTML page with its own styles and plots, without scripts or links.

The template escapes all text from files, and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from nes2net.evaluation.glossary import terms_in
from nes2net.evaluation.result import Plot, Result
from nes2net.evaluation.result_rows import append_rows, result_rows
from nes2net.evaluation.tables import Table
from nes2net.evaluation.writers import Grid, grid
from nes2net.lib.errors import InputError
from nes2net.lib.output.templates import page_templates
from nes2net.lib.output.terminal import printable
from nes2net.lib.storage.files import AnyPath, check_writable, json_text, write_text
from nes2net.lib.storage.outputs import check_files_differ, check_picture

# Longer sections are collapsed at first.
_MAX_ROWS_UNFOLDED = 40


class Pages(NamedTuple):
    """The files to which a result is written; None for no file."""

    html: AnyPath | None = None
    """Tables and plots."""
    json: AnyPath | None = None
    """Figures, and hashes of inputs."""
    latex: AnyPath | None = None
    markdown: AnyPath | None = None
    """The tables of the page, in LaTeX (for booktabs) and in Markdown."""
    plot: AnyPath | None = None
    """DET curves and histograms: a .svg, .pdf or .png."""
    append: AnyPath | None = None
    """A CSV file, to which a row for each system is added."""

    @property
    def files(self) -> list[AnyPath]:
        return [path for path in self if path is not None]

    def check(self, read: Iterable[AnyPath]) -> None:
        """Check, before a long evaluation, that the files can be written.

        Raises:
            InputError: if one cannot be written, is among ``read``, or is named twice.
        """
        check_files_differ(read, self.files)
        if self.plot is not None:
            check_picture(self.plot)
        for path in self.files:
            check_writable(path, stream=True)

    def write(self, result: Result, write: Callable[[AnyPath, str], None] = write_text) -> None:
        """Write ``result`` to the files, each atomically.

        Args:
            write: :func:`~nes2net.lib.storage.files.write_output` for files that a user named, which may be
                links or pipes.

        Raises:
            InputError: if a file cannot be written, or if there is no plot or row of such results.
        """
        forms: tuple[Callable[[], str], ...] = (
            lambda: html_page(result),
            lambda: json_text(result.to_dict(), indent=1) + "\n",
            result.latex,
            result.markdown,
        )
        for path, form in zip(self, forms):  # the fields in their order: html, json, latex, markdown
            if path is not None:
                write(path, printable(form()))
        if self.plot is not None:
            if result.draw is None:
                raise InputError(
                    "`plot` only draws scores of recordings of both classes, which this result lacks: remove it"
                )
            result.draw(self.plot)
        if self.append is not None:
            append_rows(Path(self.append), result_rows(result))


@dataclass(frozen=True)
class PageSection:
    """A part of the page under one heading, or its top without heading."""

    heading: str
    tables: list[tuple[Table, Grid]]
    plots: Sequence[Plot]

    @property
    def is_long(self) -> bool:
        """Whether the section is collapsed at first."""
        return sum(len(layout.rows) for _, layout in self.tables) > _MAX_ROWS_UNFOLDED


def sections(result: Result) -> list[PageSection]:
    """Arrange the page: its top, sections with only plots, sections with tables."""
    plots = result.plots()
    of_tables = dict.fromkeys(table.section for table in result.printed if table.section)
    headings = [""]
    for heading in plots:
        if plots[heading] and heading not in of_tables:
            headings.append(heading)
    headings += of_tables
    page_sections = []
    for heading in headings:
        tables = [(table, grid(table)) for table in result.printed if table.section == heading]
        page_sections.append(PageSection(heading, tables, plots.get(heading, ())))
    return page_sections


def html_page(result: Result) -> str:
    """Render the page of ``result``; the same result gives the same bytes."""
    environment = page_templates("nes2net.evaluation")
    environment.filters["date"] = _date
    style = Markup((files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8"))
    template = environment.get_template("page.html.jinja")
    return template.render(result=result, sections=sections(result), style=style, terms_in=terms_in)


def _date(scored_at: str) -> str:
    """Shorten ISO 8601 in UTC to minutes; the template's filter ``date``.

    >>> _date("2026-01-02T03:04:05+00:00"), _date("yesterday")
    ('2026-01-02 03:04 UTC', 'yesterday')
    """
    if scored_at.endswith("+00:00") and scored_at[10:11] == "T":
        return f"{scored_at[:10]} {scored_at[11:16]} UTC"
    return scored_at
