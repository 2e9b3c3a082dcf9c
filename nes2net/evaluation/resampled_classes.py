"""Bootstrap intervals of figures of classes: trials are resampled within each class, and unknown classes too.

Resampled trials of a class have multinomial counts in each cell of its row of the confusion, and in each bin
of its scores. Drawing these counts costs the same for a thousand trials and for a million.
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

_AT_ONCE = 4_000_000  # numbers of a chunk of draws
_MOST_BINS = 512  # of scores; more are put together by rank


class Rule(NamedTuple):
    """How a rate follows from a confusion."""

    rate: Callable[[NDArray], float]
    num_trials: int
    """How many trials are behind it."""


class Resamples:
    """The draws of an evaluation.

    Args:
        num_resamples: R.
        seed: their seed; the same one gives the same intervals.

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
        """Compute rates of a confusion, each with its 95 % interval.

        Args:
            rules: name → how the rate follows from counts, and how many trials are behind it.
            known_rows: counts C×K of known classes.
            unknown_rows: counts G×K of unknown ones, which are drawn too; their sum is the last row.
        """
        rng = np.random.default_rng(self.seed)
        size = max(1, _AT_ONCE // known_rows.size)
        values = []
        for start in range(0, self.num_resamples, size):
            number = min(size, self.num_resamples - start)
            drawn = _drawn(rng, known_rows, np.ones((number, len(known_rows)), dtype=np.int64))
            if unknown_rows is not None:
                of_unknown = _drawn(rng, unknown_rows, _draws_of_groups(rng, number, len(unknown_rows)))
                drawn = np.concatenate([drawn, of_unknown.sum(1, keepdims=True)], axis=1)
            values += [[rule.rate(confusion) for rule in rules.values()] for confusion in drawn]
        confusion = known_rows
        if unknown_rows is not None:
            confusion = np.vstack([known_rows, unknown_rows.sum(0)])
        figures = {}
        for (name, rule), draws in zip(rules.items(), np.array(values, dtype=np.float64).T):
            figures[name] = _figure(float(rule.rate(confusion)), draws, rule.num_trials)
        return figures

    def of_scores(self, known: NDArray, groups: Sequence[NDArray]) -> dict[str, Figure]:
        """AUROC, FPR95 and EER of scores of being known, pooled and as means over ``groups``, with intervals.

        Args:
            known: scores of known trials.
            groups: scores of the trials of each unknown class.
        """
        rng = np.random.default_rng(self.seed)
        edges = _edges(np.concatenate([known, *groups]))
        known_counts = _drawn(rng, _histogram(known, edges)[None], np.ones((self.num_resamples, 1), dtype=np.int64))[
            :, 0
        ]
        times = _draws_of_groups(rng, self.num_resamples, len(groups))
        unknown_counts = np.zeros_like(known_counts)
        sums = {"mean_auroc": np.zeros(self.num_resamples), "mean_fpr95": np.zeros(self.num_resamples)}
        for number, scores in enumerate(groups):
            row = _histogram(scores, edges)[None]
            drawn = _drawn(rng, row, times[:, number : number + 1])[:, 0]
            unknown_counts += drawn
            present = times[:, number] > 0
            share = times[present, number] / len(groups)
            sums["mean_auroc"][present] += share * _auroc(known_counts[present], drawn[present])
            sums["mean_fpr95"][present] += share * _fpr95(known_counts[present], drawn[present])
        draws = {
            "auroc": _auroc(known_counts, unknown_counts),
            "fpr95": _fpr95(known_counts, unknown_counts),
            "eer": _eer(known_counts, unknown_counts),
            **sums,
        }
        unknown = np.concatenate(groups)
        values = {
            "auroc": metrics.auroc(known, unknown),
            "fpr95": metrics.fpr95(known, unknown)[0],
            "eer": metrics.compute_eer(known, unknown, "roc")[0],
            "mean_auroc": float(np.mean([metrics.auroc(known, group) for group in groups])),
            "mean_fpr95": float(np.mean([metrics.fpr95(known, group)[0] for group in groups])),
        }
        fewer = min(known.size, unknown.size)
        return {name: _figure(value, draws[name], fewer) for name, value in values.items()}


def _figure(value: float, draws: NDArray, num_trials: int) -> Figure:
    return Figure(value, metrics.rate_interval(value, draws, num_trials))


def _draws_of_groups(rng: np.random.Generator, number: int, num_groups: int) -> NDArray:
    """How often each group is drawn, in ``number`` draws of as many as there are: number×G."""
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=number)


def _drawn(rng: np.random.Generator, counts: NDArray, times: NDArray) -> NDArray:
    """Draw the trials behind each row of ``counts`` C×K, ``times`` R×C as many: R×C×K."""
    drawn = np.zeros((len(times), *counts.shape), dtype=np.int64)
    for row, count in enumerate(counts):
        total = int(count.sum())
        if total:
            drawn[:, row] = rng.multinomial(total * times[:, row], count / total)
    return drawn


def _edges(scores: NDArray) -> NDArray:
    """The lowest score of each bin: all distinct scores, or those at as many evenly spaced ranks."""
    distinct = np.unique(scores)
    if distinct.size > _MOST_BINS:
        ranks = np.linspace(0, scores.size - 1, _MOST_BINS).astype(np.int64)
        distinct = np.unique(np.sort(scores)[ranks])
    return distinct


def _histogram(scores: NDArray, edges: NDArray) -> NDArray:
    return np.bincount(np.searchsorted(edges, scores, side="right") - 1, minlength=edges.size)


def _auroc(known: NDArray, unknown: NDArray) -> NDArray:
    """AUROC (R,) of counts R×B by rising score."""
    below = np.cumsum(unknown, axis=1) - unknown
    pairs = (known * (below + unknown / 2)).sum(1)
    return pairs / (known.sum(1) * unknown.sum(1))


def _fpr95(known: NDArray, unknown: NDArray) -> NDArray:
    """FPR95 (R,) of counts R×B by rising score."""
    accepted = np.cumsum(known[:, ::-1], axis=1)
    needed = -(-95 * known.sum(1, keepdims=True) // 100)
    last = (accepted >= needed).argmax(1)  # the bin of the threshold, from the highest down
    taken = np.cumsum(unknown[:, ::-1], axis=1)
    return np.take_along_axis(taken, last[:, None], axis=1)[:, 0] / unknown.sum(1)


def _eer(known: NDArray, unknown: NDArray) -> NDArray:
    """EER (R,) by the rule ``roc`` of counts R×B by rising score."""
    rates = []
    for known_counts, unknown_counts in zip(known, unknown):
        steps = [np.append(0, counts.cumsum()) for counts in (known_counts, unknown_counts)]
        rates.append(interpolated_crossing(steps[0], steps[1], int(steps[0][-1]), int(steps[1][-1]))[0])
    return np.array(rates)
