"""Draw the plots of classes: the confusion matrix, and the scores of known and unknown trials."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from nes2net.evaluation.class_trials import ClassTrials
from nes2net.evaluation.plots import (
    BONAFIDE_COLOUR,
    INK,
    draw_histograms,
    figure_of,
    num_bins,
    score_range,
    svg_of,
)
from nes2net.evaluation.result import Plot
from nes2net.evaluation.tables import words
from nes2net.lib.output.pictures import Rectangle

_MAX_NUMBERED = 12  # with more classes than this, the cells have colours but no numbers
_MIN_SHARE = 0.005  # a cell with a smaller share of its row than this stays empty
_CONFUSION_CAPTION = Markup(
    "<b>{}</b>: of the trials of each true class (rows), the share that is given each class (columns), darker for more. "
    "Classes that are taken for each other stand together; the JSON holds the numbers.{}"
)
_UNKNOWN_ROWS = " Below the line are unknown classes: what they are taken for."
_KNOWN_CAPTION = Markup(
    '<b>{}</b>: scores of being known ({}) of <span class="key"><span class="box bonafide"></span>known</span> and <span '
    'class="key"><span class="box spoof"></span>unknown</span> classes, as shares of their trials; dashed is the '
    "threshold, if there is one."
)


def order_of_lookalikes(confusion: NDArray) -> NDArray:
    """Order K classes, as indices (K,), so that classes that are often confused are neighbours.

    Average-linkage clustering of K×K numbers of trials, true × predicted.
    """
    if len(confusion) < 3:
        return np.arange(len(confusion))
    shares = _shares(confusion)
    similarity = (shares + shares.T) / 2  # K×K
    distances = 1 - similarity[np.triu_indices(len(similarity), 1)]
    return leaves_list(linkage(distances, "average", optimal_ordering=True))


def confusion_plot(trials: ClassTrials) -> Plot:
    """Draw known classes, and below them which known classes are predicted for each unknown class.

    Unknown classes are sorted by their most frequent prediction; a class without trials has no row.
    """
    known = trials.known
    unknown = trials.unknown
    order = order_of_lookalikes(known.confusion)
    with_trials = [number for number in order if known.confusion[number].any()]
    by_nearest = np.argsort(unknown.confusion[:, order].argmax(1), kind="stable")
    rows = _shares(np.vstack([known.confusion[with_trials], unknown.confusion[by_nearest]])[:, order])
    names = [known.names[number] for number in with_trials] + [unknown.names[number] for number in by_nearest]
    num_rows, num_columns = rows.shape
    is_wide = num_columns > _MAX_NUMBERED
    width = 2.0 + 0.32 * min(num_columns, 40) if is_wide else 4.6  # inches; 4.6 is the width of the other plots
    figure, axes = figure_of(width, 1.4 + 0.26 * min(num_rows, 80))
    for row, column in zip(*np.nonzero(rows >= _MIN_SHARE)):
        share = float(rows[row, column])
        axes.add_patch(Rectangle((column, row), 1, 1, color=BONAFIDE_COLOUR, alpha=0.9 * share**0.7, linewidth=0))
        if not is_wide:
            axes.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", ha="center", va="center", color=INK, fontsize=8)
    if trials.unknown.names:
        axes.axhline(len(with_trials), color=INK, linewidth=1.2)
    axes.set(xlim=(0, num_columns), ylim=(num_rows, 0), xlabel="taken for", ylabel="class")
    size = 8.5 if num_rows <= 40 else 6.5
    axes.set_xticks(np.arange(num_columns) + 0.5, [known.names[number] for number in order], rotation=90, fontsize=size)
    axes.set_yticks(np.arange(num_rows) + 0.5, names, fontsize=size)
    axes.tick_params(length=0)
    columns = order.tolist()
    recalls = [rows[row, columns.index(number)] for row, number in enumerate(with_trials)]
    description = "; ".join(f"{name}: {100 * recall:.0f} % right" for name, recall in zip(names, recalls))
    svg = svg_of(figure, f"confusion-{trials.system}", f"Confusion of {trials.system}", f"{description}.")
    below = _UNKNOWN_ROWS if trials.unknown.names else ""
    return Plot(svg, _CONFUSION_CAPTION.format(trials.system, below), "wide" if is_wide else "")


def known_plot(trials: ClassTrials, kind: str) -> Plot:
    """Draw histograms of the score ``kind`` of known and unknown trials, and its threshold, if any."""
    classes = {"known": trials.known.known_scores[kind], "unknown": trials.unknown.known_scores[kind]}
    scores = list(classes.values())
    ends = score_range(scores)
    threshold = None
    if trials.threshold is not None and trials.threshold.kind == kind:
        threshold = trials.threshold.threshold
    figure, axes = figure_of(4.6, 3.0)
    edges = np.linspace(*ends, num_bins(scores, *ends) + 1)
    facts = draw_histograms(axes, classes, edges, threshold, "threshold of its development trials")
    axes.set(xlabel=words(kind), ylabel="trials, %")
    medians = (f"median of {name} classes: {np.median(values):.4g}" for name, values in classes.items())
    title = f"Scores of being known of {trials.system}"
    svg = svg_of(figure, f"known-{trials.system}", title, "; ".join([*medians, *facts]) + ".")
    return Plot(svg, _KNOWN_CAPTION.format(trials.system, kind))


def _shares(counts: NDArray) -> NDArray:
    """Shares of each row; 0 in an empty row."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)
