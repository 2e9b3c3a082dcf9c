"""DET curves and score distributions as SVG that takes its colours from the page around it.

The DET plot is that of Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997: both error rates on
the scale of the standard normal deviate.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net.evaluation.evaluate import Evaluation
from nes2net.metrics import det_curve

#: CSS colours of the systems, in turn; beyond their number the line style changes. The page defines the variables.
SERIES = [f"var(--series-{n})" for n in range(1, 9)]
_LINE_STYLES = ("-", "--", "-.", ":")
# Drawn in colours that no theme has and replaced afterwards, so that one plot is right on a light and on a dark page.
_INK, _GRID = "#010203", "#010204"
_BONAFIDE, _SPOOF = "#010205", "#010206"
_PLACEHOLDERS = {_INK: "currentColor", _GRID: "var(--line)", _BONAFIDE: "var(--bonafide)", _SPOOF: "var(--spoof)"} | {
    f"#0102{16 + n:02x}": colour for n, colour in enumerate(SERIES)
}
_SERIES_PLACEHOLDERS = [placeholder for placeholder, colour in _PLACEHOLDERS.items() if colour in SERIES]
_RATES = (1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
_STEPS = 1000  # a DET curve is drawn on a grid of so many steps a side
_BINS = 80


def thinned_det(bonafide: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray]:
    """FRR and FAR of :func:`nes2net.metrics.det_curve` at those points alone that a plot on normal deviates can tell apart."""
    from scipy.special import ndtri

    frr, far, _ = det_curve(bonafide, spoof)
    lowest, highest = ndtri(_RATES[0]), ndtri(_RATES[-1])
    x, y = (
        np.round((np.clip(ndtri(rate), lowest, highest) - lowest) / (highest - lowest) * _STEPS) for rate in (far, frr)
    )
    moved = np.append(True, (np.diff(x) != 0) | (np.diff(y) != 0))
    frr, far, x, y = frr[moved], far[moved], x[moved], y[moved]
    bends = np.append(np.append(True, (np.diff(x, 2) != 0) | (np.diff(y, 2) != 0)), True)[: x.size]
    return frr[bends], far[bends]


def series_style(number: int) -> tuple[str, str]:
    """CSS colour and Matplotlib line style of system ``number``.

    >>> series_style(0), series_style(8)
    (('var(--series-1)', '-'), ('var(--series-1)', '--'))
    """
    return SERIES[number % len(SERIES)], _LINE_STYLES[number // len(SERIES) % len(_LINE_STYLES)]


def det_svg(systems: Sequence[Evaluation]) -> str:
    """DET curves of ``systems`` in one plot, with a mark at each EER; without a legend, which is the page's."""
    from scipy.special import ndtri

    curves = [thinned_det(system.bonafide_scores, system.spoof_scores) for system in systems]
    low, high = _det_range(curves, [system.eer for system in systems])
    ticks = [rate for rate in _RATES if low <= rate <= high]
    figure, axes = _figure(4.4, 4.2)
    limits = (float(ndtri(low)), float(ndtri(high)))
    axes.plot(limits, limits, color=_GRID, linewidth=0.8, linestyle=":")
    for number, (frr, far) in enumerate(curves):
        _, line_style = series_style(number)
        colour = _SERIES_PLACEHOLDERS[number % len(SERIES)]
        # A rate of 0 or 1 is infinitely far off; the frame cuts the line.
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


def _det_range(curves: Sequence[tuple[NDArray, NDArray]], eers: Sequence[float]) -> tuple[float, float]:
    """Rates between which the axes run: up past every EER, and down to the smallest that occurs below that."""
    high = min((rate for rate in _RATES if rate >= max(0.4, 1.3 * max(eers))), default=_RATES[-1])
    seen = [rate[(rate > 0) & (frr <= high) & (far <= high)] for frr, far in curves for rate in (frr, far)]
    smallest = min((float(rates.min()) for rates in seen if rates.size), default=_RATES[0])
    low = max((rate for rate in _RATES if rate <= min(smallest, 0.05)), default=_RATES[0])
    return low, high


def distribution_svg(system: Evaluation, name: str) -> str:
    """Histograms of the two classes' scores, each of area one, with the threshold of the EER. ``name`` keeps ids apart in a page."""
    bonafide, spoof = system.bonafide_scores, system.spoof_scores
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


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=_INK, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_INK, fontsize=10)
    for spine in axes.spines.values():
        spine.set_color(_GRID)
    axes.patch.set_visible(False)
    return figure, axes


def _svg(figure: Any, name: str, title: str) -> str:
    """The figure as an ``<svg>`` element of the same bytes every time; ``name`` makes its ids its own."""
    import matplotlib

    buffer = io.BytesIO()
    settings = {"svg.hashsalt": f"nes2net-{name}", "svg.fonttype": "none", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for reference in (r'(\bid=")', r"(url\(#)", r'(href="#)'):  # several plots share a page, and must not share ids
        text = re.sub(reference, rf"\1{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px sans-serif", text)
    for placeholder, colour in _PLACEHOLDERS.items():
        text = text.replace(placeholder, colour)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1).strip()
