"""Compute the figures of scores of claims, with intervals from a bootstrap over claimed people."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.claims import CLAIMS
from nes2net.evaluation.tables import Figure, bootstrap_options
from nes2net.evaluation.trial_table import TrialTable
from nes2net.metrics import registry
from nes2net.metrics.intervals import (
    Drawing,
    Resampling,
    drawing_of_groups,
    drawing_of_trials,
    num_trials_by_rate,
    values_of_resamples,
)
from nes2net.metrics.resampling import Cells, figures_of

#: With fewer people, the bootstrap draws trials.
MIN_PEOPLE = 10
#: Names of the numbers of trials of each class of CLAIMS.
COUNTS = ("num_targets", "num_nontargets", "num_spoof")
#: Metric → classes that it compares with targets; by default all others.
_COMPARED = {"sv_eer": [1], "spf_eer": [2]}


class ClaimScores(NamedTuple):
    """One score of each of N claims."""

    scores: NDArray
    """(N,)."""
    claims: NDArray
    """Index in ``CLAIMS``, (N,)."""
    people: NDArray
    """Number of the claimed person, (N,)."""

    @classmethod
    def of(cls, trials: TrialTable, scores: NDArray) -> ClaimScores:
        column = trials.column("claim")
        number_of_value = np.array([list(CLAIMS).index(value) for value in column.values])
        return cls(scores, number_of_value[column.numbers], trials.column("speaker").numbers)

    def where(self, mask: NDArray) -> ClaimScores:
        return ClaimScores(*(column[mask] for column in self))

    @property
    def sizes(self) -> NDArray:
        """Number of trials of each class, (3,)."""
        return np.bincount(self.claims, minlength=len(CLAIMS))

    @property
    def classes(self) -> list[NDArray]:
        """Scores of targets, nontargets and spoofed trials."""
        return [self.scores[self.claims == number] for number in range(len(CLAIMS))]

    def drawing(self, seed: int) -> Drawing:
        """Draw people with all their trials, or trials if there are too few people."""
        names, numbers = np.unique(self.people, return_inverse=True)
        if names.size < MIN_PEOPLE:
            return drawing_of_trials(seed, *self.sizes.tolist())
        groups = [numbers[self.claims == number] for number in range(len(CLAIMS))]
        people_of_classes = [np.unique(of_class) for of_class in groups if of_class.size]
        return drawing_of_groups(seed, Cells(np.concatenate(groups), names.size), people_of_classes)

    def figures(self, options: Mapping[str, Mapping[str, Any]], draws: Resampling) -> dict[str, Figure]:
        """Compute all metrics of claims for which there are trials, and the numbers of trials.

        Args:
            options: metric → its further arguments.
        """
        sizes = self.sizes
        classes = self.classes
        functions = {}
        num_trials = {}
        for metric in registry.metrics.of_kind("claims"):
            compared = sizes[_COMPARED.get(metric.name, [1, 2])]
            if sizes[0] and compared.all():
                functions[metric] = functools.partial(metric.function, **options.get(metric.name, {}))
                num_trials[metric] = num_trials_by_rate(sizes[0], compared.sum())["eer"]
        figures = {name: Figure(size) for name, size in zip(COUNTS, sizes.tolist())}
        if not functions:
            return figures
        bootstrap = bootstrap_options()
        values = values_of_resamples(
            [(function, *classes) for function in functions.values()],
            self.drawing(draws["seed"]),
            draws["num_resamples"],
            bootstrap["num_threads"],
        )
        drawn = np.array(list(bootstrap["progress"](values, draws["num_resamples"])))  # resamples × metrics
        for (metric, function), values_of_metric in zip(functions.items(), drawn.T):
            value = figures_of(function(*classes))
            interval = metrics.percentiles(values_of_metric, 0.95)
            if metric.unit == "rate":
                interval = metrics.rate_interval(value, values_of_metric, num_trials[metric])
            figures[metric.name] = Figure(value, interval, draws=values_of_metric)
        return figures
