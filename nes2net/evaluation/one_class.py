"""Judge test sets whose trials are all spoofed or all bona fide. Such a set has no EER, only errors at a threshold.

The threshold comes from other trials (:mod:`nes2net.evaluation.transfer`). The error rate of
spoofed trials is the share of spoofed trials that are accepted as bona fide. The Speech
Anti-Spoofing Arena calls this share 1 − SRR, where SRR is the rate of spoofed trials that are
rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.breakdown import grouping_fields
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import Figure, Measure
from nes2net.lib.errors import counted
from nes2net.metrics import wilson_interval
from nes2net.scoring.decisions.decision import Decider

#: Label of trials → the word for such trials in a text.
WORDS = {SPOOF: "spoofed", BONAFIDE: "bona fide"}
#: Label of trials → measure of the share of wrong decisions on such trials.
MEASURES = {SPOOF: Measure("one_minus_srr", "1 − SRR %"), BONAFIDE: Measure("miss", "misses %")}


class Errors(NamedTuple):
    """The number of wrong decisions on trials of one class, and the number of these trials."""

    wrong: int
    """Number of wrong decisions."""
    number: int
    """Number of trials."""

    def figures(self, name: str) -> dict[str, Figure]:
        """Make the figures of a row: the error rate ``name``, the number of errors and the number of trials.

        The error rate has Wilson's 95 % interval, which assumes independent trials.
        """
        rate = self.wrong / self.number
        interval = wilson_interval(rate, self.number)
        return {name: Figure(rate, interval), "wrong": Figure(self.wrong), "num_trials": Figure(self.number)}


@dataclass(frozen=True)
class OneClass:
    """The errors on a test set of one class, at a threshold that was chosen on other trials.

    - ``label`` is the label of all trials of the set, ``"spoof"`` or ``"bonafide"``.
    - ``errors`` counts the spoofed trials that are accepted, or the bona fide trials that are
      rejected.
    - ``by_field`` has a mapping for each field that groups the trials: value of the field → errors
      on the trials with this value.
    """

    name: str
    label: str
    errors: Errors
    by_field: Mapping[str, Mapping[str, Errors]]

    @property
    def headline(self) -> str:
        """Say how many trials the set has, and to which class they belong.

        >>> OneClass("mine", "spoof", Errors(1, 4), {}).headline
        'mine: 4 trials, all spoofed, so there is no EER'
        """
        return f"{self.name}: {counted(self.errors.number, 'trial')}, all {WORDS[self.label]}, so there is no EER"


def judge_one_class(decider: Decider, matched_trials: Matched, name: str) -> OneClass:
    """Judge the trials of ``matched_trials``, all of one class, at the threshold of ``decider``.

    Args:
        name: name of the test set.
    """
    label = BONAFIDE if matched_trials.is_bonafide[0] else SPOOF
    # A decision is wrong if it accepts a spoofed trial or rejects a bona fide trial.
    is_wrong = decider.accepts(matched_trials.scores) == (label == SPOOF)
    by_field: dict[str, dict[str, Errors]] = {}
    for field in grouping_fields(matched_trials.trials):
        numbers, values = matched_trials.table.column(field)
        by_field[field] = {}
        for number, value in enumerate(values):
            wrong = is_wrong[numbers == number]
            if wrong.size:
                by_field[field][value] = Errors(int(wrong.sum()), wrong.size)
    return OneClass(name, label, Errors(int(is_wrong.sum()), is_wrong.size), by_field)
