"""Figures of several training runs of each system: best, mean and deviation, in the form of a paper's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from nes2net.evaluation.tables import Cell, Table, best_marked, cost, count, percent, percent_interval, plain

#: Metric → its name, and how a figure is written.
METRICS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "eer": ("EER in %", percent),
    "min_tdcf": ("min t-DCF", cost),
    "min_dcf": ("minDCF", cost),
}


@dataclass(frozen=True)
class Measured:
    """One detector on one evaluation set. Rates are fractions, costs normalised.

    ``trials`` and ``key`` are checksums of the recordings and of the labels; ``page`` is the path of
    the report below the experiment's folder. ``metrics`` leaves out what cannot be computed.
    """

    run: str
    seed: int
    metrics: dict[str, float]
    interval: tuple[float, float]
    interval_over: str
    num_bonafide: int
    num_spoof: int
    left_out: str
    trials: str | None
    key: str | None
    page: str


@dataclass(frozen=True)
class OverSeeds:
    """One metric over the seeds, of which lower is better.

    ``deviation`` is the standard deviation of the sample (n − 1), None for a single seed;
    ``interval`` is the 95 % bootstrap interval of the best seed's EER, None for other metrics.
    """

    best: float
    best_seed: int
    mean: float
    deviation: float | None
    num_seeds: int
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Sequence[tuple[int, float]], interval: tuple[float, float] | None = None) -> OverSeeds:
        """Summarise pairs of seed and figure; of equal figures, the first is the best.

        >>> OverSeeds.of([(1, 0.02), (2, 0.01), (3, 0.03)])
        OverSeeds(best=0.01, best_seed=2, mean=0.02, deviation=0.01, num_seeds=3, interval=None)
        """
        figures = [figure for _, figure in values]
        seed, best = min(values, key=lambda pair: pair[1])
        return cls(best, seed, mean(figures), stdev(figures) if len(figures) > 1 else None, len(figures), interval)


@dataclass(frozen=True)
class ResultCell:
    """What was measured of a system on an evaluation set, with ``num_expected`` seeds in all."""

    measured: list[Measured] = field(default_factory=list)
    num_expected: int = 1

    def over_seeds(self, metric: str) -> OverSeeds | None:
        """The seeds' figures of ``metric`` in short; None if there are none."""
        pairs = [(one.seed, one.metrics[metric]) for one in self.measured if metric in one.metrics]
        if not pairs:
            return None
        found = OverSeeds.of(pairs)
        best = next(one for one in self.measured if one.seed == found.best_seed)
        return OverSeeds.of(pairs, best.interval if metric == "eer" else None)


@dataclass(frozen=True)
class ResultRow:
    """A system on each evaluation set, by the set's name."""

    system: str
    cells: dict[str, ResultCell]


@dataclass(frozen=True)
class ExperimentResult:
    """The figures of an experiment; ``notes`` say what is missing or cannot be compared.

    ``left_out_in_turn`` means that each column was measured with detectors that were trained
    without that corpus; means and worst values over the columns then mean something.
    """

    title: str
    columns: list[str]
    rows: list[ResultRow]
    metrics: list[str]
    seeds: list[int]
    num_resamples: int
    left_out_in_turn: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every system was measured with every seed on every set."""
        return all(len(cell.measured) == cell.num_expected for row in self.rows for cell in row.cells.values())

    def tables(self) -> list[Table]:
        """A table of each metric in the paper's form, and a table of everything known of each EER."""
        head = ["system", "set", "best", "95 % interval", "seed", "mean", "deviation", "trials", "seeds"]
        rows = []
        for row in self.rows:
            for column, cell in row.cells.items():
                one, texts = cell.over_seeds("eer"), ["–"] * 6
                if one is not None:
                    best = next(measured for measured in cell.measured if measured.seed == one.best_seed)
                    texts = [
                        percent(one.best),
                        percent_interval(one.interval),
                        str(one.best_seed),
                        percent(one.mean),
                        percent(one.deviation),
                        f"{count(best.num_bonafide)} + {count(best.num_spoof)}",
                    ]
                rows.append([row.system, column, *texts, f"{one.num_seeds if one else 0} of {cell.num_expected}"])
        caption = (
            f"{self.title}: EER in %. The interval belongs to the best seed, from {self.num_resamples} bootstrap draws; "
            "deviation: standard deviation over the seeds; trials: bona fide + spoofed."
        )
        return [*(self._table(metric) for metric in self.metrics), Table.of(caption, head, rows)]

    def across(self, row: ResultRow, metric: str) -> dict[str, OverSeeds]:
        """Mean and worst over the columns, for the seeds that have all columns."""
        by_seed: dict[int, list[float]] = {}
        for cell in row.cells.values():
            for one in cell.measured:
                if metric in one.metrics:
                    by_seed.setdefault(one.seed, []).append(one.metrics[metric])
        whole = {seed: values for seed, values in by_seed.items() if len(values) == len(self.columns)}
        if not whole:
            return {}
        return {
            name: OverSeeds.of([(seed, of(values)) for seed, values in whole.items()])
            for name, of in (("mean", mean), ("worst", max))
        }

    def _table(self, metric: str) -> Table:
        name, write = METRICS[metric]
        found = {
            (row.system, column): row.cells[column].over_seeds(metric) for row in self.rows for column in self.columns
        }
        columns = list(self.columns)
        if self.left_out_in_turn:
            columns += ["mean", "worst"]
            for row in self.rows:
                across = self.across(row, metric)
                found |= {(row.system, column): across.get(column) for column in ("mean", "worst")}
        cells: dict[str, list[Cell]] = {}
        for column in columns:  # the best seed and, of several, the mean; the lowest ones are marked
            seeds = [found[row.system, column] for row in self.rows]
            best = best_marked([None if one is None else one.best for one in seeds], write)
            cells[column] = [
                cell if one is None or one.num_seeds == 1 else cell._replace(text=f"{cell.text} ({write(one.mean)})")
                for one, cell in zip(seeds, best)
            ]
        rows: list[list[str | Cell]] = [
            [row.system, *(cells[column][number] for column in columns)] for number, row in enumerate(self.rows)
        ]
        of_seeds = f"best (mean) of {len(self.seeds)} seeds" if len(self.seeds) > 1 else "one seed"
        without = ", each corpus without it in training" if self.left_out_in_turn else ""
        return Table.of(f"{self.title}: {name}, {of_seeds}{without}.", ["system", *columns], rows)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        rows = []
        for row in self.rows:
            cells = {
                column: {
                    "num_expected": cell.num_expected,
                    "over_seeds": {metric: plain(cell.over_seeds(metric)) for metric in self.metrics},
                    "measured": plain(cell.measured),
                }
                for column, cell in row.cells.items()
            }
            across = {metric: plain(self.across(row, metric)) for metric in self.metrics}
            rows.append({"system": row.system, "cells": cells, "across": across if self.left_out_in_turn else None})
        return {
            "title": self.title,
            "seeds": self.seeds,
            "metrics": self.metrics,
            "num_resamples": self.num_resamples,
            "left_out_in_turn": self.left_out_in_turn,
            "complete": self.is_complete,
            "notes": self.notes,
            "rows": rows,
        }


def comparability(columns: Sequence[str], rows: Sequence[ResultRow]) -> list[str]:
    """Say which columns rest on different trials, labels or parts of them; empty if none do."""
    notes = []
    for column in columns:
        found = [one for row in rows for one in row.cells[column].measured]
        for what, values in (
            ("recordings", {one.trials for one in found}),
            ("labels", {one.key for one in found}),
            ("numbers of trials", {(one.num_bonafide, one.num_spoof) for one in found}),
        ):
            if len(values) > 1:
                notes.append(f"{column}: the detectors were measured on different {what}: do not compare them")
        partial = [one.run for one in found if one.left_out]
        if partial:
            notes.append(f"{column}: a partial result, because scores are missing: {', '.join(dict.fromkeys(partial))}")
    return notes
