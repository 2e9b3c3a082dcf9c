"""Draw the curves of a run: losses, measures of the development set, learning rate."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from itertools import chain, cycle
from pathlib import Path

import numpy as np

from nes2net.lib.output.pictures import (
    Axes,
    Figure,
    FigureCanvasAgg,
    LogLocator,
    MaxNLocator,
)
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.storage.files import AnyPath, replacing
from nes2net.scoring.track_plot import add_legend_above
from nes2net.training.measures import ERROR_RATES, Measure
from nes2net.training.selection import Row

# Okabe and Ito's colours, which colour-blind people can tell apart.
_LOSSES = {
    "loss": ("training", "#000000"),
    "val_loss_w_aug": ("development, with RawBoost", "#D55E00"),
    "val_loss_wo_aug": ("development", "#0072B2"),
}
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442")


def plot_curves(
    history: Sequence[Row],
    path: AnyPath,
    title: str = "",
    saved: Collection[int] = (),
    task_measures: Sequence[Measure] = ERROR_RATES,
) -> None:
    """Draw ``history``, the rows of ``history.json``, to the PNG file ``path``, atomically.

    If drawing fails, a line on standard error says so.

    Args:
        saved: epochs whose checkpoints are kept, which are marked.
        task_measures: the task's measures, of which the
            :attr:`~nes2net.training.measures.Measure.prominent` are drawn.
    """
    try:
        with replacing(path) as temporary:
            _draw(history, temporary, title, saved, task_measures)
    except Exception as error:
        say_aside(f"warning: {path} was not drawn ({error})")


def _draw(
    history: Sequence[Row], path: Path, title: str, saved: Collection[int], task_measures: Sequence[Measure]
) -> None:
    # All measures in percent, such as the EER, share a panel. Every other measure has a panel of its own.
    keys = set(chain.from_iterable(history))
    drawn = [measure for measure in task_measures if measure.prominent and measure.column() in keys]
    percentages = [measure for measure in drawn if measure.percent]
    groups = [percentages] if percentages else []
    groups += [[measure] for measure in drawn if not measure.percent]
    num_panels = len(groups) + 2  # losses and learning rate
    figure = Figure(figsize=(8, 2.6 * num_panels), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(title, 80), fontsize="medium", parse_math=False)
    axes = figure.subplots(num_panels, sharex=True)
    _plot_losses(axes[0], history)
    for axis, measures in zip(axes[1:], groups):
        _plot_measures(axis, history, measures)
    _plot_values(axes[-1], history, "lr", None, "#000000")
    axes[-1].set_ylabel("learning rate")
    axes[-1].set_ylim(bottom=0)
    marked = [epoch["epoch"] for epoch in history if epoch["epoch"] in saved]
    if marked:  # the marks are at 3 % of the height of the axis, below all curves
        axes[0].plot(
            marked,
            [0.03] * len(marked),
            "^",
            color="#009E73",
            markersize=5,
            label="saved",
            transform=axes[0].get_xaxis_transform(),
        )
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        add_legend_above(axis)
    axes[-1].set_xlabel("epoch")
    axes[-1].set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.savefig(path, format="png", dpi=120)


def _plot_losses(axis: Axes, history: Sequence[Row]) -> None:
    for name, (label, colour) in _LOSSES.items():
        _plot_values(axis, history, name, label, colour)
    axis.set_ylabel("loss")
    losses = np.array([[epoch.get(name) for name in _LOSSES] for epoch in history], float)  # None becomes NaN
    losses = losses[np.isfinite(losses)]
    if len(losses) and losses.min() > 0:
        axis.set_yscale("log")
        # If all losses are within a factor of 10, an axis that labels powers of ten only would have at most one label.
        if losses.max() > 10 * losses.min():
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        else:
            axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.margins(y=0.15)  # make room for the marks below the curves


def _plot_measures(axis: Axes, history: Sequence[Row], measures: Sequence[Measure]) -> None:
    factor = 1
    axis.set_ylabel(measures[0].title)
    if measures[0].percent:
        factor = 100
        axis.set_ylabel("error rate in %")
    colours = cycle(_COLOURS)
    for measure in measures:
        for key, heading in measure.headings(history).items():
            colour = next(colours)
            _plot_values(axis, history, key, heading, colour, factor)
            rows = [epoch for epoch in history if f"{key}_low" in epoch]
            if rows:
                epochs = [row["epoch"] for row in rows]
                low = [factor * row[f"{key}_low"] for row in rows]
                high = [factor * row[f"{key}_high"] for row in rows]
                axis.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0, label="95 % interval")
    axis.set_ylim(bottom=0)


def _plot_values(
    axis: Axes, history: Sequence[Row], name: str, label: str | None, colour: str, factor: float = 1
) -> None:
    points = [(epoch["epoch"], factor * epoch[name]) for epoch in history if epoch.get(name) is not None]
    if points:
        axis.plot(*zip(*points), color=colour, label=label, marker=".", markersize=5, linewidth=1.2)
