"""The tables of a report: pooled figures, figures at a transferred threshold, differences, breakdowns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from numpy.typing import NDArray

from nes2net.evaluation.breakdown import FEWEST, OFFICIAL, Row
from nes2net.evaluation.evaluate import Evaluation, Report
from nes2net.evaluation.key import describe_excluded
from nes2net.evaluation.tables import (
    Cell,
    Table,
    cost,
    count,
    format_p,
    percent,
    percent_interval,
    points,
    words,
)
from nes2net.evaluation.transfer_tables import tables_of
from nes2net.metrics import percentiles
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.models.registry import corpora

_FEWEST_DRAWS = 40


@dataclass(frozen=True)
class SystemRows:
    """The rows of one system in a breakdown, by their values of the breakdown's fields."""

    name: str
    rows: dict[tuple[str, ...], Row]

    @property
    def worst(self) -> float:
        return max((row.eer for row in self.rows.values() if row.eer is not None), default=0)

    def values(self, position: int) -> list[str]:
        """The values of the field at ``position``, sorted."""
        return sorted({values[position] for values in self.rows})


@dataclass(frozen=True)
class Breakdown:
    """A breakdown of all systems that have it."""

    fields: tuple[str, ...]
    systems: list[SystemRows]

    @property
    def title(self) -> str:
        return "Official table" if self.fields == OFFICIAL else "By " + " and ".join(map(words, self.fields))

    @property
    def longest(self) -> int:
        return max(len(system.rows) for system in self.systems)

    @property
    def worst(self) -> float:
        return max(system.worst for system in self.systems)

    @property
    def largest(self) -> dict[tuple[str, ...], Row]:
        """Each combination of values with the row that rests on the most trials."""
        largest: dict[tuple[str, ...], Row] = {}
        for system in self.systems:
            for values, row in system.rows.items():
                if values not in largest or _num_trials(row) > _num_trials(largest[values]):
                    largest[values] = row
        return largest

    def eers(self, values: tuple[str, ...], mark: bool) -> list[Cell]:
        """The EER in % of each system in the row of ``values``; ``mark`` the best one if it is certain."""
        found = [system.rows.get(values) for system in self.systems]
        eers, draws = ([getattr(row, name) if row else None for row in found] for name in ("eer", "draws"))
        best = certain_best(eers, draws) if mark else None
        return [Cell(percent(eer), place == best) for place, eer in enumerate(eers)]


def breakdowns(systems: Sequence[Evaluation]) -> list[Breakdown]:
    """Collect the breakdowns of ``systems`` that say something.

    An EER without an interval is left out if a class has fewer than ``FEWEST`` trials, unless its table is official.
    """
    found = []
    for fields in dict.fromkeys(table.fields for system in systems for table in system.tables):
        by_system = []
        for system in systems:
            rows = {
                tuple(row.group.values()): row
                for row in system.rows(*fields)
                if row.interval or fields == OFFICIAL or min(row.num_bonafide, row.num_spoof) >= FEWEST
            }
            by_system += [SystemRows(system.system, rows)] if rows else []
        found += [Breakdown(fields, by_system)] if by_system else []
    return found


def title_of(report: Report) -> str:
    return f"{corpora.get(report.corpus).title}, {report.phase}"


def same_trials(systems: Sequence[Evaluation]) -> bool:
    """Whether several systems rest on the same trials, so that one can be the best."""
    if len(systems) < 2:
        return False
    ids = {trial.id for trial in systems[0].matched.trials}
    return all(ids == {trial.id for trial in system.matched.trials} for system in systems[1:])


def summary(report: Report) -> Table:
    """The pooled figures of the systems; the best figure of each column is marked if it is certain."""
    systems, first = report.systems, report.systems[0]
    columns = {"EER %": _column(systems, "eer", percent)}
    columns["95 % interval"] = [Cell(percent_interval(system.interval)) for system in systems]
    if any(system.min_tdcf is not None for system in systems):
        columns["min t-DCF"] = _column(systems, "min_tdcf", cost)
    columns["minDCF"] = _column(systems, "min_dcf", cost)
    columns["trials"] = [Cell(count(system.num_bonafide + system.num_spoof)) for system in systems]
    excluded = f", without {describe_excluded(first.excluded)}" if first.excluded else ""
    return _by_system(
        f"{title_of(report)}{excluded}. minDCF with the costs of {first.min_dcf_costs}.", systems, columns
    )


def calibration(report: Report) -> Table:
    """The figures that read scores as log-likelihood ratios; the best one is marked if it is certain."""
    systems = report.systems
    columns = {"actDCF": _column(systems, "act_dcf", cost), "Cllr, bits": _column(systems, "cllr", cost)}
    return _by_system(
        f"Scores read as log-likelihood ratios. actDCF with the costs of {ASVSPOOF5_COSTS}.", systems, columns
    )


def _column(systems: Sequence[Evaluation], name: str, write: Callable[[float | None], str]) -> list[Cell]:
    values = [getattr(system, name) for system in systems]
    best = certain_best(values, [system.draws.get(name) for system in systems]) if same_trials(systems) else None
    return [Cell(write(value), place == best) for place, value in enumerate(values)]


def certain_best(values: Sequence[float | None], draws: Sequence[NDArray | None]) -> int | None:
    """Find the place of the lowest value, if the 95 % interval of its difference from the next one lies below 0.

    Args:
        values: a figure of each system on the same trials.
        draws: the figure of each system on the same resamples, (R,) each; None without resamples.

    Returns:
        None also with fewer than 40 resamples, of which 2.5 % are not one.
    """
    known = [
        (value, place, drawn)
        for place, (value, drawn) in enumerate(zip(values, draws))
        if value is not None and drawn is not None and len(drawn) >= _FEWEST_DRAWS
    ]
    if len(known) < 2:
        return None
    (_, best, own), (_, _, of_next) = sorted(known, key=itemgetter(0))[:2]
    return best if percentiles(own - of_next, 0.95)[1] < 0 else None


def _by_system(caption: str, systems: Sequence[Evaluation], columns: dict[str, list[Cell]]) -> Table:
    return Table.of(caption, ["system", *columns], zip((system.system for system in systems), *columns.values()))


def paper_tables(report: Report) -> list[Table]:
    """The tables that a paper may want.

    They are the pooled figures, the figures at the transferred threshold, the differences, and the
    breakdowns by one field.
    """
    systems, mark = report.systems, same_trials(report.systems)
    tables = [summary(report), calibration(report)] if systems else []
    tables += [one for table in report.transfers for one in tables_of(table)]
    if report.pairs:
        rows = [
            [
                f"{pair.first} − {pair.second}",
                points(pair.difference),
                " to ".join(map(points, pair.interval)),
                format_p(pair.p_value),
            ]
            for pair in report.pairs
        ]
        head = ["systems", "difference", "95 % interval", "p"]
        tables.append(Table.of("EER differences in percent points.", head, rows))
    for breakdown in breakdowns(systems):
        if len(breakdown.fields) == 1:
            names = [system.name for system in breakdown.systems] if len(systems) > 1 else ["EER %"]
            eers: list[list[str | Cell]] = [
                [values[0], *breakdown.eers(values, mark), count(row.num_bonafide), count(row.num_spoof)]
                for values, row in breakdown.largest.items()
            ]
            caption = f"{title_of(report)}: EER in %, {breakdown.title[0].lower()}{breakdown.title[1:]}."
            tables.append(Table.of(caption, [words(breakdown.fields[0]), *names, "bona fide", "spoof"], eers))
    return tables


def _num_trials(row: Row) -> int:
    return row.num_bonafide + row.num_spoof
