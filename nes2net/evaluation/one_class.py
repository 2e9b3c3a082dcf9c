"""Test sets whose trials are all spoofed or all bona fide; they have no EER, only errors at a threshold.

The threshold comes from other trials (:mod:`nes2net.evaluation.transfer`). For spoofed trials the
error is the share that is accepted as bona fide. The Speech Anti-Spoofing Arena calls it 1 − SRR,
where SRR is the rate of spoofed trials that are rejected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.breakdown import sorting_fields
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import Figure, Measure
from nes2net.lib.errors import counted
from nes2net.metrics import wilson_interval
from nes2net.scoring.decisions.decision import Decider

#: Label of the trials → the word for them, and the measure that is their share of wrong decisions.
WORDS = {SPOOF: "spoofed", BONAFIDE: "bona fide"}
MEASURES = {SPOOF: Measure("one_minus_srr", "1 − SRR %"), BONAFIDE: Measure("miss", "misses %")}


class Errors(NamedTuple):
    """Wrong decisions on trials of one class."""

    wrong: int
    number: int
    """Number of trials."""

    @property
    def rate(self) -> float:
        """Share of wrong decisions, in [0, 1]."""
        return self.wrong / self.number

    def figures(self, name: str) -> dict[str, Figure]:
        """The rate under ``name`` with Wilson's 95 % interval, which assumes independent trials, and both counts."""
        rate = Figure(self.rate, wilson_interval(self.rate, self.number))
        return {name: rate, "wrong": Figure(self.wrong), "num_trials": Figure(self.number)}


@dataclass(frozen=True)
class OneClass:
    """A test set of one class at the transferred threshold.

    - ``label`` is the label of all its trials, ``"spoof"`` or ``"bonafide"``.
    - ``errors`` counts the spoofed trials that are accepted, or the bona fide ones that are rejected.
    - ``by_field`` holds field → value → errors, for the fields that group the trials.
    """

    name: str
    label: str
    errors: Errors
    by_field: Mapping[str, Mapping[str, Errors]]

    @property
    def headline(self) -> str:
        """The set in words.

        >>> OneClass("mine", "spoof", Errors(1, 4), {}).headline
        'mine: 4 trials, all spoofed, so there is no EER'
        """
        return f"{self.name}: {counted(self.errors.number, 'trial')}, all {WORDS[self.label]}, so there is no EER"


def judge_one_class(decider: Decider, matched_trials: Matched, name: str) -> OneClass:
    """Judge the trials of ``matched_trials``, all of one class, at the threshold of ``decider``."""
    accepted = decider.accepts(matched_trials.scores)
    label = BONAFIDE if matched_trials.is_bonafide[0] else SPOOF
    wrong = (accepted == (label == SPOOF)).tolist()
    by_field: dict[str, dict[str, Errors]] = {}
    for field in sorting_fields(matched_trials.trials):
        decisions: dict[str, list[bool]] = defaultdict(list)
        for trial, is_wrong in zip(matched_trials.trials, wrong):
            if (value := trial.get(field)) is not None:
                decisions[value].append(is_wrong)
        by_field[field] = {value: Errors(sum(wrongs), len(wrongs)) for value, wrongs in sorted(decisions.items())}
    return OneClass(name, label, Errors(sum(wrong), len(wrong)), by_field)
