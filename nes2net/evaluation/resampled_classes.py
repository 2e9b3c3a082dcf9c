"""Compute bootstrap intervals of figures of classes.

From G unknown classes, the bootstrap draws G classes with replacement, and then trials of each;
known classes keep their numbers of trials. Numbers of drawn trials in cells of a confusion matrix,
or in bins of scores, are drawn from a multinomial distribution, which is the same as drawing single
trials, but takes no longer for a million trials than for a thousand.

Shapes: K classes of the detector, C known and G unknown classes of trials, B bins of scores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.evaluation.tables import Figure
from nes2net.metrics.eer import interpolate_crossing
from nes2net.metrics.intervals import Drawing, check_draws, draw_counts, values_of_draws
from nes2net.metrics.resampling import single_trials

_MAX_BINS = 512  # largest number of bins of scores


class Rule(NamedTuple):
    """How a rate is computed from a confusion matrix."""

    rate: Callable[[NDArray], float]
    """Computes the rate from numbers of trials; rows are true classes."""
    num_trials: int
    """Number of trials behind the rate, for its interval."""


class Resamples(NamedTuple):
    """Draws the bootstrap resamples of an evaluation, and computes figures with 95 % intervals.

    The methods raise InputError if ``num_resamples`` (R) is below 1, or the seed is negative.
    """

    num_resamples: int
    seed: int

    def of_confusion(
        self, rules: Mapping[str, Rule], known_rows: NDArray, unknown_rows: Sequence[NDArray] | NDArray = ()
    ) -> dict[str, Figure]:
        """Compute rates of a confusion matrix with 95 % intervals.

        Args:
            rules: name of a rate → its rule.
            known_rows: numbers of trials, C×K.
            unknown_rows: G×K; their sum is the last row of the matrix, if given.
        """
        rows = np.vstack((known_rows, *unknown_rows))
        # Where each row of the matrix begins in `rows`; the last one continues to the end.
        starts = np.arange(min(len(rows), len(known_rows) + 1))

        def rates_of(counts: NDArray) -> list[float]:
            confusion = np.add.reduceat(counts, starts)
            return [rule.rate(confusion) for rule in rules.values()]

        draws = self._draws(rates_of, rows, len(known_rows))
        figures = {}
        for (name, rule), value, values in zip(rules.items(), rates_of(rows), draws.T):
            figures[name] = _figure(float(value), values, rule.num_trials)
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
        unknown = np.concatenate(groups)
        scores = np.sort(np.concatenate((known_scores, unknown)))
        ranks = np.linspace(0, scores.size - 1, _MAX_BINS).astype(np.int64)
        edges = np.unique(scores[ranks])  # the lowest scores of bins, (B,)
        bins = np.stack([_histogram(row, edges) for row in (known_scores, *groups)])  # (1 + G)×B
        draws = self._draws(functools.partial(_rates_of_bins, bins[1:].sum(1)), bins, 1)
        # Only intervals come from bins, figures from scores.
        values = {name: rate(known_scores, unknown) for name, rate in RATES_OF_SCORES.items()}
        for name in ("auroc", "fpr95"):
            values[f"mean_{name}"] = float(np.mean([RATES_OF_SCORES[name](known_scores, group) for group in groups]))
        fewer = min(known_scores.size, unknown.size)
        return {name: _figure(value, row, fewer) for (name, value), row in zip(values.items(), draws.T)}

    def _draws(self, rates_of: Callable[[NDArray], list[float]], rows: NDArray, num_known: int) -> NDArray:
        """Compute rates of drawn numbers of trials, R×rates.

        Of ``rows``, (C + G)×K, the first C are of known classes.
        """
        check_draws(self.num_resamples, self.seed)
        sizes = rows.sum(1)
        shares = rows / np.maximum(sizes, 1)[:, None]
        num_unknown = len(rows) - num_known

        def draw(index: int) -> NDArray:
            rng = np.random.default_rng([self.seed, index])
            drawn_sizes = sizes.copy()
            if num_unknown:
                drawn_sizes[num_known:] *= draw_counts(rng, num_unknown)
            return rng.multinomial(drawn_sizes, shares).ravel()

        def evaluate(weights: NDArray) -> NDArray:
            return np.array([rates_of(counts) for counts in weights.reshape(-1, *rows.shape)])

        drawing = Drawing(single_trials(rows.size), draw, len(rows))
        return np.array(list(values_of_draws([evaluate], drawing, self.num_resamples)))


def _figure(value: float, draws: NDArray, num_trials: int) -> Figure:
    return Figure(value, metrics.rate_interval(value, draws, num_trials))


def _histogram(scores: NDArray, edges: NDArray) -> NDArray:
    return np.bincount(np.searchsorted(edges, scores, side="right") - 1, minlength=edges.size)


def _rates_of_bins(sizes: NDArray, counts: NDArray) -> list[float]:
    """Compute the rates of :meth:`Resamples.of_scores`, in its order.

    ``counts`` (1 + G)×B are of known trials and of unknown classes, which have ``sizes`` (G,).
    """
    known = counts[0]
    unknown = counts[1:].sum(0)
    # A class that is drawn several times counts that many times in the mean.
    times = counts[1:].sum(1) / sizes
    drawn = counts[1:][times > 0]
    means = [np.average(rate(known, drawn), weights=times[times > 0]) for rate in (_auroc, _fpr95)]
    # Known and unknown trials below each bin's edge, from 0 to all: (B + 1,).
    steps = np.append(0, known.cumsum()), np.append(0, unknown.cumsum())
    eer, *_ = interpolate_crossing(*steps, known.sum(), unknown.sum())
    return [_auroc(known, unknown), _fpr95(known, unknown), eer, *means]


def _auroc(known: NDArray, unknown: NDArray) -> NDArray:
    """(…) from counts (B,) and (…, B) in bins of rising score."""
    below = np.cumsum(unknown, axis=-1) - unknown  # unknown trials in lower bins
    ordered_pairs = (known * (below + unknown / 2)).sum(-1)  # a pair of trials in the same bin counts half
    return ordered_pairs / (known.sum() * unknown.sum(-1))


def _fpr95(known: NDArray, unknown: NDArray) -> NDArray:
    """(…) from counts (B,) and (…, B) in bins of rising score."""
    # The threshold is the lowest score of the highest bin that accepts 95 % of the known trials, rounded up.
    rejected_known = np.cumsum(known) - known
    threshold_bin = np.searchsorted(rejected_known, known.sum() * 5 // 100, side="right") - 1
    return unknown[..., threshold_bin:].sum(-1) / unknown.sum(-1)


#: Name → rate of scores of known (N,) and unknown (M,) trials.
RATES_OF_SCORES: dict[str, Callable[[NDArray, NDArray], float]] = {
    "auroc": metrics.auroc,
    "fpr95": lambda scores, unknown_scores: metrics.fpr95(scores, unknown_scores)[0],
    "eer": lambda scores, unknown_scores: metrics.compute_eer(scores, unknown_scores, "roc")[0],
}
