"""Compute the figures of scores of claims, with intervals from a bootstrap over claimed people."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.trial import CLAIMS
from nes2net.evaluation.tables import Figure, Measured
from nes2net.evaluation.trial_table import TrialTable
from nes2net.metrics import registry
from nes2net.metrics.intervals import Drawing, Resampling, drawing_of_groups, drawing_of_trials, num_trials_by_rate
from nes2net.metrics.resampling import Cells

#: With fewer people, the bootstrap draws trials.
MIN_PEOPLE = 10
_ENOUGH_TRIALS = 30  # of each class, an assumption: figures of fewer are coarse
#: Names of the numbers of trials of each class of CLAIMS.
COUNTS = ("num_targets", "num_nontargets", "num_spoof")


def coarse_figures(sizes: Sequence[int], num_people: float) -> tuple[str, ...]:
    """Say that figures of so few trials of each class, and of so few people, are coarse; empty if not."""
    if min(sizes) >= _ENOUGH_TRIALS and num_people >= MIN_PEOPLE:
        return ()
    trials = ", ".join(f"{size or 'no'} {name} trials" for size, name in zip(sizes, CLAIMS))
    return (f"Figures are coarse: {trials}, {num_people} enrolled people.",)


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
        claims = np.select([trials.column("claim").where(claim) for claim in CLAIMS], range(len(CLAIMS)))
        return cls(scores, claims, trials.column("speaker").numbers)

    def where(self, mask: NDArray) -> ClaimScores:
        return ClaimScores(*(column[mask] for column in self))

    def by_class(self, values: NDArray) -> list[NDArray]:
        """Divide ``values`` (N,) into those of targets, nontargets and spoofed trials."""
        return [values[self.claims == number] for number in range(len(CLAIMS))]

    def drawing(self, seed: int) -> Drawing:
        """Draw people with all their trials, or trials if there are too few people."""
        names, numbers = np.unique(self.people, return_inverse=True)
        groups = self.by_class(numbers)
        if names.size < MIN_PEOPLE:
            return drawing_of_trials(seed, *map(len, groups))
        people_of_classes = [np.unique(of_class) for of_class in groups if of_class.size]
        return drawing_of_groups(seed, Cells(np.concatenate(groups), names.size), people_of_classes)

    def figures(self, options: Mapping[str, Mapping[str, Any]], draws: Resampling) -> dict[str, Figure]:
        """Compute all metrics of claims for which there are trials, and the numbers of trials.

        Args:
            options: metric → its further arguments.
        """
        classes = self.by_class(self.scores)
        figures = {name: Figure(len(of_class)) for name, of_class in zip(COUNTS, classes)}
        rules = {}
        num_trials = {}
        for metric in registry.metrics.of_kind("claims"):
            settings = {**metric.options, **options.get(metric.name, {})}
            sizes = [classes[number].size for number in settings.get("against", (1, 2))]
            if classes[0].size and all(sizes):
                rules[metric.name] = functools.partial(metric.function, **settings)
                if metric.unit == "rate":
                    num_trials[metric.name] = num_trials_by_rate(classes[0].size, sum(sizes))["eer"]
        if rules:
            drawing = self.drawing(draws["seed"])
            measured = Measured(rules, *classes, num_trials=num_trials, drawing=drawing, **draws)
            figures |= {name: measured.figure(name) for name in rules}
        return figures
