"""Compute bootstrap intervals of figures of classes.

From G unknown classes, the bootstrap draws G classes with replacement, and then trials of each.
Numbers of drawn trials in cells of a confusion matrix, or in bins of scores, are drawn from a
multinomial distribution, which is the same as drawing single trials, but takes no longer for a
million trials than for a thousand.

Shapes: R draws, K classes of the detector, C known and G unknown classes of trials, B bins of
scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.evaluation.tables import Figure
from nes2net.metrics.eer import interpolate_crossing
from nes2net.metrics.intervals import check_draws

_AT_ONCE = 4_000_000  # largest number of counts that are in memory at once
_MAX_BINS = 512  # largest number of bins of scores


class Rule(NamedTuple):
    """How a rate is computed from a confusion matrix."""

    rate: Callable[[NDArray], float]
    """Computes the rate from numbers of trials; rows are true classes."""
    num_trials: int
    """Number of trials behind the rate, for its interval."""


class Resamples:
    """Draws the bootstrap resamples of an evaluation, and computes figures with 95 % intervals.

    Raises:
        InputError: if ``num_resamples`` (R) is below 1, or the seed is negative.
    """

    def __init__(self, num_resamples: int, seed: int) -> None:
        check_draws(num_resamples, seed)
        self.num_resamples = num_resamples
        self.seed = seed

    def of_confusion(
        self, rules: Mapping[str, Rule], known_rows: NDArray, unknown_rows: NDArray | None = None
    ) -> dict[str, Figure]:
        """Compute rates of a confusion matrix with 95 % intervals.

        Args:
            rules: name of a rate → its rule.
            known_rows: numbers of trials, C×K.
            unknown_rows: G×K; their sum is the last row of the matrix, if given.
        """
        rng = np.random.default_rng(self.seed)
        # Another chunk size, or another order of calls of `rng`, would change every interval: draws come from one
        # stream.
        chunk_size = max(1, _AT_ONCE // known_rows.size)  # draws
        rates_of_draws = []
        for start in range(0, self.num_resamples, chunk_size):
            num_draws = min(chunk_size, self.num_resamples - start)
            # (draws, C, K). Every known class keeps its number of trials; unknown classes are drawn themselves.
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

    def of_scores(self, known_scores: NDArray, groups: Sequence[NDArray]) -> dict[str, Figure]:
        """Compute AUROC, FPR95 and EER of known against unknown trials with 95 % intervals.

        Args:
            known_scores: scores of being known (N,).
            groups: scores of being known of each unknown class.

        Returns:
            ``auroc``, ``fpr95`` and ``eer`` of all unknown trials; ``mean_auroc`` and
            ``mean_fpr95`` over the unknown classes.
        """
        known_scores = np.sort(known_scores)  # the metrics below are faster if the scores are sorted
        rng = np.random.default_rng(self.seed)
        edges = _bin_edges(np.concatenate([known_scores, *groups]))
        once = np.ones((self.num_resamples, 1), dtype=np.int64)
        known_counts = _draw_counts(rng, _histogram(known_scores, edges)[None], once)[:, 0]  # R×B
        times = _draw_groups(rng, self.num_resamples, len(groups))  # R×G
        unknown_counts = np.zeros_like(known_counts)
        means = {name: np.zeros(self.num_resamples) for name in _AVERAGED}
        for number, scores in enumerate(groups):
            row = _histogram(scores, edges)[None]
            group_counts = _draw_counts(rng, row, times[:, number : number + 1])[:, 0]  # R×B
            unknown_counts += group_counts
            # A class that is drawn several times counts that many times in the mean.
            present = times[:, number] > 0  # draws that contain the class
            weight = times[present, number] / len(groups)
            for name in _AVERAGED:
                means[name][present] += weight * _OF_COUNTS[name](known_counts[present], group_counts[present])
        # Only intervals come from bins, figures from scores.
        unknown = np.concatenate(groups)
        fewer = min(known_scores.size, unknown.size)
        figures = {}
        for name, rate in RATES_OF_SCORES.items():
            figures[name] = _figure(rate(known_scores, unknown), _OF_COUNTS[name](known_counts, unknown_counts), fewer)
        for name in _AVERAGED:
            mean = float(np.mean([RATES_OF_SCORES[name](known_scores, group) for group in groups]))
            figures[f"mean_{name}"] = _figure(mean, means[name], fewer)
        return figures


def _figure(value: float, draws: NDArray, num_trials: int) -> Figure:
    return Figure(value, metrics.rate_interval(value, draws, num_trials))


def _draw_groups(rng: np.random.Generator, num_draws: int, num_groups: int) -> NDArray:
    """Count how often each of G groups is drawn, R×G."""
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=num_draws)


def _draw_counts(rng: np.random.Generator, counts: NDArray, times: NDArray) -> NDArray:
    """Draw t·n of the n trials of each row, t = ``times`` (R×C): R×C×K from ``counts`` C×K."""
    drawn = np.zeros((len(times), *counts.shape), dtype=np.int64)
    for row, count in enumerate(counts):
        total = int(count.sum())
        if total:
            drawn[:, row] = rng.multinomial(total * times[:, row], count / total)
    return drawn


def _bin_edges(scores: NDArray) -> NDArray:
    """Find the lowest scores of bins (B,): all distinct scores, or 512 evenly spaced ranks."""
    distinct = np.unique(scores)
    if distinct.size > _MAX_BINS:
        ranks = np.linspace(0, scores.size - 1, _MAX_BINS).astype(np.int64)
        distinct = np.unique(np.sort(scores)[ranks])
    return distinct


def _histogram(scores: NDArray, edges: NDArray) -> NDArray:
    return np.bincount(np.searchsorted(edges, scores, side="right") - 1, minlength=edges.size)


def _auroc(known_counts: NDArray, unknown_counts: NDArray) -> NDArray:
    """(R,) from counts R×B in bins of rising score."""
    below = np.cumsum(unknown_counts, axis=1) - unknown_counts  # unknown trials in lower bins
    ordered_pairs = (known_counts * (below + unknown_counts / 2)).sum(1)  # a pair of trials in the same bin counts half
    return ordered_pairs / (known_counts.sum(1) * unknown_counts.sum(1))


def _fpr95(known_counts: NDArray, unknown_counts: NDArray) -> NDArray:
    """(R,) from counts R×B in bins of rising score."""
    # The trials that are accepted if the threshold is the lowest score of a bin.
    accepted_known = np.cumsum(known_counts[:, ::-1], axis=1)
    accepted_unknown = np.cumsum(unknown_counts[:, ::-1], axis=1)
    needed = -(-95 * known_counts.sum(1, keepdims=True) // 100)  # 95 % of the known trials, rounded up
    threshold_bin = (accepted_known >= needed).argmax(1)
    return np.take_along_axis(accepted_unknown, threshold_bin[:, None], axis=1)[:, 0] / unknown_counts.sum(1)


def _eer(known_counts: NDArray, unknown_counts: NDArray) -> NDArray:
    """(R,), method ``roc``, from counts R×B in bins of rising score."""
    rates = []
    for rows in zip(known_counts, unknown_counts):
        # Trials below each bin's edge, from 0 to all: (B + 1,) for known and for unknown trials.
        steps = [np.append(0, row.cumsum()) for row in rows]
        rates.append(interpolate_crossing(steps[0], steps[1], int(steps[0][-1]), int(steps[1][-1]))[0])
    return np.array(rates)


#: Name → rate of scores of known (N,) and unknown (M,) trials.
RATES_OF_SCORES: dict[str, Callable[[NDArray, NDArray], float]] = {
    "auroc": metrics.auroc,
    "fpr95": lambda scores, unknown_scores: metrics.fpr95(scores, unknown_scores)[0],
    "eer": lambda scores, unknown_scores: metrics.compute_eer(scores, unknown_scores, "roc")[0],
}
# Name → rate (R,) of counts R×B in bins.
_OF_COUNTS = {"auroc": _auroc, "fpr95": _fpr95, "eer": _eer}
_AVERAGED = ("auroc", "fpr95")  # the rates that also have a mean over the unknown classes
