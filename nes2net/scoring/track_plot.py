"""A plot of a long recording: its waveform, and the scores along it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nes2net.audio.read import SAMPLE_RATE, stream_audio
from nes2net.machine.terminal import printable_name
from nes2net.scoring.track import Track

_COLUMNS = 2000  # the picture has fewer pixels
_WAVEFORM, _SCORE = "#9aa5b1", "#b3261e"


def plot_track(picture: str | Path, audio: str | Path, track: Track, file_format: str | None = None) -> None:
    """Draw ``track`` over the waveform of the file ``audio``.

    The left axis shows scores, the right one amplitude, and the lower one seconds.

    Args:
        picture: file to write.
        file_format: ``png``, ``svg``, ``pdf``, …; None for the suffix of ``picture``.
    """
    low, high = envelope(audio, track.duration)
    seconds = np.linspace(0, track.duration, len(low), endpoint=False)
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    amplitude = figure.add_subplot()
    amplitude.fill_between(seconds, low, high, color=_WAVEFORM, linewidth=0.5, alpha=0.7)
    largest = 1.05 * max(np.abs(low).max(), np.abs(high).max(), 1e-3)
    amplitude.set(ylabel="amplitude", xlabel="time in s", xlim=(0, track.duration), ylim=(-largest, largest))
    score = amplitude.twinx()
    amplitude.yaxis.tick_right()
    amplitude.yaxis.set_label_position("right")
    score.yaxis.tick_left()
    score.yaxis.set_label_position("left")
    marker = "o" if len(track) < 80 else ""
    score.plot(track.times, track.scores, color=_SCORE, linewidth=1.6, marker=marker, markersize=4)
    score.set_ylabel("score (higher: more bona fide)", color=_SCORE)
    score.tick_params(axis="y", colors=_SCORE)
    score.grid(axis="y", linewidth=0.4, alpha=0.6)
    score.margins(y=0.15)
    title = f"{Path(audio).name}: a score for each {track.window:.3g} s, drawn at its middle"
    # Without the escape, matplotlib reads text between dollar signs as mathematics.
    score.set_title(printable_name(title.replace("$", r"\$")), fontsize="medium")
    figure.savefig(picture, dpi=130, format=file_format)


def envelope(audio: str | Path, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sample of each of at most 2,000 equal stretches, (columns,) each."""
    total = max(1, round(duration * SAMPLE_RATE))
    columns = min(_COLUMNS, total)
    low, high = np.full(columns, np.inf, np.float32), np.full(columns, -np.inf, np.float32)
    position = 0
    for block in stream_audio(audio):
        column = np.minimum((position + np.arange(len(block))) * columns // total, columns - 1)
        starts = np.flatnonzero(np.diff(column, prepend=-1))
        low[column[starts]] = np.minimum(low[column[starts]], np.minimum.reduceat(block, starts))
        high[column[starts]] = np.maximum(high[column[starts]], np.maximum.reduceat(block, starts))
        position += len(block)
    empty = ~np.isfinite(low)
    low[empty] = high[empty] = 0
    return low, high
