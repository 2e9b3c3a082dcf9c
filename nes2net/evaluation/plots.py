"""Draw plots as SVG, in the colours of the page: DET curves, score distributions, errors by threshold, reliability.

In reading order: ``score_plots`` draws a page about scores of recordings, ``write_score_plot`` a
plot for a paper, ``strip_plots`` utterances with segments. ``figure_of`` creates every figure of a
page, and ``svg_of`` turns it into SVG.
"""

from __future__ import annotations

import io
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from scipy.special import ndtri

from nes2net.evaluation.curves import RATES, det_range, reliability, thin_det
from nes2net.evaluation.labelled_frames import Example
from nes2net.evaluation.result import Plot
from nes2net.evaluation.system import SystemFigures
from nes2net.evaluation.transfer import JudgedSet, Transfer
from nes2net.evaluation.transfer_tables import SECTION
from nes2net.lib.output.pictures import Axes, Figure, MaxNLocator, matplotlib
from nes2net.lib.storage.files import writing
from nes2net.lib.storage.outputs import save_picture
from nes2net.metrics.intervals import Interval
from nes2net.metrics.localisation.metrics import ScoredUtterance
from nes2net.metrics.localisation.segments import BONAFIDE
from nes2net.scoring.track_plot import score_limits


class _Line(NamedTuple):
    """A system's dashes, and its mark at the EER."""

    dashes: tuple[float, ...]
    """Dashes and gaps in turn, in line widths; empty for a solid line."""
    marker: str
    """Matplotlib's name for the mark."""
    path: str
    """The mark as an SVG path, for legends."""


#: CSS variables of the systems' colours; the ninth system has the first colour again.
SERIES = [f"var(--series-{n})" for n in range(1, 9)]
_LINES = (
    _Line((), "o", "M14 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"),
    _Line((4, 1.5), "s", "M14.5 2.5h7v7h-7z"),
    _Line((5, 1.5, 1, 1.5), "^", "M18 1.5l4.5 8h-9z"),
    _Line((1, 1.3), "D", "M18 1l5 5l-5 5l-5 -5z"),
)
# Colours of light pages, slightly other than page.css. On a page, CSS variables replace them, to suit light and dark.
INK = "#1b1f25"
GRID = "#c9ced6"
BONAFIDE_COLOUR = "#0f766f"
SPOOF_COLOUR = "#c2410d"
SERIES_COLOURS = ("#1c58fc", "#be19bf", "#16181d", "#5d1d03", "#981b44", "#3d1261", "#624682", "#000ba3")
_CSS_COLOURS = {
    INK: "currentColor",
    GRID: "var(--line)",
    BONAFIDE_COLOUR: "var(--bonafide)",
    SPOOF_COLOUR: "var(--spoof)",
} | dict(zip(SERIES_COLOURS, SERIES))
_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_MIN_BINS = 5
_MAX_BINS = 100
_HEIGHTS = {1: 3.4, 2: 2.2, 3: 1.8}  # height of a histogram in inches, by the number of histograms
_STEPS = 400  # number of thresholds at which a curve is drawn
# Shares of scores that may lie beyond each end of a histogram; see `score_range`.
_TAILS = np.array([0.001, 0.01])


def line_of(number: int) -> tuple[int, _Line]:
    """Choose the colour, an index of :data:`SERIES`, and the line style of system ``number``.

    The first 32 pairs differ; colour-blind readers can tell apart the colours of one style.

    >>> [(colour, line.marker) for colour, line in map(line_of, (0, 1, 4, 8))]
    [(0, 'o'), (1, 's'), (4, 'o'), (0, 's')]
    """
    # Each further round of the colours begins one line style later, so a pair comes again only after all 32.
    return number % len(SERIES), _LINES[(number + number // len(SERIES)) % len(_LINES)]


def swatch_svg(number: int) -> Markup:
    """Draw a sample of line and mark of system ``number`` for a legend."""
    colour, line = line_of(number)
    dashes = ""
    if line.dashes:
        # Dashes are in widths of the stroke, 2.2.
        lengths = " ".join(f"{2.2 * dash:g}" for dash in line.dashes)
        dashes = f' stroke-dasharray="{lengths}"'
    return Markup(
        f'<svg class="swatch" viewBox="0 0 36 12" aria-hidden="true" style="color: {SERIES[colour]}">'
        f'<path d="M0 6H36" stroke="currentColor" stroke-width="2.2"{dashes}/>'
        f'<path d="{line.path}" fill="currentColor"/></svg>'
    )


def score_plots(systems: Sequence[SystemFigures], transfers: Sequence[Transfer]) -> dict[str, list[Plot]]:
    """Draw all plots of an evaluation: heading of a section → plots.

    DET curves and a histogram of each system; errors by threshold and reliability of each system and
    test set.
    """
    plots: dict[str, list[Plot]] = {}
    if systems:
        entries = []
        for number, system in enumerate(systems):
            entries.append(Markup("{}{}").format(swatch_svg(number), system.name))
        legend = Markup(" ").join(entries)
        plots["DET curves and scores"] = [Plot(_det_svg(systems), _DET_CAPTION.format(legend), "tall")]
        for system, svg in zip(systems, _distribution_svgs(systems)):
            plots["DET curves and scores"].append(Plot(svg, _SCORES_CAPTION.format(system.name)))
    for number, transfer in enumerate(transfers):
        for position, judged in enumerate(transfer.sets):
            if judged.is_development:
                continue
            name = judged.name
            if len(transfers) > 1:
                name = f"{transfer.system} on {name}"
            id = f"{number}-{position}"
            errors = threshold_svg(judged, transfer.decider.llr_threshold, id)
            raw = _RAW_CAPTION.format(swatch_svg(1)) if judged.raw else ""
            caption = _RELIABILITY_CAPTION.format(name, swatch_svg(0), raw)
            plots.setdefault(SECTION, []).append(Plot(errors, _THRESHOLD_CAPTION.format(name)))
            plots[SECTION].append(Plot(reliability_svg(judged, id), caption))
    return plots


_DET_CAPTION = Markup(
    "{}<br>Misses against false alarms at all thresholds, on the scale of normal deviates; the mark is the EER."
)
_SCORES_CAPTION = Markup(
    '<b>{}</b>: the share of each class, <span class="key"><span class="box bonafide"></span>bona fide</span> and <span '
    'class="key"><span class="box spoof"></span>spoof</span>, in every bin of scores; dashed is the threshold of the '
    "EER. Trials beyond the axis are counted below its ends."
)
_THRESHOLD_CAPTION = Markup(
    '<b>{}</b>: <span class="key"><span class="box bonafide"></span>misses</span> and <span class="key"><span class="box '
    'spoof"></span>false alarms</span> at each threshold. The line is the transferred threshold; dashed is that of this '
    "set’s own EER."
)
_RELIABILITY_CAPTION = Markup(
    "<b>{}</b>: reliability. {}calibrated, with Wilson’s 95 % intervals{}. Good probabilities lie on the diagonal. The "
    "prior is the share of bona fide trials of this set."
)
_RAW_CAPTION = Markup("; {}the scores as they are, read as ratios")


# DET curves and scores


def _det_svg(systems: Sequence[SystemFigures]) -> Markup:
    figure, axes = figure_of(4.6, 4.4)
    _draw_det(axes, systems)
    title = f"DET curves of {len(systems)} systems" if len(systems) > 1 else "DET curve"
    eer_texts = "; ".join(f"{system.name}: EER {100 * system.row.value('eer'):.2f} %" for system in systems)
    return svg_of(figure, "det", title, f"Misses against false alarms at all thresholds. {eer_texts}.")


def _draw_det(axes: Axes, systems: Sequence[SystemFigures]) -> None:
    curves = [thin_det(system.matched.bonafide, system.matched.spoof) for system in systems]
    eers = [system.row.value("eer") for system in systems]
    low, high = det_range(curves, eers)
    limits = (float(ndtri(low)), float(ndtri(high)))
    axes.plot(limits, limits, color=GRID, linewidth=0.8, linestyle=":")
    for number, (misses, false_alarms) in enumerate(curves):
        series, line = line_of(number)
        colour = SERIES_COLOURS[series]
        # A rate of 0 or 1 lies at infinity: let the line end outside of the frame.
        x, y = np.clip(ndtri([false_alarms, misses]), limits[0] - 1, limits[1] + 1)
        axes.plot(x, y, color=colour, linewidth=1.6, linestyle=_linestyle(line))
        eer = [float(np.clip(ndtri(eers[number]), *limits))]
        (mark,) = axes.plot(eer, eer, color=colour, linestyle=_linestyle(line), label=systems[number].name)
        mark.set(marker=line.marker, markersize=5.5, clip_on=False, zorder=3)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="false alarms: spoof accepted, %")
    axes.set_ylabel("misses: bona fide rejected, %")
    ticks: dict[float, str] = {}
    # A tick is skipped if its label would touch the label of an earlier tick.
    for rate in sorted(RATES, key=_tick_rank):
        position = float(ndtri(rate))
        is_apart = all(abs(position - tick) > 0.065 * (limits[1] - limits[0]) for tick in ticks)
        if low <= rate <= high and is_apart:
            ticks[position] = f"{100 * rate:g}"
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(list(ticks), labels=list(ticks.values()))
    axes.grid(color=GRID, linewidth=0.5)


def _tick_rank(rate: float) -> int:
    """Powers of ten get their ticks first, then rates that begin with 5 or 2, then other rates."""
    ranks = {"1": 0, "5": 1, "2": 2}
    return ranks.get(f"{rate:.0e}"[0], 3)


def _linestyle(line: _Line) -> tuple[int, tuple[float, ...]] | str:
    return (0, line.dashes) if line.dashes else "-"


def _distribution_svgs(systems: Sequence[SystemFigures]) -> list[Markup]:
    height = _HEIGHTS.get(len(systems), 2.6)
    figures, all_axes = zip(*(figure_of(4.6, height) for _ in systems))
    svgs = []
    for number, description in enumerate(_draw_distributions(all_axes, systems)):
        title = f"Scores of {systems[number].name} by class"
        svgs.append(svg_of(figures[number], f"scores-{number}", title, description))
    return svgs


def _draw_distributions(all_axes: Sequence[Axes], systems: Sequence[SystemFigures]) -> list[str]:
    """Draw a histogram of each system, with a line at its EER threshold; return descriptions.

    Axes of scores, and of shares of trials, are common if each system fills at least half; the
    number of bins is always common.
    """
    scores = [[system.matched.spoof, system.matched.bonafide] for system in systems]
    ranges = _common_ranges(list(map(score_range, scores)))
    bins = min(num_bins(classes, *ends) for classes, ends in zip(scores, ranges))
    edges = []
    limits = []
    for classes, ends in zip(scores, ranges):
        edges.append(np.linspace(*ends, bins + 1))
        # In percent, with 5 % of room above.
        limits.append((0.0, 105 * float(np.max(_shares_in_bins(classes, edges[-1])))))
    limits = _common_ranges(limits)
    descriptions = []
    for number, (axes, system) in enumerate(zip(all_axes, systems)):
        scores_of = {"bona fide": system.matched.bonafide, "spoof": system.matched.spoof}
        facts = draw_histograms(axes, scores_of, edges[number], system.row.value("threshold"), "threshold of the EER")
        axes.set(ylim=limits[number], xlabel="score", ylabel="trials of the class, %")
        count = f"Scores of {system.matched.bonafide.size} bona fide and {system.matched.spoof.size} spoofed trials"
        descriptions.append("; ".join([count, *facts]) + ".")
    return descriptions


def write_score_plot(systems: Sequence[SystemFigures], path: str | Path) -> None:
    """Draw DET curves and scores for a paper into a .svg, .pdf or .png; reproducible to the byte."""
    # Letters stay searchable, names stay as they are, and the threshold's text fits below the titles.
    with matplotlib.rc_context(
        {
            "svg.hashsalt": "nes2net",
            "pdf.fonttype": 42,
            "text.parse_math": False,
            "axes.titlecolor": INK,
            "axes.titlepad": 18,
            "axes.titlesize": 8.5,
            "legend.fontsize": 8.5,
            "legend.frameon": False,
            "legend.labelcolor": INK,
        }
    ):
        figure = Figure(figsize=(9.2, max(4.4, 2.2 * len(systems))), layout="constrained")
        grid = figure.add_gridspec(len(systems), 2)
        det = figure.add_subplot(grid[:, 0])
        histograms = [figure.add_subplot(grid[number, 1]) for number in range(len(systems))]
        _draw_det(det, systems)
        _draw_distributions(histograms, systems)
        for axes, system in zip(histograms, systems):
            axes.set_title(system.name, loc="left")
        lines, _ = det.get_legend_handles_labels()
        areas, _ = histograms[0].get_legend_handles_labels()
        figure.legend(handles=[*lines, *areas], loc="outside upper center", ncols=3)
        for axes in figure.axes:
            _style(axes)
        with writing(path):
            save_picture(figure, path, dpi=300, metadata=_UNDATED.get(Path(path).suffix))


def _shares_in_bins(classes: Iterable[NDArray], edges: NDArray) -> list[NDArray]:
    return [np.histogram(scores, edges)[0] / scores.size for scores in classes]


def _common_ranges(ranges: list[Interval]) -> list[Interval]:
    lows, highs = zip(*ranges)
    low = min(lows)
    high = max(highs)
    narrowest = min(map(operator.sub, highs, lows))
    # A system whose scores fill less than half of a joint axis could not be read off it.
    return ranges if 2 * narrowest < high - low else [(low, high)] * len(ranges)


def draw_histograms(
    axes: Axes, classes: Mapping[str, NDArray], edges: NDArray, threshold: float | None, threshold_name: str
) -> list[str]:
    """Draw two classes over each other, with a dashed line at ``threshold``, if any.

    Args:
        classes: name → scores, first in the colour of bona fide, then of spoof.
        edges: B + 1 edges of the bins, which are also the ends of the axis.
        threshold_name: in the text above the line.

    Returns:
        Texts for the description: where the line is, and how many scores lie beyond each end.
    """
    low = float(edges[0])
    high = float(edges[-1])
    colours = (SPOOF_COLOUR, BONAFIDE_COLOUR)
    for (kind, scores), colour in zip(reversed(list(classes.items())), colours):
        (shares,) = _shares_in_bins([scores], edges)
        axes.stairs(100 * shares, edges, fill=True, color=colour, alpha=0.35, label=kind)
        axes.stairs(100 * shares, edges, color=colour, linewidth=1.4)
    axes.set(xlim=(low, high))
    facts = []
    if threshold is not None:
        facts.append(f"{threshold_name}: {threshold:.4g}".replace("-", "−"))
        if low <= threshold <= high:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle="--")
            position = (threshold - low) / (high - low)
            align = "center"
            if position < 0.3:
                align = "left"
            elif position > 0.7:
                align = "right"
            axes.text(
                position, 1.02, facts[0], transform=axes.transAxes, ha=align, va="bottom", color=INK, fontsize=8.5
            )
    # 20 points down, in inches.
    offset = matplotlib.transforms.ScaledTranslation(0, -20 / 72, axes.figure.dpi_scale_trans)
    below_axis = axes.transAxes + offset
    low_end = ("below", np.less, low, 0, "left", "◂ {}")
    high_end = ("above", np.greater, high, 1, "right", "{} ▸")
    for side, is_beyond, bound, x, align, form in (low_end, high_end):
        counts = []
        for kind, scores in classes.items():
            if num_beyond := np.count_nonzero(is_beyond(scores, bound)):
                counts.append(f"{num_beyond} {kind}")
        if counts:
            text = ", ".join(counts)
            facts.append(f"{text} {side} the axis")
            axes.text(x, 0, form.format(text), transform=below_axis, ha=align, va="top", color=INK, fontsize=8.5)
    return facts


# At a transferred threshold


def threshold_svg(judged: JudgedSet, threshold: float, name: str) -> Markup:
    """Draw misses and false alarms of a test set over the threshold, a log-likelihood ratio.

    Lines: dashed at the set's own EER, solid at ``threshold``. Ids contain ``name``.
    """
    own_threshold = judged.row.value("eer_llr")
    miss = judged.row.value("miss")
    false_alarm = judged.row.value("false_alarm")
    low, high = score_range(judged.llrs)
    low = min(low, threshold, own_threshold)
    high = max(high, threshold, own_threshold)
    steps = np.linspace(low, high, _STEPS)
    bonafide, spoof = judged.llrs
    missed = np.searchsorted(np.sort(bonafide), steps) / bonafide.size
    rejected = np.searchsorted(np.sort(spoof), steps) / spoof.size
    figure, axes = figure_of(5.2, 3.6)
    axes.plot(steps, 100 * missed, color=BONAFIDE_COLOUR, linewidth=1.6)
    axes.plot(steps, 100 * (1 - rejected), color=SPOOF_COLOUR, linewidth=1.6)
    axes.axvline(threshold, color=INK, linewidth=1.4)
    axes.axvline(own_threshold, color=INK, linewidth=1, linestyle="--")
    for rate, colour in ((miss, BONAFIDE_COLOUR), (false_alarm, SPOOF_COLOUR)):
        axes.plot([threshold], [100 * rate], marker="o", markersize=5.5, color=colour, zorder=3)
    axes.set(xlim=(low, high), ylim=(0, 100), xlabel="threshold, log-likelihood ratio", ylabel="trials of the class, %")
    description = (
        f"At the transferred threshold, {threshold:.4g}, {100 * miss:.2f} % of bona fide trials are missed and "
        f"{100 * false_alarm:.2f} % of spoofed ones accepted. At {own_threshold:.4g} both rates are nearest to equal."
    )
    return svg_of(figure, f"threshold-{name}", f"Misses and false alarms of {judged.name} by threshold", description)


def reliability_svg(judged: JudgedSet, name: str) -> Markup:
    """Draw the share of bona fide trials in each bin over the predicted probability.

    A second line has scores before calibration, if known. Ids contain ``name``.
    """
    figure, axes = figure_of(5.2, 3.6)
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.2)
    calibrated = reliability(judged.llrs)
    # key: line style; later ones are drawn on top
    curves = ({1: reliability(judged.raw)} if judged.raw else {}) | {0: calibrated}
    for number, bins in curves.items():
        series, line = line_of(number)
        colour = SERIES_COLOURS[series]
        x, y, low, high, _ = np.array(bins).T
        axes.plot(
            x, y, color=colour, linestyle=_linestyle(line), linewidth=1.4, marker=line.marker, markersize=5, zorder=3
        )
        if number == 0:
            axes.errorbar(x, y, yerr=(y - low, high - y), fmt="none", ecolor=colour, elinewidth=0.9, capsize=2.5)
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="predicted probability of bona fide",
        ylabel="share that is bona fide",
    )
    text = "; ".join(f"predicted {bin.predicted:.2f}: {bin.share:.2f}" for bin in calibrated)
    return svg_of(figure, f"reliability-{name}", f"Reliability of {judged.name}", f"Share of bona fide trials: {text}.")


# Axes and figures


def score_range(classes: Sequence[NDArray]) -> Interval:
    """Choose the ends of an axis for the scores of several classes.

    Beyond either end lies 0.1 % of the scores of each class, or 1 % if this halves the axis;
    classes with fewer than 1,000 or 100 scores lose none. Equal scores get 0.5 to both sides.
    """
    lows = []
    highs = []
    for scores in classes:
        lows.append(np.quantile(scores, _TAILS, method="lower"))
        highs.append(np.quantile(scores, 1 - _TAILS, method="higher"))
    lowest = np.min(lows, axis=0)  # one element for each share in _TAILS
    highest = np.max(highs, axis=0)
    widths = highest - lowest
    tail = 1 if widths[1] < widths[0] / 2 else 0
    low = float(lowest[tail])
    high = float(highest[tail])
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def num_bins(classes: Sequence[NDArray], low: float, high: float) -> int:
    """Choose 5 to 100 bins between ``low`` and ``high``, the fewest that any class asks for.

    Each class asks for the number of Freedman and Diaconis (1981), but at least that of Sturges
    (1926), and at most 2·√n for n trials.
    """
    num_by_class = []
    for scores in classes:
        number = 2 * math.sqrt(scores.size)
        lower, upper = np.quantile(scores, [0.25, 0.75])
        width = 2 * (upper - lower) / np.cbrt(scores.size)
        if width > 0:
            sturges = math.log2(scores.size) + 1
            number = min(number, max(sturges, (high - low) / width))
        num_by_class.append(math.ceil(number))
    return int(np.clip(min(num_by_class), _MIN_BINS, _MAX_BINS))


def figure_of(width: float, height: float) -> tuple[Figure, Axes]:
    """Create a figure in inches, with axes in the style of all plots."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6 if width > height else 5, steps=[1, 2, 5, 10]))
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.tick_params(colors=INK, labelsize=8.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, fontsize=9)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.patch.set_visible(False)


def svg_of(figure: Figure, name: str, title: str, description: str) -> Markup:
    """Write ``figure`` as a reproducible ``<svg>`` element.

    Args:
        name: beginning of all ids, unique in the page.
        title, description: for screen readers.
    """
    # As text, not outlines, without the date and other facts that differ between runs.
    buffer = io.BytesIO()
    with matplotlib.rc_context(
        {"svg.hashsalt": f"nes2net-{name}", "svg.fonttype": "none", "font.family": "sans-serif"}
    ):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    # Without metadata and size; ids are unique in a page with several plots, fonts and colours are the page's.
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px sans-serif", text)
    for colour, css_colour in _CSS_COLOURS.items():
        text = text.replace(colour, css_colour)
    head, _, body = text.strip().partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    head = head.replace("<svg ", f'<svg role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc" ', 1)
    words = f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-desc">{escape(description)}</desc>'
    return Markup(f"{head}>\n{words}{body}")  # Matplotlib's markup; `title` and `description` are escaped


# Strips of utterances

_MAX_POINTS = 500  # largest number of steps of a line; a step shows the lowest score of one or more frames
_STRIP_CAPTION = Markup(
    "{}: <b>{}</b>, {:.2f} s, {:.1f} % of it called wrongly. Truth above, scores below; dashed is the threshold. All "
    "strips have the same scale of scores."
)


def strip_plots(examples: Sequence[Example], resolution_ms: float, threshold: float | None) -> list[Plot]:
    """Draw a strip for each example, with one scale of scores and a dashed line at ``threshold``."""
    scores = np.concatenate([example.utterance.scores for example in examples])
    limits = score_limits(scores, smallest_span=1e-3)
    plots = []
    for number, example in enumerate(examples):
        utterance = example.utterance
        svg = strip_svg(utterance, resolution_ms, threshold, limits, number)
        caption = _STRIP_CAPTION.format(
            example.kind.capitalize(), utterance.name, utterance.duration, 100 * example.wrong
        )
        plots.append(Plot(svg, caption, "strip"))
    return plots


def strip_svg(
    utterance: ScoredUtterance, resolution_ms: float, threshold: float | None, limits: Interval, number: int
) -> Markup:
    """Draw true segments above frame scores, from ``limits[0]`` to ``limits[1]``.

    Ids in a page contain ``number``.
    """
    figure, axes = figure_of(13, 1.1)
    low, high = limits
    top = high + 0.25 * (high - low)
    for label, start, end, *_ in utterance.segments:
        colour = BONAFIDE_COLOUR if label == BONAFIDE else SPOOF_COLOUR
        axes.axvspan(start, end, 0.85, color=colour, linewidth=0)
    scores = np.asarray(utterance.scores)
    factor = -(-len(scores) // _MAX_POINTS)  # number of frames that share a step of the line
    # The lowest score of a step, so that a short fake stretch stays visible.
    lowest = np.minimum.reduceat(scores, np.arange(0, len(scores), factor))
    edges = np.arange(len(lowest) + 1) * factor * resolution_ms / 1000
    axes.stairs(lowest, edges, baseline=None, color=INK)
    if threshold is not None and threshold < high:
        axes.axhline(threshold, color=INK, linewidth=1, linestyle="--")
    axes.set(xlim=(0, utterance.duration), ylim=(low, top))
    axes.axis("off")
    return svg_of(figure, f"strip-{number}", f"Truth and scores of {utterance.name}", "")
