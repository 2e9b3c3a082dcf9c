"""The figures at a transferred threshold as two tables: error rates, and costs of the ratios."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from nes2net.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.evaluate import MOST_LINES, percent, percent_interval, points
from nes2net.evaluation.one_class import MEASURES, WORDS, Errors
from nes2net.evaluation.transfer import Figure, Transfer, TransferTable, in_words
from nes2net.machine.terminal import text_table
from nes2net.metrics.dcf import ASVSPOOF5_COSTS

_NOTES = {
    SPOOF: "1 − SRR is the share of spoofed trials that are accepted as bona fide, with Wilson’s 95 % interval.",
    BONAFIDE: "Misses are the bona fide trials that are rejected, with Wilson’s 95 % interval.",
}


class Written(NamedTuple):
    """A figure and its interval as text."""

    text: str
    interval: str = ""


class SetsTable(NamedTuple):
    """A table with a row for each set: its name, then its figures."""

    caption: str
    head: list[str]
    rows: list[tuple[str, list[Written]]]
    note: str = ""
    """What else a reader should know."""


def tables_of(table: TransferTable) -> Iterator[SetsTable]:
    """Write the error rates at the threshold, then the costs of the log-likelihood ratios.

    Sets of one class follow, each with its breakdowns.
    """
    costs = f"Of the calibrated scores; Cllr in bits, with its two parts. actDCF has the costs of {ASVSPOOF5_COSTS}."
    for caption, columns, note in (
        (f"{table.system}, error rates in % at the {table.threshold}.", _rates, "In %, with 95 % intervals."),
        (f"{table.system}, costs of the calibrated scores. {_costs_in_words(table)}", _costs, costs),
    ):
        rows = [(f"{row.name} (development)" if row.is_development else row.name, columns(row)) for row in table.rows]
        if rows:
            figures = [(name, list(figures.values())) for name, figures in rows]
            yield SetsTable(caption, ["set", *rows[0][1]], figures, note)
    for label, measure in MEASURES.items():
        sets = [one for one in table.one_class if one.label == label]
        if not sets:
            continue
        caption = f"{table.system}, {measure} in % at the {table.threshold}: sets whose trials are all {WORDS[label]}."
        yield SetsTable(
            caption, ["set", "trials", measure], [(one.name, _errors(one.errors)) for one in sets], _NOTES[label]
        )
        for one in sets:
            for name, values in one.tables.items():
                caption = f"{table.system}, {measure} in % on {one.name}, by {name.replace('_', ' ')}."
                rows_of = [(value, _errors(errors)) for value, errors in values.items()]
                yield SetsTable(caption, [name.replace("_", " "), "trials", measure], rows_of)


def text_of(table: TransferTable) -> str:
    """Write both tables for a terminal, intervals below their figures, and what they say in words."""
    lines = []
    for one in tables_of(table):
        if len(one.rows) > MOST_LINES:
            lines += [f"{one.caption} {len(one.rows)} rows, which the page and the JSON hold.", ""]
            continue
        rows = [one.head]
        for name, figures in one.rows:
            rows += [[name, *(figure.text for figure in figures)], ["", *(figure.interval for figure in figures)]]
        lines += [one.caption, *(f"  {line}" for line in text_table(rows)), ""]
    lines += [f"{row.name}: {in_words(row)}" for row in table.rows if not row.is_development]
    return "\n".join([*lines, *(f"{one.headline}." for one in table.one_class)])


def _rates(row: Transfer) -> dict[str, Written]:
    low, high = map(points, row.hter_lost.interval)
    return {
        "trials": Written(f"{row.num_bonafide} + {row.num_spoof}"),
        "EER": _rate(row.eer),
        "HTER": _rate(row.hter),
        "HTER − EER": Written(points(row.hter_lost.value), f"{low} to {high}"),
        "misses": _rate(row.miss),
        "false alarms": _rate(row.false_alarm),
        "accuracy": _rate(row.accuracy),
        "F1 of spoof": _rate(row.f1),
    }


def _costs(row: Transfer) -> dict[str, Written]:
    own = {} if row.own_cost is None else {"actDCF of the point": _cost(row.own_cost)}
    return {
        "actDCF": _cost(row.act_dcf),
        **own,
        "Cllr": _cost(row.cllr),
        "by discrimination": _cost(row.min_cllr),
        "by calibration": _cost(row.calibration_loss),
        "Cllr, uncalibrated": Written("–" if row.raw_cllr is None else f"{row.raw_cllr:.3f}"),
    }


def _errors(errors: Errors) -> list[Written]:
    return [Written(str(errors.number)), Written(percent(errors.rate), percent_interval(errors.interval))]


def _costs_in_words(table: TransferTable) -> str:
    point = table.decider.point
    own = f" and by those of the operating point ({point.name})" if point.kind == "cost" else ""
    return f"actDCF by the costs of {ASVSPOOF5_COSTS}{own}; Cllr in bits, and its two parts."


def _rate(figure: Figure) -> Written:
    return Written(percent(figure.value), percent_interval(figure.interval))


def _cost(figure: Figure) -> Written:
    return Written(f"{figure.value:.3f}", f"{figure.interval[0]:.3f}–{figure.interval[1]:.3f}")
