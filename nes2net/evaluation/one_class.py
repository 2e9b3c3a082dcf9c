"""Judge trials of one class: a set of spoofed or of bona fide trials has no EER, only errors at a threshold.

The threshold comes from other trials (:mod:`nes2net.evaluation.transfer`). The Speech Anti-Spoofing
Arena calls the error rate of spoofed trials, the share accepted as bona fide, 1 − SRR, where SRR is
the share rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import NDArray

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.breakdown import grouping_fields, label_of
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import Figure, Measure, Row
from nes2net.metrics import wilson_interval
from nes2net.scoring.decisions.decision import Decider

#: Label → word for such trials.
WORDS = {SPOOF: "spoofed", BONAFIDE: "bona fide"}
#: Label → share of wrong decisions on such trials.
MEASURES = {SPOOF: Measure("one_minus_srr", "1 − SRR %"), BONAFIDE: Measure("miss", "misses %")}


@dataclass(frozen=True)
class OneClass:
    """The errors on trials of one class, at a threshold that was chosen on other trials.

    - ``label`` of all trials, ``"spoof"`` or ``"bonafide"``.
    - ``row``: the rate of :data:`MEASURES` with Wilson's 95 % interval (independent trials),
      ``wrong`` and ``num_trials``: accepted spoofed, or rejected bona fide trials.
    - ``by_field``: field that groups the trials → such a row for each value.
    """

    name: str
    label: str
    row: Row
    by_field: Mapping[str, Sequence[Row]]


def judge_one_class(decider: Decider, matched_trials: Matched, name: str, label: str) -> OneClass:
    """Judge the trials with ``label`` at the threshold of ``decider``; ``name`` is that of the set."""
    matched_trials = matched_trials.where(lambda trial: trial.label == label, (), 0)
    is_wrong = decider.accepts(matched_trials.scores) == (label == SPOOF)

    def make_row(labels: Mapping[str, str], is_wrong: NDArray) -> Row:
        rate = Figure(float(is_wrong.mean()), wilson_interval(float(is_wrong.mean()), is_wrong.size))
        numbers = {"wrong": Figure(int(is_wrong.sum())), "num_trials": Figure(is_wrong.size)}
        return Row(labels, {MEASURES[label].name: rate, **numbers})

    by_field = {}
    for field in grouping_fields(matched_trials.trials):
        by_field[field] = [
            make_row({label_of(field): value}, is_wrong[is_in_row])
            for value, is_in_row in matched_trials.table.column(field).groups()
        ]
    return OneClass(f"{name}, {WORDS[label]}", label, make_row({}, is_wrong), by_field)
