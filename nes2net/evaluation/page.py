"""A report as one HTML page without scripts or links: styles and plots are inside.

The template ``page.html.jinja`` escapes all text from files (names of systems, attacks, utterances,
paths), and the page's own policy forbids scripts and requests. The same report gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from nes2net.evaluation.breakdown import Row
from nes2net.evaluation.compare import ASV_SCORES, Report
from nes2net.evaluation.embedding_map import EmbeddingMap, drawn
from nes2net.evaluation.glossary import terms_in
from nes2net.evaluation.key import describe_excluded
from nes2net.evaluation.plots import det_svg, distribution_svg, reliability_svg, swatch_svg, threshold_svg
from nes2net.evaluation.report_tables import (
    Breakdown,
    breakdowns,
    calibration,
    paper_tables,
    same_trials,
    summary,
    title_of,
)
from nes2net.evaluation.tables import (
    cost,
    count,
    format_p,
    latex,
    markdown,
    percent,
    percent_interval,
    points,
    words,
)
from nes2net.evaluation.transfer import in_words
from nes2net.evaluation.transfer_tables import tables_of
from nes2net.machine.files import json_text, write_output
from nes2net.machine.templates import page_templates
from nes2net.machine.terminal import printable
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.registry import corpora

# Tables of more rows start folded; matrices of more than ten times as many cells do.
_LONG = 40


def write_report(
    report: Report,
    page: str | Path | None = None,
    data: str | Path | None = None,
    latex_tables: str | Path | None = None,
    markdown_tables: str | Path | None = None,
    embedding_map: EmbeddingMap | None = None,
) -> None:
    """Write the page, the JSON and the tables of ``report``, each whole or not at all, or to a pipe.

    Args:
        embedding_map: a map of embeddings, for the page.

    Raises:
        InputError: if one of the files cannot be written.
    """
    write_forms(
        (page, lambda: html_page(report, embedding_map)),
        (data, lambda: json_of(report.to_dict())),
        (latex_tables, lambda: latex(paper_tables(report))),
        (markdown_tables, lambda: markdown(paper_tables(report))),
    )


def write_forms(*forms: tuple[str | Path | None, Callable[[], str]]) -> None:
    """Write each text to its file, whole or not at all, or to a pipe; those without a file are not made.

    Raises:
        InputError: if one of the files cannot be written.
    """
    for path, text in forms:
        if path is not None:
            write_output(path, printable(text()))


def json_of(plain: dict[str, Any]) -> str:
    """Write plain data as the JSON beside a page."""
    return json_text(plain, indent=1, ensure_ascii=False) + "\n"


def page_of(template: str, title: str, **facts: Any) -> str:
    """Make a page from a template, with the style, the filters and the glossary that all pages share."""
    environment = page_templates("nes2net.evaluation")
    environment.filters |= FILTERS
    style = Markup((files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(title=title, style=style, terms_in=terms_in, **facts)


def html_page(report: Report, embedding_map: EmbeddingMap | None = None) -> str:
    """Make the page of ``report``."""
    systems = report.systems
    tables = breakdowns(systems)
    return page_of(
        "page.html.jinja",
        title_of(report),
        corpus=corpora.get(report.corpus),
        report=report,
        systems=systems,
        several=len(report.names) > 1,
        marked=same_trials(systems),
        notes=dict.fromkeys(note for system in systems for note in system.notes),
        asvspoof5_costs=ASVSPOOF5_COSTS,
        asv_system=_asv_system(report),
        summary_table=summary(report) if systems else None,
        calibration_table=calibration(report) if systems else None,
        transfers=_transfers(report),
        pairs={(pair.first, pair.second): pair for pair in report.pairs},
        det=det_svg(systems) if systems else None,
        distributions=[distribution_svg(system, str(number)) for number, system in enumerate(systems)],
        by_one_field=[breakdown for breakdown in tables if len(breakdown.fields) == 1],
        by_two_fields=[breakdown for breakdown in tables if len(breakdown.fields) == 2],
        embedding_map=drawn(embedding_map) if embedding_map else None,
        latex=latex(paper_tables(report)),
        markdown=markdown(paper_tables(report)),
    )


def _transfers(report: Report) -> list[dict[str, Any]]:
    """What the page shows of each system at its transferred threshold."""
    return [
        {
            "table": table,
            "tables": list(tables_of(table)),
            "sets": [
                {
                    "name": row.name,
                    "words": in_words(row),
                    "has_raw": row.raw is not None,
                    "errors": threshold_svg(row, table.decider.llr_threshold, f"{number}-{place}"),
                    "reliability": reliability_svg(row, f"{number}-{place}"),
                }
                for place, row in enumerate(table.rows)
                if not row.is_development
            ],
        }
        for number, table in enumerate(report.transfers)
    ]


def _asv_system(report: Report) -> str:
    """Name the speaker-verification system of min t-DCF: the organisers', or a file."""
    official = corpora.get(report.corpus).asv_counts.get(report.phase)
    if official is not None and all(s.asv_counts in (None, official) for s in report.systems):
        return "the organisers’ ASV system"
    scores = [entry["path"] for entry in report.inputs if entry["kind"] == ASV_SCORES]
    return f"the ASV scores of {', '.join(scores)}"


def _starts_open(breakdown: Breakdown) -> bool | None:
    """Whether the section of a breakdown starts open; None if it cannot be folded."""
    if len(breakdown.fields) == 1:
        return False if breakdown.longest > _LONG else None
    return len(breakdown.systems) == 1 and breakdown.longest <= 10 * _LONG


def _trials(row: Row) -> str:
    return f"{count(row.num_bonafide)} + {count(row.num_spoof)}"


def _date(scored_at: str) -> str:
    """Shorten a date and time of ISO 8601 to minutes; other text stays.

    >>> _date("2026-01-02T03:04:05+00:00"), _date("yesterday")
    ('2026-01-02 03:04 UTC', 'yesterday')
    """
    if scored_at.endswith("+00:00") and scored_at[10:11] == "T":
        return f"{scored_at[:10]} {scored_at[11:16]} UTC"
    return scored_at


#: Filters of the templates of pages.
FILTERS = {
    "count": count,
    "cost": cost,
    "date": _date,
    "equals_p": lambda p_value: format_p(p_value) if p_value < 0.001 else f"= {format_p(p_value)}",
    "excluded": describe_excluded,
    "interval": percent_interval,
    "p": format_p,
    "percent": percent,
    "points": points,
    "starts_open": _starts_open,
    "swatch": swatch_svg,
    "trials": _trials,
    "words": words,
}
