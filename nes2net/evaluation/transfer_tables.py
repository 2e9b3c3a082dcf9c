"""Make tables at a transferred threshold: error rates, costs, reliability, errors on one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.curves import reliability
from nes2net.evaluation.one_class import MEASURES, WORDS
from nes2net.evaluation.tables import NUM_BONAFIDE, NUM_SPOOF, NUM_TRIALS, Figure, Measure, Row, Table, column, words
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


def transfer_tables(transfers: Sequence[Transfer]) -> Iterator[Table]:
    """Make ``rates``, ``costs`` and ``reliability`` of sets of both classes, then sets of one class.

    Tables without rows are omitted.
    """
    hidden = () if len(transfers) > 1 else ("system",)
    rows = []
    bins: list[Row] = []
    comments = []
    for transfer in transfers:
        start = f"{transfer.system} on " if len(transfers) > 1 else ""
        for judged in transfer.sets:
            bins += _reliability_rows(transfer.system, judged)
            name = judged.name
            if judged.is_development:
                name += " (development)"
            else:
                comments.append(f"{start}{name}: {losses_in_words(judged)}")
            rows.append(replace(judged.row, labels={"system": transfer.system, "set": name}))
    if rows:
        yield Table(
            "rates",
            "Error rates at a threshold that was chosen on other trials and then kept. HTER is the mean of misses and "
            "false alarms.",
            RATES,
            [row.only(RATES) for row in rows],
            SECTION,
            hidden=hidden,
        )
        costs = ASVSPOOF5_COSTS
        points = set()
        for transfer in transfers:
            if transfer.decider.point.kind == "cost":
                points.add(transfer.decider.point.name)
        if points:
            costs += f" and by those of the operating point ({', '.join(sorted(points))})"
        yield Table(
            "costs",
            f"Costs of the calibrated scores. actDCF by the costs of {costs}; Cllr in bits, and its two parts.",
            COSTS,
            [row.only(COSTS) for row in rows],
            SECTION,
            comments,
            hidden,
        )
        caption = "Reliability: of trials with a predicted probability, how many are bona fide."
        yield Table("reliability", caption, _RELIABILITY, bins, SECTION, hidden=hidden, readers="nobody")
    yield from _one_class_tables(transfers, hidden)


def _reliability_rows(system: str, judged: JudgedSet) -> Iterator[Row]:
    for number, trials in enumerate(reliability(judged.llrs), 1):
        share = Figure(trials.share, (trials.low, trials.high))
        figures = {"predicted": Figure(trials.predicted), "share": share, "num_trials": Figure(trials.num_trials)}
        yield Row({"system": system, "set": judged.name, "bin": str(number)}, figures)


def _one_class_tables(transfers: Sequence[Transfer], hidden: Sequence[str]) -> Iterator[Table]:
    for label, measure in MEASURES.items():
        rows_by_field: dict[str, list[Row]] = {}  # "" stands for whole sets
        for transfer in transfers:
            for judged in transfer.one_class:
                if judged.label == label:
                    labels = {"system": transfer.system, "set": judged.name}
                    for name, rows in {"": [judged.row], **judged.by_field}.items():
                        labelled_rows = [replace(row, labels={**labels, **row.labels}) for row in rows]
                        rows_by_field.setdefault(name, []).extend(labelled_rows)
        measures = (NUM_TRIALS, Measure("wrong", "wrong", "count"), measure)
        for name, rows in rows_by_field.items():
            if name:
                title = f"{measure.name} by {words(name)}"
                caption = f"Errors at the threshold, all trials {WORDS[label]}, by {words(name)}."
                yield Table(title, caption, measures, rows, SECTION, hidden=hidden)
            else:
                caption = f"Errors at the threshold: sets whose trials are all {WORDS[label]}."
                yield Table(measure.name, caption, measures, rows, SECTION, [_ONE_CLASS[label]], hidden)
