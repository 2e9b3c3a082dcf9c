"""Compute bootstrap intervals of figures of classes.

From G unknown classes, the bootstrap draws G classes with replacement, and then the trials of each
drawn class. Drawing single trials would take long. Instead, the numbers of drawn trials in the
cells of a confusion matrix, or in bins of scores, are drawn from a multinomial distribution. These
numbers have the same distribution as if single trials were drawn, but drawing them takes no longer
for a million trials than for a thousand.

In shapes, R is the number of draws, and K is the number of classes of the detector. The trials have
C known and G unknown classes, and their scores fall into B bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.evaluation.tables import Figure
from nes2net.metrics.eer import interpolated_crossing
from nes2net.metrics.intervals import check_draws

_AT_ONCE = 4_000_000  # largest number of counts that are in memory at once
_MOST_BINS = 512  # largest number of bins of scores


class Rule(NamedTuple):
    """A rule by which a rate is computed from a confusion matrix."""

    rate: Callable[[NDArray], float]
    """Computes the rate from the numbers of trials in a confusion matrix, whose rows are the true classes."""
    num_trials: int
    """Number of trials from which the rate is computed; the interval of the rate depends on this number."""


class Resamples:
    """Draws the bootstrap resamples of an evaluation, and computes figures with their 95 % intervals.

    Args:
        num_resamples: R, the number of draws.
        seed: seed of the draws; the same seed gives the same intervals.

    Raises:
        InputError: if there are no draws, or the seed is negative.
    """

    def __init__(self, num_resamples: int, seed: int) -> None:
        check_draws(num_resamples, seed)
        self.num_resamples = num_resamples
        self.seed = seed

    def of_confusion(
        self, rules: Mapping[str, Rule], known_rows: NDArray, unknown_rows: NDArray | None = None
    ) -> dict[str, Figure]:
        """Compute rates of a confusion matrix, each with its 95 % interval.

        Args:
            rules: name of a rate → its rule.
            known_rows: numbers of trials, C×K; a row for each known class.
            unknown_rows: numbers of trials, G×K; a row for each unknown class. The sum of these
                rows is the last row of the confusion matrix. None if the matrix has no such row.
        """
        rng = np.random.default_rng(self.seed)
        chunk_size = max(1, _AT_ONCE // known_rows.size)  # draws
        rates_of_draws = []
        for start in range(0, self.num_resamples, chunk_size):
            num_draws = min(chunk_size, self.num_resamples - start)
            confusions = _draw_counts(rng, known_rows, np.ones((num_draws, len(known_rows)), dtype=np.int64))
            if unknown_rows is not None:
                repeats = _draw_groups(rng, num_draws, len(unknown_rows))
                unknown_counts = _draw_counts(rng, unknown_rows, repeats)
                confusions = np.concatenate([confusions, unknown_counts.sum(1, keepdims=True)], axis=1)
            rates_of_draws += [[rule.rate(confusion) for rule in rules.values()] for confusion in confusions]
        confusion = known_rows
        if unknown_rows is not None:
            confusion = np.vstack([known_rows, unknown_rows.sum(0)])
        figures = {}
        for (name, rule), draws in zip(rules.items(), np.array(rates_of_draws, dtype=np.float64).T):
            figures[name] = _figure(float(rule.rate(confusion)), draws, rule.num_trials)
        return figures

    def of_scores(self, known: NDArray, groups: Sequence[NDArray]) -> dict[str, Figure]:
        """Compute AUROC, FPR95 and EER of known against unknown trials, each with its 95 % interval.

        Args:
            known: the score of being known of each trial of a known class, (N,).
            groups: the score of being known of each trial of an unknown class; an array for each
                class.

        Returns:
            ``auroc``, ``fpr95`` and ``eer`` of all unknown trials together; ``mean_auroc`` and
            ``mean_fpr95`` are the means of the AUROC and of the FPR95 over the unknown classes.
        """
        known = np.sort(known)  # the metrics below are faster if the scores are sorted
        # Draw how many known and how many unknown trials each bin of scores holds.
        rng = np.random.default_rng(self.seed)
        edges = _bin_edges(np.concatenate([known, *groups]))
        once = np.ones((self.num_resamples, 1), dtype=np.int64)
        known_counts = _draw_counts(rng, _histogram(known, edges)[None], once)[:, 0]  # R×B
        times = _draw_groups(rng, self.num_resamples, len(groups))  # R×G
        unknown_counts = np.zeros_like(known_counts)
        means = {name: np.zeros(self.num_resamples) for name in _AVERAGED}
        for number, scores in enumerate(groups):
            row = _histogram(scores, edges)[None]
            group_counts = _draw_counts(rng, row, times[:, number : number + 1])[:, 0]  # R×B
            unknown_counts += group_counts
            # If a draw has a class several times, the class counts that many times in the mean over the classes.
            present = times[:, number] > 0  # draws that contain the class
            weight = times[present, number] / len(groups)
            for name in _AVERAGED:
                means[name][present] += weight * _OF_COUNTS[name](known_counts[present], group_counts[present])
        # Compute the figures from the scores; only the intervals come from the bins.
        unknown = np.concatenate(groups)
        fewer = min(known.size, unknown.size)
        figures = {}
        for name, rate in RATES_OF_SCORES.items():
            figures[name] = _figure(rate(known, unknown), _OF_COUNTS[name](known_counts, unknown_counts), fewer)
        for name in _AVERAGED:
            mean = float(np.mean([RATES_OF_SCORES[name](known, group) for group in groups]))
            figures[f"mean_{name}"] = _figure(mean, means[name], fewer)
        return figures


def _figure(value: float, draws: NDArray, num_trials: int) -> Figure:
    """Make the figure of a rate; its 95 % interval comes from ``draws`` (R,), the values of the rate in all draws."""
    return Figure(value, metrics.rate_interval(value, draws, num_trials))


def _draw_groups(rng: np.random.Generator, num_draws: int, num_groups: int) -> NDArray:
    """In each of R draws, draw G of G groups with replacement; return how often each group was drawn, R×G."""
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=num_draws)


def _draw_counts(rng: np.random.Generator, counts: NDArray, times: NDArray) -> NDArray:
    """Draw trials with replacement, separately for each row of ``counts``, and return the counts of drawn trials.

    Args:
        counts: numbers of trials, C×K.
        times: R×C: how often the trials of each row are drawn. With an element t and a row of n
            trials, a draw takes t·n trials of the row.

    Returns:
        The numbers of trials in each draw, R×C×K.
    """
    drawn = np.zeros((len(times), *counts.shape), dtype=np.int64)
    for row, count in enumerate(counts):
        total = int(count.sum())
        if total:
            drawn[:, row] = rng.multinomial(total * times[:, row], count / total)
    return drawn


def _bin_edges(scores: NDArray) -> NDArray:
    """Divide ``scores`` into bins, and return the lowest score of each bin, (B,).

    Each distinct score has its own bin. If there are more than 512 distinct scores, the bins begin
    at the scores of 512 evenly spaced ranks.
    """
    distinct = np.unique(scores)
    if distinct.size > _MOST_BINS:
        ranks = np.linspace(0, scores.size - 1, _MOST_BINS).astype(np.int64)
        distinct = np.unique(np.sort(scores)[ranks])
    return distinct


def _histogram(scores: NDArray, edges: NDArray) -> NDArray:
    """Count the scores in each bin, (B,); ``edges`` (B,) are the lowest scores of the bins, from :func:`_bin_edges`."""
    return np.bincount(np.searchsorted(edges, scores, side="right") - 1, minlength=edges.size)


def _auroc(known: NDArray, unknown: NDArray) -> NDArray:
    """Compute the AUROC (R,) from counts R×B of known and of unknown trials in bins of rising score."""
    below = np.cumsum(unknown, axis=1) - unknown  # unknown trials in lower bins
    ordered_pairs = (known * (below + unknown / 2)).sum(1)  # a pair of trials in the same bin counts half
    return ordered_pairs / (known.sum(1) * unknown.sum(1))


def _fpr95(known: NDArray, unknown: NDArray) -> NDArray:
    """Compute the FPR95 (R,) from counts R×B of known and of unknown trials in bins of rising score."""
    # From the highest bin down, count the trials in each bin and all higher bins: the trials that are accepted if the
    # threshold is the lowest score of the bin.
    accepted_known = np.cumsum(known[:, ::-1], axis=1)
    accepted_unknown = np.cumsum(unknown[:, ::-1], axis=1)
    needed = -(-95 * known.sum(1, keepdims=True) // 100)  # 95 % of the known trials, rounded up
    threshold_bin = (accepted_known >= needed).argmax(1)
    return np.take_along_axis(accepted_unknown, threshold_bin[:, None], axis=1)[:, 0] / unknown.sum(1)


def _eer(known: NDArray, unknown: NDArray) -> NDArray:
    """Compute the EER (R,), method ``roc``, from counts R×B of known and of unknown trials in bins of rising score."""
    rates = []
    for known_counts, unknown_counts in zip(known, unknown):
        steps = [np.append(0, counts.cumsum()) for counts in (known_counts, unknown_counts)]
        rates.append(interpolated_crossing(steps[0], steps[1], int(steps[0][-1]), int(steps[1][-1]))[0])
    return np.array(rates)


#: Name of a rate → function that computes the rate from the scores (N,) of known and (M,) of unknown trials.
RATES_OF_SCORES: dict[str, Callable[[NDArray, NDArray], float]] = {
    "auroc": metrics.auroc,
    "fpr95": lambda known, unknown: metrics.fpr95(known, unknown)[0],
    "eer": lambda known, unknown: metrics.compute_eer(known, unknown, "roc")[0],
}
# Name of a rate → function that computes the rate (R,) from counts R×B of known and of unknown trials in bins.
_OF_COUNTS = {"auroc": _auroc, "fpr95": _fpr95, "eer": _eer}
_AVERAGED = ("auroc", "fpr95")  # the rates that also have a mean over the unknown classes
