"""The figures at a transferred threshold as two tables: error rates, and costs of the ratios."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from nes2net.evaluation.evaluate import percent, percent_interval, points
from nes2net.evaluation.transfer import Figure, Transfer, TransferTable, in_words
from nes2net.machine.terminal import text_table
from nes2net.metrics.dcf import ASVSPOOF5_COSTS


class Written(NamedTuple):
    """A figure and its interval as text."""

    text: str
    interval: str = ""


class SetsTable(NamedTuple):
    """A table with a row for each set: its name, then its figures."""

    caption: str
    head: list[str]
    rows: list[tuple[str, list[Written]]]


def tables_of(table: TransferTable) -> Iterator[SetsTable]:
    """Write the error rates at the threshold, then the costs of the log-likelihood ratios."""
    for caption, columns in (
        (f"{table.system}, error rates in % at the {table.threshold}.", _rates),
        (f"{table.system}, costs of the calibrated scores. {_costs_in_words(table)}", _costs),
    ):
        rows = [(f"{row.name} (development)" if row.is_development else row.name, columns(row)) for row in table.rows]
        yield SetsTable(caption, ["set", *rows[0][1]], [(name, list(figures.values())) for name, figures in rows])


def text_of(table: TransferTable) -> str:
    """Write both tables for a terminal, intervals below their figures, and what they say in words."""
    lines = []
    for one in tables_of(table):
        rows = [one.head]
        for name, figures in one.rows:
            rows += [[name, *(figure.text for figure in figures)], ["", *(figure.interval for figure in figures)]]
        lines += [one.caption, *(f"  {line}" for line in text_table(rows)), ""]
    return "\n".join([*lines, *(f"{row.name}: {in_words(row)}" for row in table.rows if not row.is_development)])


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


def _costs_in_words(table: TransferTable) -> str:
    point = table.decider.point
    own = f" and by those of the operating point ({point.name})" if point.kind == "cost" else ""
    return f"actDCF by the costs of {ASVSPOOF5_COSTS}{own}; Cllr in bits, and its two parts."


def _rate(figure: Figure) -> Written:
    return Written(percent(figure.value), percent_interval(figure.interval))


def _cost(figure: Figure) -> Written:
    return Written(f"{figure.value:.3f}", f"{figure.interval[0]:.3f}–{figure.interval[1]:.3f}")
