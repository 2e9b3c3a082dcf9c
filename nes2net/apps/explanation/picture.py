"""Draw an explanation: relevance over the spectrogram, over time, and over frequency."""

from __future__ import annotations

import numpy as np

from nes2net.apps.explanation.explain import Explanation
from nes2net.apps.explanation.faithfulness import in_words
from nes2net.apps.explanation.settings import TITLES
from nes2net.lib.output.pictures import Axes, Figure, LinearSegmentedColormap, MaxNLocator, QuadMesh, to_rgba
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.outputs import save_picture
from nes2net.scoring.track_plot import BONAFIDE, INK, SPOOF, draw_spectrogram, drawable, style, write_title

_BAR = "#6b7785"
_COLUMNS = 1200  # largest number of columns of the spectrogram: about the width of the picture in pixels


def draw(picture: AnyPath, explanation: Explanation, *, name: str = "", model: str = "") -> None:
    """Draw ``explanation`` into the file ``picture``; ``name`` and ``model`` are for the title."""
    relevance = explanation.relevance
    layers = explanation.layers
    height = 6.4
    heights = [3.2, 1.3]  # of the rows of panels, relative
    if layers is not None:
        height = 8.2
        heights.append(1.1)
    figure = Figure(figsize=(11, height), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2, width_ratios=[5, 1.2], height_ratios=heights)
    cells = figure.add_subplot(grid[0, 0])
    time = figure.add_subplot(grid[1, 0], sharex=cells)
    bands = figure.add_subplot(grid[0, 1], sharey=cells)
    tint = _draw_cells(cells, explanation)
    time.stairs(relevance.over_time, relevance.times, color=INK, linewidth=1)
    for sign, colour in ((1, BONAFIDE), (-1, SPOOF)):
        relevance_of_sign = np.maximum(sign * relevance.over_time, 0) * sign
        time.stairs(relevance_of_sign, relevance.times, fill=True, color=colour, alpha=0.7)
    time.axhline(0, color=INK, linewidth=0.8)
    time.set(xlabel="time, s", ylabel="relevance")
    edges = relevance.bands / 1000
    colours = [BONAFIDE if value > 0 else SPOOF for value in relevance.over_bands]
    bands.barh(edges[:-1], relevance.over_bands, np.diff(edges), align="edge", color=colours, alpha=0.7)
    bands.axvline(0, color=INK, linewidth=0.8)
    bands.set_xlabel("relevance")
    bands.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))  # more labels would touch each other
    if layers is not None:
        numbers = np.arange(len(layers.shares))
        axes = figure.add_subplot(grid[2, 0])
        axes.bar(numbers, layers.shares, color=_BAR, label="share of the weighted sum")
        axes.plot(numbers, layers.weights, color=INK, marker="o", markersize=3, linewidth=1, label="weight")
        axes.set(xlabel="hidden state (0: input of the first layer)", ylabel="layers")
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.97), frameon=False, fontsize="x-small", ncols=2)
        style(axes)
    for axes in (time, bands):
        style(axes)
    corner = figure.add_subplot(grid[1, 1])
    corner.axis("off")
    # Give the colour bar pointed ends, because the relevance of a few cells lies beyond its range.
    figure.colorbar(
        tint,
        corner.inset_axes((0, 0.5, 1, 0.15)),
        orientation="horizontal",
        extend="both",
        ticks=MaxNLocator(3, steps=[1, 2, 5, 10]),
        label="relevance of a cell\n← spoof       bona fide →",
    )
    title = f"score {explanation.score:.4f}, explained by {TITLES[explanation.method]}".replace("-", "−")
    if model:
        title = f"{drawable(model)}: {title}"
    write_title(cells, name, f"{title}\n{in_words(explanation.checks)}")
    save_picture(figure, picture, dpi=110)


def _draw_cells(axes: Axes, explanation: Explanation) -> QuadMesh:
    relevance = explanation.relevance
    span = (float(relevance.times[0]), float(relevance.times[-1]))
    draw_spectrogram(axes, [explanation.waveform], span, _COLUMNS)
    # Scale by a quantile: a few cells may be far stronger than all others, and must not make the others invisible.
    strength = np.abs(relevance.cells)
    strongest = float(np.quantile(strength, 0.99) or strength.max() or 1.0)
    ends = [
        (0.0, to_rgba(SPOOF, 0.6)),
        (0.5, to_rgba(SPOOF, 0)),
        (0.5, to_rgba(BONAFIDE, 0)),
        (1.0, to_rgba(BONAFIDE, 0.6)),
    ]
    tints = LinearSegmentedColormap.from_list("tints", ends)
    edges = relevance.bands / 1000
    tint = axes.pcolormesh(
        relevance.times, edges, relevance.cells, cmap=tints, vmin=-strongest, vmax=strongest, rasterized=True
    )
    axes.set(xlim=span, ylim=(0, edges[-1]))
    style(axes)
    axes.grid(False)
    return tint
