"""Judge test sets whose trials are all spoofed or all bona fide. Such a set has no EER, only errors at a threshold.

The threshold comes from other trials (:mod:`nes2net.evaluation.transfer`). The Speech Anti-Spoofing
Arena calls the error rate of spoofed trials, the share accepted as bona fide, 1 − SRR, where SRR is
the share rejected.
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

#: Label → word for such trials.
WORDS = {SPOOF: "spoofed", BONAFIDE: "bona fide"}
#: Label → share of wrong decisions on such trials.
MEASURES = {SPOOF: Measure("one_minus_srr", "1 − SRR %"), BONAFIDE: Measure("miss", "misses %")}


class Errors(NamedTuple):
    """The number of wrong decisions on trials of one class, and the number of these trials."""

    wrong: int
    number: int

    def figures(self, name: str) -> dict[str, Figure]:
        """Make the rate ``name`` with Wilson's 95 % interval (independent trials), and both numbers."""
        rate = self.wrong / self.number
        interval = wilson_interval(rate, self.number)
        return {name: Figure(rate, interval), "wrong": Figure(self.wrong), "num_trials": Figure(self.number)}


@dataclass(frozen=True)
class OneClass:
    """The errors on a test set of one class, at a threshold that was chosen on other trials.

    - ``label`` of all trials, ``"spoof"`` or ``"bonafide"``.
    - ``errors``: accepted spoofed, or rejected bona fide trials.
    - ``by_field``: field that groups the trials → value → errors.
    """

    name: str
    label: str
    errors: Errors
    by_field: Mapping[str, Mapping[str, Errors]]

    @property
    def headline(self) -> str:
        """Say how many trials of which class the set has.

        >>> OneClass("mine", "spoof", Errors(1, 4), {}).headline
        'mine: 4 trials, all spoofed, so there is no EER'
        """
        return f"{self.name}: {counted(self.errors.number, 'trial')}, all {WORDS[self.label]}, so there is no EER"


def judge_one_class(decider: Decider, matched_trials: Matched, name: str) -> OneClass:
    """Judge trials of one class at the threshold of ``decider``; ``name`` is that of the set."""
    label = BONAFIDE if matched_trials.is_bonafide[0] else SPOOF
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
