"""An explanation as a picture: its relevance over the spectrogram, with curves along time and frequency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nes2net.audio.read import SAMPLE_RATE
from nes2net.explanation.explain import Explanation
from nes2net.scoring.track_plot import BONAFIDE, SPOOF, drawable

_INK, _BAR = "#1f2933", "#6b7785"
_WINDOW, _RANGE = 400, 70.0  # samples of a spectrum, and dB from white to black
_MOST_COLUMNS = 1200  # the picture has hardly more pixels
#: What the methods are called in a title.
TITLES = {
    "occlusion": "occlusion",
    "gradient_x_input": "gradient × input",
    "integrated_gradients": "integrated gradients",
}


def draw(
    picture: str | Path, explanation: Explanation, *, name: str = "", model: str = "", file_format: str | None = None
) -> None:
    """Draw ``explanation``.

    Args:
        picture: file to write.
        name: name of the recording, for the title.
        model: name of the detector, for the title.
        file_format: ``png``, ``svg``, ``pdf``, …; None for the suffix of ``picture``.
    """
    relevance, layers = explanation.relevance, explanation.layers
    figure = Figure(figsize=(11, 6.4 if layers is None else 8.2), layout="constrained")
    heights = [3.2, 1.3] if layers is None else [3.2, 1.3, 1.1]
    grid = figure.add_gridspec(len(heights), 2, width_ratios=[5, 1.2], height_ratios=heights)
    cells = figure.add_subplot(grid[0, 0])
    time = figure.add_subplot(grid[1, 0], sharex=cells)
    bands = figure.add_subplot(grid[0, 1], sharey=cells)
    _draw_cells(cells, explanation)
    time.stairs(relevance.over_time, relevance.times, color=_INK, linewidth=1)
    for sign, colour in ((1, BONAFIDE), (-1, SPOOF)):
        one_side = np.maximum(sign * relevance.over_time, 0) * sign
        time.stairs(one_side, relevance.times, fill=True, color=colour, alpha=0.7)
    time.axhline(0, color=_INK, linewidth=0.8)
    time.set_xlabel("time, s", color=_INK)
    time.set_ylabel("relevance", color=_INK)
    edges = relevance.bands / 1000
    colours = [BONAFIDE if value > 0 else SPOOF for value in relevance.over_bands]
    bands.barh(edges[:-1], relevance.over_bands, np.diff(edges), align="edge", color=colours, alpha=0.7)
    bands.axvline(0, color=_INK, linewidth=0.8)
    bands.set_xlabel("relevance", color=_INK)
    bands.tick_params(labelleft=False)
    if layers is not None:
        numbers, axes = np.arange(len(layers.shares)), figure.add_subplot(grid[2, 0])
        axes.bar(numbers, layers.shares, color=_BAR, label="share of the weighted sum")
        axes.plot(numbers, layers.weights, color=_INK, marker="o", markersize=3, linewidth=1, label="weight")
        axes.set_xlabel("hidden state (0: input of the first layer)", color=_INK)
        axes.set_ylabel("layers", color=_INK)
        axes.legend(frameon=False, fontsize="x-small", ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (time, bands):
        axes.grid(linewidth=0.4, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    legend = figure.add_subplot(grid[1, 1])
    legend.axis("off")
    for y, colour, text in ((0.85, BONAFIDE, "towards bona fide"), (0.6, SPOOF, "towards spoof")):
        legend.text(0, y, f"■ {text}", color=colour, transform=legend.transAxes, weight="bold", fontsize="small")
    checks = [f"{one.of}: {one.ratio:.1f} times".replace("-", "−") for one in explanation.checks]
    legend.text(
        0,
        0.45,
        "\n".join(["without the most relevant tenth", "the score changes, against", "a random tenth, by", *checks]),
        color=_INK,
        transform=legend.transAxes,
        fontsize="x-small",
        va="top",
    )
    # Without parse_math=False, text between dollar signs would be mathematics.
    title = f"score {explanation.score:.4f}, explained by {TITLES[explanation.method]}".replace("-", "−")
    cells.set_title(
        f"{drawable(model)}: {title}" if model else title, fontsize="small", loc="left", color=_INK, parse_math=False
    )
    figure.suptitle(drawable(name), x=0.012, ha="left", fontsize="large", parse_math=False)
    figure.savefig(picture, dpi=110, format=file_format)


def _draw_cells(axes: Axes, explanation: Explanation) -> None:
    """Draw the spectrogram in grey, black being loud, and over it the relevance, the more opaque the stronger."""
    relevance = explanation.relevance
    padded = np.pad(explanation.waveform, (0, max(0, _WINDOW - len(explanation.waveform))))
    hop = max(SAMPLE_RATE // 100, -(-len(padded) // _MOST_COLUMNS))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop] * np.hanning(_WINDOW)
    decibels = 10 * np.log10(np.abs(np.fft.rfft(frames)).T ** 2 + 1e-9)
    loudest = np.quantile(decibels, 0.999)
    extent = (float(relevance.times[0]), float(relevance.times[-1]), 0, SAMPLE_RATE / 2000)
    axes.imshow(
        decibels, cmap="Greys", vmin=loudest - _RANGE, vmax=loudest, origin="lower", aspect="auto", extent=extent
    )
    # A few cells may be far stronger than all others, which would then not be seen.
    strength = np.abs(relevance.cells)
    opacity = 0.6 * np.clip(strength / (np.quantile(strength, 0.99) or strength.max() or 1.0), 0, 1)
    colours = np.where((relevance.cells > 0)[..., None], to_rgb(BONAFIDE), to_rgb(SPOOF))
    edges = relevance.bands / 1000
    axes.pcolormesh(relevance.times, edges, np.concatenate([colours, opacity[..., None]], axis=2), rasterized=True)
    axes.set(xlim=extent[:2], ylim=(0, edges[-1]))
    axes.set_ylabel("frequency, kHz", color=_INK)
    axes.tick_params(labelbottom=False)
