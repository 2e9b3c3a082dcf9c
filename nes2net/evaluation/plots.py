"""DET curves and score distributions as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from nes2net.evaluation.det import RATES, det_range, thinned_det
from nes2net.evaluation.evaluate import Evaluation

#: CSS colours of the systems in turn, as variables of the page. More systems get other line styles.
SERIES = [f"var(--series-{n})" for n in range(1, 9)]
_LINE_STYLES = ("-", "--", "-.", ":")
# Plots are drawn in placeholder colours, which become CSS variables to suit light and dark pages.
_INK, _GRID = "#010203", "#010204"
_BONAFIDE, _SPOOF = "#010205", "#010206"
_PLACEHOLDERS = {_INK: "currentColor", _GRID: "var(--line)", _BONAFIDE: "var(--bonafide)", _SPOOF: "var(--spoof)"} | {
    f"#0102{16 + n:02x}": colour for n, colour in enumerate(SERIES)
}
_SERIES_PLACEHOLDERS = [placeholder for placeholder, colour in _PLACEHOLDERS.items() if colour in SERIES]
_BINS = 80


def series_style(number: int) -> tuple[str, str]:
    """Choose the CSS colour and the Matplotlib line style of system ``number``.

    >>> series_style(0), series_style(8)
    (('var(--series-1)', '-'), ('var(--series-1)', '--'))
    """
    return SERIES[number % len(SERIES)], _LINE_STYLES[number // len(SERIES) % len(_LINE_STYLES)]


def det_svg(systems: Sequence[Evaluation]) -> str:
    """Draw the DET curves of ``systems`` with a dot at each EER; the page has the legend."""
    curves = [thinned_det(system.matched.bonafide, system.matched.spoof) for system in systems]
    low, high = det_range(curves, [system.eer for system in systems])
    ticks = [rate for rate in RATES if low <= rate <= high]
    figure, axes = _figure(4.4, 4.2)
    limits = (float(ndtri(low)), float(ndtri(high)))
    axes.plot(limits, limits, color=_GRID, linewidth=0.8, linestyle=":")
    for number, (frr, far) in enumerate(curves):
        _, line_style = series_style(number)
        colour = _SERIES_PLACEHOLDERS[number % len(SERIES)]
        # A rate of 0 or 1 lies at infinity; the line ends outside the frame.
        x, y = (np.clip(ndtri(rate), limits[0] - 1, limits[1] + 1) for rate in (far, frr))
        axes.plot(x, y, color=colour, linewidth=1.6, linestyle=line_style)
        eer = float(np.clip(ndtri(systems[number].eer), *limits))
        axes.plot([eer], [eer], marker="o", markersize=4.5, color=colour)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="false alarms: spoof accepted, %")
    axes.set_ylabel("misses: bona fide rejected, %")
    for axis, rotation in ((axes.xaxis, 90 if len(ticks) > 9 else 0), (axes.yaxis, 0)):
        axis.set_ticks(
            [float(ndtri(rate)) for rate in ticks], labels=[f"{100 * rate:g}" for rate in ticks], rotation=rotation
        )
    axes.grid(color=_GRID, linewidth=0.5)
    names = f"of {len(systems)} systems" if len(systems) > 1 else ""
    return _svg(figure, "det", f"DET curve {names}: misses against false alarms".replace("  ", " "))


def distribution_svg(system: Evaluation, name: str) -> str:
    """Draw histograms of both classes' scores, each of area one, with the threshold of the EER.

    ``name`` makes the ids of the plot unique in its page.
    """
    bonafide, spoof = system.matched.bonafide, system.matched.spoof
    ends = np.array([np.quantile(scores, [0.0005, 0.9995]) for scores in (bonafide, spoof)])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    figure, axes = _figure(4.8, 3.0)
    for scores, colour in ((spoof, _SPOOF), (bonafide, _BONAFIDE)):
        share = np.histogram(np.clip(scores, low, high), bins=edges)[0] / scores.size
        axes.stairs(100 * share, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(100 * share, edges, color=colour, linewidth=1.4)
    if low <= system.threshold <= high:
        axes.axvline(system.threshold, color=_INK, linewidth=1, linestyle="--")
    axes.set(xlim=(low, high), xlabel="score", ylabel="trials of the class, %")
    axes.set_ylim(bottom=0)
    return _svg(figure, f"scores-{name}", "Distribution of the scores of bona fide and spoofed trials")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=_INK, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_INK, fontsize=10)
    for spine in axes.spines.values():
        spine.set_color(_GRID)
    axes.patch.set_visible(False)
    return figure, axes


def _svg(figure: Figure, name: str, title: str) -> str:
    """Write the figure as an ``<svg>`` element, the same every time; ids begin with ``name``."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(
        {"svg.hashsalt": f"nes2net-{name}", "svg.fonttype": "none", "font.family": "sans-serif"}
    ):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for reference in (r'(\bid=")', r"(url\(#)", r'(href="#)'):  # plots that share a page must not share ids
        text = re.sub(reference, rf"\1{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px sans-serif", text)
    for placeholder, colour in _PLACEHOLDERS.items():
        text = text.replace(placeholder, colour)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1).strip()
