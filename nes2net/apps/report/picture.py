"""Draw the picture of a report: waveform, spectrogram, windows, and fake stretches."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from nes2net.apps.report.answer import decided_windows, stretch_of
from nes2net.apps.report.examination import Examination
from nes2net.data.audio.read import stream_audio
from nes2net.evaluation.plots import svg_of
from nes2net.lib.output.pictures import Axes, Figure
from nes2net.lib.output.times import clock
from nes2net.metrics.localisation.stretches import drawn_places
from nes2net.scoring.track import Track
from nes2net.scoring.track_plot import (
    BONAFIDE,
    INK,
    SPOOF,
    draw_spectrogram,
    draw_waveform,
    label_time_axis,
    score_limits,
    style,
)

_WINDOW_COLOUR = "#1d4ed8"
_GREY = "#6b7785"
_COLUMNS = 1000  # number of columns of the spectrogram: about the width of a page in pixels
_MAX_JOINED = 500  # with more windows, no line joins their marks, because the line would fill the picture
_MAX_MARKS = 2000  # largest number of marks that are drawn as vector shapes; more marks become pixels


def draw(examination: Examination) -> Markup:
    """Draw the recording over time, as SVG that refers to no other file; same recording, same bytes."""
    track = examination.judged.track
    assert track is not None  # examine() always scores the windows
    heights = [1.0, 1.6, 2.2]  # inches, from the top
    if examination.fakes is not None:
        heights.append(0.35)
    figure = Figure(figsize=(9, 0.6 + sum(heights)), layout="constrained")
    panels = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    waveform, spectra, windows = panels[:3]
    path = examination.file.recording
    draw_waveform(waveform, path, track.duration, _COLUMNS)
    waveform.set(ylabel="sound", yticks=[])
    draw_spectrogram(spectra, stream_audio(path), (0, track.duration), _COLUMNS)
    _draw_windows(windows, track, examination)
    for panel in panels[:3]:
        style(panel)
        panel.grid(False)
    if examination.fakes is not None:
        strip = panels[3]
        intervals = drawn_places(examination.fakes.stretches, track.duration / _COLUMNS)
        strip.broken_barh([(start, end - start) for start, end in intervals], (0, 1), color=SPOOF, linewidth=0)
        strip.set(ylim=(0, 1), yticks=[])
        strip.set_ylabel("fake", rotation=0, ha="right", va="center")
        style(strip)
    label_time_axis(panels[-1], track.duration)
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    stretch = stretch_of(examination.judged)
    description = "Over time: waveform, spectrogram, and what the detector says of each window."
    if stretch is not None and stretch.stands_out:
        for panel in panels[:3]:
            panel.axvspan(stretch.start, stretch.end, color=SPOOF, alpha=0.2, linewidth=0)
        description += f" {clock(stretch.start)} to {clock(stretch.end)} stands out."
    return svg_of(figure, "recording", "The recording over time", description)


def _draw_windows(axes: Axes, track: Track, examination: Examination) -> None:
    """Draw scores if there is no calibration; unused windows are hollow."""
    decider = examination.judged.decider
    values = np.asarray(track.scores, np.float64)
    usual = None  # range of most bona fide recordings of the calibration
    threshold = None
    if decider is not None:
        values = decider.llrs(values)
        threshold = decider.llr_threshold
        if decider.usual_scores is not None:
            usual = decider.llrs(decider.usual_scores)
    is_used = decided_windows(examination.judged)
    if usual is not None:
        axes.axhspan(float(usual.min()), float(usual.max()), color=BONAFIDE, alpha=0.13, linewidth=0)
    if threshold is not None:
        axes.axhline(threshold, color=INK, linewidth=1, linestyle="--")
    line = np.where(is_used, values, np.nan)
    is_many = len(track) > _MAX_MARKS
    size = float(np.clip(600 / len(track), 1.5, 4.5))
    mark: dict[str, Any] = {"marker": "o", "markersize": size, "rasterized": is_many}
    if len(track) == 1:  # draw a single window as a line of the window's length
        ends = track.times[0] + np.array([-0.5, 0.5]) * track.window
        axes.plot(ends, np.repeat(values, 2), color=_WINDOW_COLOUR if is_used[0] else _GREY, linewidth=1.2, alpha=0.6)
    width = 0.8 if len(track) <= _MAX_JOINED else 0
    axes.plot(track.times, line, color=_WINDOW_COLOUR, linewidth=width, **mark)
    axes.plot(track.times[~is_used], values[~is_used], color=_GREY, linestyle="", markerfacecolor="white", **mark)
    shown = values if usual is None else np.concatenate([values, usual])
    axes.set(
        ylim=score_limits(shown, threshold),
        ylabel="score" if decider is None or decider.calibration.genuine else "evidence",
    )
