"""The figures at a transferred threshold as tables: error rates, costs of the ratios, sets of one class."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.one_class import MEASURES, WORDS, Errors
from nes2net.evaluation.tables import MOST_LINES, Cell, Figure, Table, cost, percent, points, words
from nes2net.evaluation.transfer import TransferTable, in_words
from nes2net.metrics.dcf import ASVSPOOF5_COSTS


def tables_of(table: TransferTable) -> Iterator[Table]:
    """Write the error rates at the threshold, then the costs of the log-likelihood ratios.

    Sets of one class follow, each with its breakdowns.
    """
    point = table.decider.point
    own = f" and by those of the operating point ({point.name})" if point.kind == "cost" else ""
    caption = f"actDCF by the costs of {ASVSPOOF5_COSTS}{own}; Cllr in bits, and its two parts."
    note = f"For the calibrated scores; Cllr is in bits, with its two parts. actDCF has the costs of {ASVSPOOF5_COSTS}."
    names = [Cell(f"{row.name} (development)" if row.is_development else row.name) for row in table.rows]
    if names:
        rates = [
            [
                name,
                Cell(f"{row.num_bonafide} + {row.num_spoof}"),
                row.eer.cell(percent),
                row.hter.cell(percent),
                row.hter_lost.cell(points, " to "),
                *(rate.cell(percent) for rate in (row.miss, row.false_alarm, row.accuracy, row.f1)),
            ]
            for name, row in zip(names, table.rows)
        ]
        title = f"{table.system}, error rates in % at the {table.threshold}."
        yield Table(title, _RATES, rates, "In %, with 95 % intervals.")
        write = functools.partial(cost, digits=3)
        chosen = {head: figure for head, figure in _COSTS.items() if figure != "own_cost" or point.kind == "cost"}
        costs = [
            [name, *(getattr(row, figure).cell(write) for figure in chosen.values()), Cell(write(row.raw_cllr))]
            for name, row in zip(names, table.rows)
        ]
        title = f"{table.system}, costs of the calibrated scores. {caption}"
        yield Table(title, ["set", *chosen, "Cllr, uncalibrated"], costs, note)
    for label, measure in MEASURES.items():
        sets = [one for one in table.one_class if one.label == label]
        if sets:
            caption = (
                f"{table.system}, {measure} in % at the {table.threshold}: sets whose trials are all {WORDS[label]}."
            )
            rows = [[Cell(one.name), *_errors(one.errors)] for one in sets]
            yield Table(caption, ["set", "trials", measure], rows, _ONE_CLASS[label])
        for one in sets:
            for name, values in one.tables.items():
                caption = f"{table.system}, {measure} in % on {one.name}, by {words(name)}."
                rows = [[Cell(value), *_errors(errors)] for value, errors in values.items()]
                yield Table(caption, [words(name), "trials", measure], rows)


_RATES = ["set", "trials", "EER", "HTER", "HTER − EER", "misses", "false alarms", "accuracy", "F1 of spoof"]
#: Heading → figure of :class:`~nes2net.evaluation.transfer.Transfer`.
_COSTS = {
    "actDCF": "act_dcf",
    "actDCF of the point": "own_cost",
    "Cllr": "cllr",
    "by discrimination": "min_cllr",
    "by calibration": "calibration_loss",
}
_ONE_CLASS = {
    SPOOF: "1 − SRR is the share of spoofed trials that are accepted as bona fide, with Wilson’s 95 % interval.",
    BONAFIDE: "Misses are the bona fide trials that are rejected, with Wilson’s 95 % interval.",
}


def _errors(errors: Errors) -> list[Cell]:
    return [Cell(str(errors.number)), Figure(errors.rate, errors.interval).cell(percent)]


def text_of(table: TransferTable) -> str:
    """Write the tables for a terminal, intervals below their figures, and what they say in words."""
    lines = []
    for one in tables_of(table):
        if len(one.rows) > MOST_LINES:
            lines += [f"{one.caption} {len(one.rows)} rows, which the page and the JSON hold.", ""]
        else:
            lines += [one.caption, *(f"  {line}" for line in one.lines()), ""]
    lines += [f"{row.name}: {in_words(row)}" for row in table.rows if not row.is_development]
    return "\n".join([*lines, *(f"{one.headline}." for one in table.one_class)])
