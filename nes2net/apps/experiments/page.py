"""The page of an experiment, and its tables in JSON, Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path

from nes2net.apps.experiments.result import ExperimentResult
from nes2net.evaluation.page import json_of, page_of
from nes2net.evaluation.tables import latex, markdown, markdown_text
from nes2net.lib.files import write_text
from nes2net.lib.terminal import printable


def write_experiment(result: ExperimentResult, folder: Path) -> list[Path]:
    """Write ``table.html``, ``.json``, ``.md`` and ``.tex`` of ``result`` to ``folder``, and return their paths.

    Raises:
        InputError: if one of the files cannot be written.
    """
    notes = "".join(f"\n- {markdown_text(note)}" for note in result.notes)
    texts = {
        "html": experiment_page(result),
        "json": json_of(result.to_dict()),
        "md": markdown(result.tables()) + (f"{notes}\n" if notes else ""),
        "tex": latex(result.tables()),
    }
    paths = [folder / f"table.{suffix}" for suffix in texts]
    for path, text in zip(paths, texts.values()):
        write_text(path, printable(text))
    return paths


def experiment_page(result: ExperimentResult) -> str:
    """Make the page of ``result``; the same result gives the same bytes."""
    *tables, details = both = result.tables()
    return page_of(
        "experiment.html.jinja",
        result.title,
        app="nes2net.apps.experiments",
        result=result,
        tables=tables,
        details=details,
        latex=latex(both),
        markdown=markdown(both),
    )
