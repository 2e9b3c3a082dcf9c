"""The page of a robustness report, and its JSON and Markdown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from nes2net.apps.robustness.robustness import Robustness, origin_facts
from nes2net.evaluation.page import json_of, page_of, write_forms
from nes2net.evaluation.plots import GRID, SERIES_PLACEHOLDERS, figure_of, line_of, svg_of
from nes2net.models.registry import effects


def write_robustness(
    result: Robustness,
    page: str | Path | None = None,
    data: str | Path | None = None,
    markdown: str | Path | None = None,
) -> None:
    """Write the page, the JSON and the Markdown of ``result``, each whole or not at all, or to a pipe.

    Raises:
        InputError: if one of the files cannot be written.
    """
    write_forms(
        (page, lambda: robustness_page(result)), (data, lambda: json_of(result.to_dict())), (markdown, result.markdown)
    )


def robustness_page(result: Robustness) -> str:
    """Make the page of ``result``; the same result gives the same bytes."""
    meanings = {
        name: " ".join((effects.get(name).__doc__ or "").strip().partition("\n\n")[0].split())
        for name in result.families
    }
    return page_of(
        "robustness.html.jinja",
        result.title,
        app="nes2net.apps.robustness",
        result=result,
        meanings=meanings,
        plot=conditions_svg(result),
        origin=origin_facts(result.origin),
    )


def conditions_svg(result: Robustness) -> Markup:
    """Draw the EER and the HTER under each condition with their intervals, by family; dotted are those of the clean trials."""
    groups = [[result.clean], *result.families.values()]
    rows = [one for group in groups for one in group]
    # A row each, and half a row between two families.
    places = np.arange(len(rows)) + 0.5 * np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    figure, axes = figure_of(4.6, 0.8 + 0.18 * float(places[-1]))
    for number, name in enumerate(("eer", "hter")):
        series, line = line_of(number)
        colour, own = SERIES_PLACEHOLDERS[series], places + 0.3 * (number - 0.5)
        bounds = 100 * np.array([getattr(one, f"{name}_interval") for one in rows])
        axes.axvline(100 * getattr(result.clean, name), color=colour, linewidth=1, linestyle=":")
        axes.hlines(own, bounds[:, 0], bounds[:, 1], color=colour, linewidth=1.2)
        rates = [100 * getattr(one, name) for one in rows]
        axes.plot(rates, own, color=colour, linestyle="", marker=line.marker, markersize=3.5, zorder=3)
    axes.set_yticks(places, labels=[one.condition for one in rows])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(places[-1] + 0.8, -0.8), xlabel="EER and HTER, %")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    said = (f"{one.condition}: EER {100 * one.eer:.1f} %, HTER {100 * one.hter:.1f} %" for one in rows)
    return svg_of(figure, "conditions", "Error rates under each condition", "; ".join(said) + ".")
