"""Plot the scores along a recording above its waveform."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.columns import RANGE, envelope, loudest_of, spectrogram
from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import visible
from nes2net.lib.output.pictures import (
    AutoLocator,
    Axes,
    Figure,
    FontProperties,
    FuncFormatter,
    MaxNLocator,
    MultipleLocator,
    findfont,
    get_font,
)
from nes2net.lib.output.times import clock
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.outputs import save_picture
from nes2net.metrics.intervals import Interval
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import drawn_places
from nes2net.scoring.track import MIN_SPAN, Track

#: Colours of the two classes, the same as on the report page in light style.
BONAFIDE = "#0f766e"
SPOOF = "#c2410c"
INK = "#1f2933"
_SCORE = "#1d4ed8"
_WAVEFORM = "#6b7785"

# Most scores drawn as a line: more would fill a picture of 1,280 pixels; then, a median and bands over columns.
_MAX_POINTS = 640
_COLUMNS = 160  # largest number of columns
_SCORES_PER_COLUMN = 6  # smallest number of scores in a column
_BANDS = {"lowest to highest": (0.0, 1.0, 0.15), "10 to 90 % of the scores": (0.1, 0.9, 0.3)}  # quantiles, opacity
_ENVELOPE_COLUMNS = 2000  # largest number of columns in which the waveform is drawn; the picture is narrower

# Possible distances in seconds between ticks of the time axis; the smallest distance that gives fewer than _MAX_TICKS
# ticks is taken.
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
_MAX_TICKS = 13
_MAX_NAME_LENGTH = 90  # names with more characters are shortened


def plot_track(
    picture: AnyPath,
    audio: AnyRecording,
    track: Track,
    *,
    model: str = "",
    threshold: float | None = None,
    scale: str = "score",
    stretches: Sequence[Segment] | None = None,
    shaded: str = "",
    smallest_span: float = MIN_SPAN,
    usual: Interval | None = None,
) -> None:
    """Draw the scores of ``track`` above the waveform of a file.

    Args:
        picture: written all or not at all; the suffix, such as ``.png``, is the format.
        threshold: lowest score of bona fide; the areas above and below are shaded.
        scale: name of the score axis.
        stretches: shaded instead of these areas.
        shaded: their name in the legend; empty for their number.
        smallest_span: of the score axis.
        usual: range of most bona fide scores, as dotted lines.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    scores, waveform = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    if len(track) > _MAX_POINTS:  # draw many scores as a median and bands
        times, quantiles = column_quantiles(track)
        for name, (lower, upper, opacity) in _BANDS.items():
            scores.fill_between(
                times, quantiles[lower], quantiles[upper], color=_SCORE, alpha=opacity, lw=0, label=name
            )
        scores.plot(times, quantiles[0.5], color=_SCORE, linewidth=1.4, label="median")
    else:  # draw fewer scores as a line, and very few scores also as marks
        if len(track) == 1:  # draw a single score as a line over the whole recording
            scores.plot([0, track.duration], np.repeat(track.scores, 2), color=_SCORE, linewidth=1.6, alpha=0.5)
        marker = "o" if len(track) < 80 else ""
        scores.plot(track.times, track.scores, color=_SCORE, linewidth=1.4, marker=marker, markersize=4)
    bottom, top = score_limits(track.scores, threshold, smallest_span)
    scores.set_ylim(bottom, top)
    scores.set_ylabel(f"{scale}\n(higher: more bona fide)")
    if threshold is not None:
        if stretches is None:
            scores.axhspan(threshold, top, color=BONAFIDE, alpha=0.08, linewidth=0)
            scores.axhspan(bottom, threshold, color=SPOOF, alpha=0.08, linewidth=0)
        name = f"threshold {threshold:.4g}".replace("-", "−")
        scores.axhline(threshold, color=INK, linewidth=1, linestyle="--", label=name)
        for y, side, colour, text in ((1, "top", BONAFIDE, "bona fide"), (0, "bottom", SPOOF, "spoof")):
            scores.text(1.005, y, text, color=colour, transform=scores.transAxes, va=side, rotation=270, weight="bold")
    if usual is not None:
        for score, label in zip(usual, ("95 % of bona fide recordings", None)):
            scores.axhline(score, color=INK, linewidth=1, linestyle=":", label=label)
    draw_waveform(waveform, audio, track.duration, _ENVELOPE_COLUMNS)
    waveform.set_ylabel("amplitude")
    label_time_axis(waveform, track.duration)
    if stretches is not None:
        intervals = drawn_places(stretches, track.duration / _ENVELOPE_COLUMNS)
        _shade(scores, intervals, shaded or f"fake ({len(stretches)})")
        _shade(waveform, intervals)
    for axes in (scores, waveform):
        style(axes)
    if len(track) > 1:
        window = f"a score for each {track.window:.3g} s, drawn at its middle"
    else:
        window = "one score for all of it"
    if model:
        window = f"{drawable(model)}: {window}"
    write_title(scores, Path(str(audio)).name, window)
    add_legend_above(scores)
    save_picture(figure, picture, dpi=130)


def add_legend_above(axes: Axes) -> None:
    """Add a legend above ``axes`` if curves have labels."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4, frameon=False, fontsize="small")


def draw_waveform(axes: Axes, audio: AnyRecording, duration: float, most_columns: int) -> None:
    """Draw the envelope of a recording of ``duration`` seconds."""
    low, high = envelope(audio, duration, most_columns)
    seconds = np.linspace(0, duration, len(low), endpoint=False)
    axes.fill_between(seconds, low, high, color=_WAVEFORM, linewidth=0.5)
    largest = 1.05 * max(np.abs(low).max(), np.abs(high).max(), 1e-3)
    axes.set_ylim(-largest, largest)


def draw_spectrogram(axes: Axes, blocks: Iterable[NDArray], span: Interval, most_columns: int) -> None:
    """Draw the spectrogram of ``blocks`` of samples (N,), which last from ``span[0]`` to ``span[1]`` in seconds."""
    decibels = spectrogram(blocks, span[1] - span[0], most_columns)
    loudest = loudest_of(decibels)
    extent = (*span, 0, SAMPLE_RATE / 2000)
    axes.imshow(
        decibels, cmap="Greys", vmin=loudest - RANGE, vmax=loudest, origin="lower", aspect="auto", extent=extent
    )
    axes.set_ylabel("frequency, kHz")


def style(axes: Axes) -> None:
    """Give ``axes`` the style of all pictures."""
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
        if isinstance(axis.get_major_locator(), AutoLocator):
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def write_title(axes: Axes, name: str, subtitle: str) -> None:
    """Write ``name`` and ``subtitle`` above ``axes``, left-aligned."""
    # Without parse_math=False, text between dollar signs would be set as mathematics.
    title = axes.set_title(subtitle, loc="left", fontsize="small", color=INK, parse_math=False)
    above: dict[str, Any] = {"xycoords": title, "textcoords": "offset points", "va": "bottom"}
    axes.annotate(drawable(name), (0, 1), (0, 3), **above, fontsize="large", color=INK, parse_math=False)


def score_limits(scores: NDArray, threshold: float | None = None, smallest_span: float = MIN_SPAN) -> Interval:
    """Choose the score axis: all scores, the threshold, and at least ``smallest_span``.

    >>> score_limits(np.array([1.0])), score_limits(np.array([-10.0, 10.0]))
    ((-1.0, 3.0), (-11.0, 11.0))
    """
    shown = scores if threshold is None else np.append(scores, threshold)
    low = float(shown.min())
    high = float(shown.max())
    centre = (low + high) / 2
    span = max(1.1 * (high - low), smallest_span)
    return centre - span / 2, centre + span / 2


def label_time_axis(axes: Axes, duration: float) -> None:
    """Label round times: s below a minute, m:ss below an hour, h:mm:ss above."""
    step = next((step for step in _STEPS if duration / step < _MAX_TICKS), duration / _MAX_TICKS)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    unit = "h:mm:ss"
    if duration < 60:
        unit = "s"
    elif duration < 3600:
        unit = "m:ss"
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda seconds, _: f"{seconds:g}" if duration < 60 else clock(seconds))
    )
    axes.set(xlabel=f"time, {unit}", xlim=(0, duration))


def column_quantiles(track: Track) -> tuple[NDArray, dict[float, NDArray]]:
    """Divide a long track into columns of neighbouring scores, and compute quantiles.

    Returns:
        Mean seconds of each column (C,); and level, such as 0.5, → quantile of each column (C,).
    """
    num_columns = min(_COLUMNS, len(track) // _SCORES_PER_COLUMN)
    bounds = np.arange(1, num_columns) * len(track) // num_columns
    levels = [0.0, 0.1, 0.5, 0.9, 1.0]
    times = np.array([column.mean() for column in np.split(track.times, bounds)])
    quantiles = np.array([np.quantile(column, levels) for column in np.split(track.scores, bounds)])
    return times, dict(zip(levels, quantiles.T))


def _shade(axes: Axes, intervals: list[Interval], label: str = "") -> None:
    widths = [(start, end - start) for start, end in intervals]
    over_height = axes.get_xaxis_transform()
    axes.broken_barh(widths, (0, 1), transform=over_height, color=SPOOF, alpha=0.2, linewidth=0, label=label)


def drawable(name: str) -> str:
    """Shorten ``name``, and escape characters that the font lacks."""
    if len(name) > _MAX_NAME_LENGTH:
        half = _MAX_NAME_LENGTH // 2
        name = f"{name[:half]}…{name[-half:]}"
    font = get_font(findfont(FontProperties()))
    drawn_name = visible(name)
    for character in set(drawn_name):
        if not font.get_char_index(ord(character)):
            drawn_name = drawn_name.replace(character, character.encode("ascii", "backslashreplace").decode())
    return drawn_name
