"""The table of an experiment as one HTML page, as JSON, Markdown and LaTeX."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from nes2net.evaluation.experiment import ExperimentResult
from nes2net.evaluation.glossary import terms_in
from nes2net.evaluation.page import FILTERS
from nes2net.evaluation.report_tables import latex_tables, markdown_tables, markdown_text
from nes2net.machine.files import json_text, write_text
from nes2net.machine.templates import page_templates
from nes2net.machine.terminal import printable


def write_experiment(result: ExperimentResult, folder: Path) -> list[Path]:
    """Write ``table.html``, ``.json``, ``.md`` and ``.tex`` of ``result`` to ``folder``, and return their paths.

    Raises:
        InputError: if one of the files cannot be written.
    """
    notes = "".join(f"\n- {markdown_text(note)}" for note in result.notes)
    texts = {
        "html": experiment_page(result),
        "json": json_text(result.to_dict(), indent=1, ensure_ascii=False) + "\n",
        "md": markdown_tables(result.tables()) + (f"{notes}\n" if notes else ""),
        "tex": latex_tables(result.tables()),
    }
    paths = [folder / f"table.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values()):
        write_text(path, printable(text))
    return paths


def experiment_page(result: ExperimentResult) -> str:
    """Make the page of ``result``; the same result gives the same bytes."""
    environment = page_templates("nes2net.evaluation")
    environment.filters |= FILTERS
    *tables, details = result.tables()
    return environment.get_template("experiment.html.jinja").render(
        title=result.title,
        style=Markup((files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8")),
        result=result,
        tables=tables,
        details=details,
        latex=latex_tables(result.tables()),
        markdown=markdown_tables(result.tables()),
        terms_in=terms_in,
    )
