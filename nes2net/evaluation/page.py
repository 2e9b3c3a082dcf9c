"""Reports as HTML pages without scripts or links: styles and plots are inside.

There are templates for score files and for frame scores, and apps have further ones. Templates
escape all text from files (names of systems, attacks, utterances, paths), and the page's own policy
forbids scripts and requests. The same report gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from nes2net.evaluation.breakdown import FEWEST
from nes2net.evaluation.evaluate import Report
from nes2net.evaluation.glossary import terms_in
from nes2net.evaluation.key import describe_excluded
from nes2net.evaluation.plots import (
    det_svg,
    distribution_svgs,
    reliability_svg,
    swatch_svg,
    threshold_svg,
)
from nes2net.evaluation.report_tables import (
    Breakdown,
    breakdowns,
    calibration,
    paper_tables,
    same_trials,
    summary,
    title_of,
)
from nes2net.evaluation.segments import SegmentEvaluation
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
from nes2net.lib.files import json_text, write_output
from nes2net.lib.templates import page_templates
from nes2net.lib.terminal import printable
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.metrics.localisation.metrics import ScoredUtterance
from nes2net.metrics.localisation.segments import BONAFIDE
from nes2net.models.registry import corpora

# Tables of more rows start folded, and so do matrices of more than ten times as many cells.
_LONG = 40


def write_report(
    report: Report,
    page: str | Path | None = None,
    data: str | Path | None = None,
    latex_tables: str | Path | None = None,
    markdown_tables: str | Path | None = None,
) -> None:
    """Write the page, the JSON and the tables of ``report``, each whole or not at all, or to a pipe.

    Raises:
        InputError: if one of the files cannot be written.
    """
    write_forms(
        (page, lambda: html_page(report)),
        (data, lambda: json_of(report.to_dict())),
        (latex_tables, lambda: latex(paper_tables(report), report.notices)),
        (markdown_tables, lambda: markdown(paper_tables(report), report.notices)),
    )


def write_forms(*forms: tuple[str | Path | None, Callable[[], str]]) -> None:
    """Write each text to its file, whole or not at all, or to a pipe; texts without a file are not made.

    Raises:
        InputError: if one of the files cannot be written.
    """
    for path, text in forms:
        if path is not None:
            write_output(path, printable(text()))


def json_of(plain: dict[str, Any]) -> str:
    """Write plain data as the JSON beside a page."""
    return json_text(plain, indent=1, ensure_ascii=False) + "\n"


def page_of(template: str, title: str, *, app: str | None = None, **facts: Any) -> str:
    """Make a page from a template, with the style, the filters and the glossary that all pages share.

    Args:
        app: the package of an app that has templates of its own, which may extend those of this one.
    """
    environment = page_templates(*[app] if app else [], "nes2net.evaluation")
    environment.filters |= FILTERS
    style = Markup((files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(title=title, style=style, terms_in=terms_in, **facts)


def html_page(report: Report) -> str:
    """Make the page of ``report``; the same report gives the same bytes."""
    systems, corpus = report.systems, corpora.get(report.corpus)
    tables = breakdowns(systems)
    transfers = [
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
    return page_of(
        "page.html.jinja",
        title_of(report),
        corpus=corpus,
        report=report,
        systems=systems,
        several=len(report.names) > 1,
        marked=same_trials(systems),
        fewest=FEWEST,
        notes=dict.fromkeys(note for system in systems for note in system.notes),
        asvspoof5_costs=ASVSPOOF5_COSTS,
        asv_system=report.asv_system,
        summary_table=summary(report) if systems else None,
        calibration_table=calibration(report) if systems else None,
        transfers=transfers,
        pairs={(pair.first, pair.second): pair for pair in report.pairs},
        det=det_svg(systems) if systems else None,
        distributions=distribution_svgs(systems) if systems else [],
        by_one_field=[breakdown for breakdown in tables if len(breakdown.fields) == 1],
        by_two_fields=[breakdown for breakdown in tables if len(breakdown.fields) == 2],
        latex=latex(paper_tables(report), report.notices),
        markdown=markdown(paper_tables(report), report.notices),
    )


def _starts_open(breakdown: Breakdown) -> bool | None:
    """Whether the section of a breakdown starts open; None if it cannot be folded."""
    if len(breakdown.fields) == 1:
        return False if breakdown.longest > _LONG else None
    return len(breakdown.systems) == 1 and breakdown.longest <= 10 * _LONG


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
    "name": lambda text: Markup(re.sub("_(?=.)", "_<wbr>", str(escape(text)))),  # where a line may end
    "p": format_p,
    "percent": percent,
    "points": points,
    "starts_open": _starts_open,
    "swatch": swatch_svg,
    "trials": lambda row: f"{count(row.num_bonafide)} + {count(row.num_spoof)}",
    "words": words,
}


# Of a strip, in its own units.
_WIDTH, _HEIGHT = 1000, 100
_MOST_POINTS = 500  # of a line; if there are more frames, each point is the lowest of several neighbours


def write_segment_report(
    result: SegmentEvaluation, page: str | Path | None = None, data: str | Path | None = None
) -> None:
    """Write the page and the JSON of ``result``, each whole or not at all, or to a pipe.

    Raises:
        InputError: if one of the files cannot be written.
    """
    write_forms((page, lambda: segment_page(result)), (data, lambda: json_of(result.to_dict())))


def segment_page(result: SegmentEvaluation) -> str:
    """Make the page of ``result``; the same result gives the same bytes."""
    values = [np.asarray(one.scores) for found in result.examples.values() for one, _ in found]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    return page_of(
        "segments.html.jinja",
        f"{corpora.get(result.corpus).title}, {result.phase}: where is it fake",
        corpus=corpora.get(result.corpus),
        result=result,
        strips={
            kind: [(strip(one, result.resolution_ms, result.own.threshold, low, high), wrong) for one, wrong in found]
            for kind, found in result.examples.items()
        },
    )


def strip(
    one: ScoredUtterance, resolution_ms: float, threshold: float | None, low: float, high: float
) -> dict[str, Any]:
    """Place the segments and scores of an utterance on a ground of 1000 × 100.

    Args:
        low, high: the scores at the bottom and the top.

    Returns:
        What the page draws: ``parts`` are CSS class, left edge and width of each segment, ``points`` a
        step for each frame, and ``threshold`` a height, or None if it is not within the limits.
    """
    scale = _WIDTH / one.duration
    parts = [
        ("bonafide" if label == BONAFIDE else "spoof", round(start * scale, 1), round((end - start) * scale, 1))
        for label, start, end, *_ in one.segments
    ]
    scores = np.asarray(one.scores, np.float64)
    factor = -(-len(scores) // _MOST_POINTS)
    lowest = np.minimum.reduceat(scores, np.arange(0, len(scores), factor))
    heights = _HEIGHT * (1 - (lowest - low) / (high - low))
    edges = np.minimum(np.arange(len(lowest) + 1) * factor * resolution_ms / 1000 * scale, _WIDTH)
    steps = zip(edges[:-1].tolist(), edges[1:].tolist(), heights.tolist())
    points = " ".join(f"{left:.1f},{height:.1f} {right:.1f},{height:.1f}" for left, right, height in steps)
    within = threshold is not None and low <= threshold <= high
    height = round(_HEIGHT * (1 - (threshold - low) / (high - low)), 1) if within and threshold is not None else None
    return {"name": one.name, "duration": one.duration, "parts": parts, "points": points, "threshold": height}
