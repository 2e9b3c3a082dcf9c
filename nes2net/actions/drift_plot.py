"""Draw traits of new recordings over time, with the calibration's usual ranges."""

from __future__ import annotations

import numpy as np

from nes2net.actions.drift import Drift, values_of
from nes2net.lib.output.pictures import ConciseDateFormatter, Figure
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.outputs import save_picture
from nes2net.scoring.track_plot import BONAFIDE, INK, SPOOF, style

_WIDTH = 9.0  # inches
_PANEL = 1.7  # inches high


def plot_drift(picture: AnyPath, drift: Drift) -> None:
    """Draw a panel for each trait: a dot for each recording, the median of each period, bands of usual ranges.

    Dots outside of the bands have another colour.

    Args:
        picture: written all or not at all; the suffix, such as ``.png``, is the format.
    """
    trait_comparisons = [comparison for comparison in drift.comparisons if comparison.usual.is_measured]
    figure = Figure(figsize=(_WIDTH, 0.6 + _PANEL * len(trait_comparisons)), layout="constrained")
    panels = figure.subplots(len(trait_comparisons), 1, sharex=True, squeeze=False)[:, 0]
    for axes, comparison in zip(panels, trait_comparisons):
        usual = comparison.usual
        for low, high in usual.ranges:
            top = np.nan_to_num(usual.factor * high, posinf=max(low, comparison.values.max()))
            axes.axhspan(usual.factor * low, top, color=BONAFIDE, alpha=0.12, linewidth=0)
        times = [recording.modified for recording in drift.recordings if usual.name in recording.values]
        values = usual.factor * comparison.values
        colours = np.where(usual.is_outside(comparison.values), SPOOF, INK)
        axes.scatter(times, values, s=6, c=colours, alpha=0.4, linewidths=0, rasterized=True)
        medians = []
        middles = []
        for recordings in drift.periods().values():
            period_values = values_of(recordings, usual.name)
            if len(period_values):
                medians.append(usual.factor * float(np.median(period_values)))
                middles.append(recordings[len(recordings) // 2].modified)
        axes.plot(middles, medians, color=INK, linewidth=1.4, marker="o", markersize=4)
        verdict = "no drift found"
        if comparison in drift.found:
            verdict = "drift"
        elif comparison.is_powerless:
            verdict = "too few to tell"
        name = f"{usual.name}, {usual.unit}".removesuffix(", ")
        outside = f"{100 * comparison.outside:.0f} % unusual, {100 * usual.expected:.0f} % expected"
        axes.set_title(f"{name}: {outside}: {verdict}", loc="left", fontsize="small", color=INK)
        style(axes)
    line = "" if drift.by == "none" else f"; line: median of each {drift.by}"
    panels[-1].set_xlabel(f"last change of the file, UTC; shaded: usual in the calibration{line}", color=INK)
    # Show a day at least, because ticks of files that changed together would count microseconds.
    first, last = panels[-1].get_xlim()
    margin = max(0.0, (1 - (last - first)) / 2)  # days
    dates = panels[-1].xaxis
    panels[-1].set_xlim(first - margin, last + margin)
    dates.set_major_formatter(ConciseDateFormatter(dates.get_major_locator()))
    save_picture(figure, picture, dpi=130)
