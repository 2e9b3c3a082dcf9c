"""The tables of a report: pooled figures, figures at a transferred threshold, differences, breakdowns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nes2net.evaluation.breakdown import OFFICIAL, Row
from nes2net.evaluation.evaluate import Evaluation, Report
from nes2net.evaluation.key import describe_excluded
from nes2net.evaluation.tables import (
    Cell,
    Table,
    best_marked,
    cost,
    count,
    format_p,
    percent,
    percent_interval,
    points,
    words,
)
from nes2net.evaluation.transfer_tables import tables_of
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.registry import corpora


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
        """The EER in % of each system in the row of ``values``; ``mark`` the best ones."""
        found = [system.rows.get(values) for system in self.systems]
        return best_marked([row.eer if row else None for row in found], percent, mark=mark)


def breakdowns(systems: Sequence[Evaluation]) -> list[Breakdown]:
    """Collect the breakdowns of ``systems``."""
    return [
        Breakdown(
            fields,
            [
                SystemRows(system.system, {tuple(row.group.values()): row for row in rows})
                for system in systems
                if (rows := system.rows(*fields))
            ],
        )
        for fields in dict.fromkeys(table.fields for system in systems for table in system.tables)
    ]


def title_of(report: Report) -> str:
    return f"{corpora.get(report.corpus).title}, {report.phase}"


def same_trials(systems: Sequence[Evaluation]) -> bool:
    """Whether several systems rest on the same trials, so that one can be the best."""
    if len(systems) < 2:
        return False
    ids = {trial.id for trial in systems[0].matched.trials}
    return all(ids == {trial.id for trial in system.matched.trials} for system in systems[1:])


def summary(report: Report) -> Table:
    """The pooled figures of the systems; the best figure of each column is marked."""
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
    """The figures that read scores as log-likelihood ratios; the best one is marked."""
    systems = report.systems
    columns = {"actDCF": _column(systems, "act_dcf", cost), "Cllr, bits": _column(systems, "cllr", cost)}
    return _by_system(
        f"Scores read as log-likelihood ratios. actDCF with the costs of {ASVSPOOF5_COSTS}.", systems, columns
    )


def _column(systems: Sequence[Evaluation], name: str, write: Callable[[float | None], str]) -> list[Cell]:
    return best_marked([getattr(system, name) for system in systems], write, mark=same_trials(systems))


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
