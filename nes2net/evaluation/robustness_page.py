"""The evaluation under conditions as one HTML page, as JSON and as Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from nes2net.evaluation.page import json_of, page_of, write_forms
from nes2net.evaluation.plots import Curve, strengths_svg
from nes2net.evaluation.robustness import Figures, Robustness, origin_facts
from nes2net.registry import conditions


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


class Family(NamedTuple):
    """Conditions of one name, as the page shows them."""

    name: str
    meaning: str
    """First sentence of its docstring."""
    rows: list[Figures]
    plot: Markup | None
    """Rates against strengths; None for fewer than two strengths, or if these number methods."""


def robustness_page(result: Robustness) -> str:
    """Make the page of ``result``; the same result gives the same bytes."""
    return page_of(
        "robustness.html.jinja",
        result.title,
        result=result,
        families=[_family(name, rows, result.clean) for name, rows in result.families.items()],
        most=max((one.difference for one in result.results), default=0.0),
        origin=origin_facts(result.origin),
    )


def _family(name: str, rows: list[Figures], clean: Figures) -> Family:
    condition = conditions.get(name)
    text = " ".join((condition.__doc__ or "").strip().partition("\n\n")[0].split())
    plot = None
    numbered = bool(condition.choices) and not condition.unit  # methods, in no order: RawBoost's algorithms
    if len(rows) > 1 and not numbered:
        curves = [
            Curve("EER", [one.eer for one in rows], [one.eer_interval for one in rows], clean.eer),
            Curve("HTER", [one.hter for one in rows], [one.hter_interval for one in rows], clean.hter),
        ]
        axis = f"strength, {condition.unit}" if condition.unit else "strength"
        identifier = f"condition-{re.sub(r'[^A-Za-z0-9]', '-', name)}"
        plot = strengths_svg(curves, [one.strength for one in rows], axis, identifier, f"Error rates under {name}")
    return Family(name, text, rows, plot)
