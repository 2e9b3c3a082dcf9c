"""Make tables at a transferred threshold: error rates, costs, reliability, errors on one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.curves import reliability
from nes2net.evaluation.one_class import MEASURES, WORDS
from nes2net.evaluation.tables import (
    NUM_BONAFIDE,
    NUM_SPOOF,
    NUM_TRIALS,
    Figure,
    Measure,
    Row,
    Table,
    column,
    join_tables,
    words,
)
from nes2net.evaluation.transfer import JudgedSet, Transfer, losses_in_words
from nes2net.metrics.dcf import ASVSPOOF5_COSTS

SECTION = "At the transferred threshold"
RATES = (
    NUM_BONAFIDE,
    NUM_SPOOF,
    column("eer"),
    Measure("hter", "HTER %"),
    Measure("hter_lost", "HTER − EER", "points"),
    Measure("miss", "misses %"),
    Measure("false_alarm", "false alarms %"),
    Measure("accuracy", "accuracy %"),
    Measure("f1", "F1 of spoof %"),
    Measure("macro_f1", "macro-F1 %"),
)
COSTS = (
    column("act_dcf", digits=3),
    Measure("own_cost", "actDCF of the point", "cost", 3),
    column("cllr", digits=3),
    Measure("min_cllr", "by discrimination", "bits", 3),
    Measure("calibration_loss", "by calibration", "bits", 3),
    Measure("raw_cllr", "Cllr, uncalibrated", "bits", 3),
    Measure("eer_llr", "ratio at the EER", "score", 4),
)
_RELIABILITY = (
    Measure("predicted", "predicted probability %"),
    Measure("share", "share that is bona fide %"),
    NUM_TRIALS,
)
_ONE_CLASS = {
    SPOOF: "1 − SRR is the share of spoofed trials that are accepted as bona fide, with Wilson’s 95 % interval.",
    BONAFIDE: "Misses are the bona fide trials that are rejected, with Wilson’s 95 % interval.",
}


def transfer_tables(transfers: Sequence[Transfer]) -> list[Table]:
    """Make ``rates``, ``costs`` and ``reliability`` of sets of both classes, then sets of one class.

    Tables without rows are omitted.
    """
    several = len(transfers) > 1
    return join_tables({transfer.system: _tables(transfer, several) for transfer in transfers})


def _tables(transfer: Transfer, several: bool) -> Iterator[Table]:
    rows = []
    bins: list[Row] = []
    comments = []
    for judged in transfer.sets:
        bins += _reliability_rows(judged)
        name = judged.name
        if judged.is_development:
            name += " (development)"
        else:
            start = f"{transfer.system} on " if several else ""
            comments.append(f"{start}{name}: {losses_in_words(judged)}")
        rows.append(replace(judged.row, labels={"set": name}))
    if rows:
        caption = (
            "Error rates at a threshold that was chosen on other trials and then kept. HTER is the mean of misses and "
            "false alarms."
        )
        yield Table("rates", caption, RATES, [row.only(RATES) for row in rows], SECTION)
        costs = ASVSPOOF5_COSTS
        if transfer.decider.point.kind == "cost":
            costs += f" and by those of the operating point ({transfer.decider.point.name})"
        caption = f"Costs of the calibrated scores. actDCF by the costs of {costs}; Cllr in bits, and its two parts."
        yield Table("costs", caption, COSTS, [row.only(COSTS) for row in rows], SECTION, comments)
        caption = "Reliability: of trials with a predicted probability, how many are bona fide."
        yield Table("reliability", caption, _RELIABILITY, bins, SECTION, readers="nobody")
    for tested in transfer.one_class:
        measure = MEASURES[tested.label]
        measures = (NUM_TRIALS, Measure("wrong", "wrong", "count"), measure)
        kind = WORDS[tested.label]
        caption = f"Errors at the threshold on {kind} trials."
        row = replace(tested.row, labels={"set": tested.name})
        yield Table(measure.name, caption, measures, [row], SECTION, [_ONE_CLASS[tested.label]])
        for field, field_rows in tested.by_field.items():
            caption = f"Errors at the threshold on {kind} trials, by {words(field)}."
            rows = [replace(row, labels={"set": tested.name, **row.labels}) for row in field_rows]
            yield Table(f"{measure.name} by {words(field)}", caption, measures, rows, SECTION)


def _reliability_rows(judged: JudgedSet) -> Iterator[Row]:
    for number, trials in enumerate(reliability(judged.llrs), 1):
        share = Figure(trials.share, (trials.low, trials.high))
        figures = {"predicted": Figure(trials.predicted), "share": share, "num_trials": Figure(trials.num_trials)}
        yield Row({"set": judged.name, "bin": str(number)}, figures)
