"""Draw the plot of a robustness report: error rates under each condition, by family.

A family is a kind of condition, such as ``mp3``, at several strengths, such as ``mp3:8``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from nes2net.data.registry import effects
from nes2net.evaluation.plots import GRID, SERIES_COLOURS, figure_of, line_of, svg_of, swatch_svg
from nes2net.evaluation.result import Plot
from nes2net.evaluation.tables import Row
from nes2net.lib.parts.docstrings import docstring_of

_CAPTION = Markup(
    "{}EER &ensp; {}HTER at the threshold, each with its 95 % interval; dotted are the clean trials. Families and "
    "conditions with the largest rise of the EER come first."
)


def condition_plots(clean: Row, rows: Sequence[Row]) -> list[Plot]:
    """Draw the error rates under each condition, and explain the families in the caption.

    ``rows`` begin with the most damaging condition.
    """
    families = families_of(rows)
    caption = _CAPTION.format(swatch_svg(0), swatch_svg(1))
    for name, family in families.items():
        effect = effects.get(name)
        meaning = f"{docstring_of(effect).title}."
        has_strength = ":" in family[0].labels["condition"]
        unit = f", {effect.unit}" if has_strength and effect.unit else ""
        caption += Markup("<br><b>{}</b>{}: {}").format(name, unit, meaning)
    return [Plot(conditions_svg(clean, list(families.values())), caption)]


def families_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group rows by family, in order: ``mp3`` → rows of ``mp3:8`` and ``mp3:16``."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.labels["condition"].partition(":")[0], []).append(row)
    return families


def conditions_svg(clean: Row, families: Sequence[Sequence[Row]]) -> Markup:
    """Draw EER and HTER with their intervals; dotted lines are the rates of the clean trials."""
    groups = [[clean], *families]
    rows = [row for group in groups for row in group]
    # Each condition takes one row of the plot, and half a row separates two families.
    heights = np.arange(len(rows)) + 0.5 * np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    figure, axes = figure_of(4.6, 0.8 + 0.18 * float(heights[-1]))
    for number, name in enumerate(("eer", "hter")):
        series, line = line_of(number)
        colour = SERIES_COLOURS[series]
        shifted = heights + 0.3 * (number - 0.5)
        bounds = 100 * np.array([row[name].interval for row in rows])
        rates = 100 * np.array([row[name].value for row in rows])
        axes.axvline(float(rates[0]), color=colour, linewidth=1, linestyle=":")
        axes.hlines(shifted, bounds[:, 0], bounds[:, 1], color=colour, linewidth=1.2)
        axes.plot(rates, shifted, color=colour, linestyle="", marker=line.marker, markersize=3.5, zorder=3)
    names = [row.labels["condition"] for row in rows]
    axes.set_yticks(heights, labels=names)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(heights[-1] + 0.8, -0.8), xlabel="EER and HTER, %")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    texts = []
    for name, row in zip(names, rows):
        texts.append(f"{name}: EER {100 * row.value('eer'):.1f} %, HTER {100 * row.value('hter'):.1f} %")
    return svg_of(figure, "conditions", "Error rates under each condition", f"{'; '.join(texts)}.")
