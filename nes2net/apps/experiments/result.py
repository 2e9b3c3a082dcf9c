"""Make tables for a paper: best, mean and deviation of the figures of each system over several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from nes2net.apps.experiments.description import Experiment, metric_names
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import NUM_BONAFIDE, NUM_SPOOF, Figure, Measure, Row, Table, column, plain
from nes2net.lib.errors import join_names
from nes2net.lib.storage.plain_data import Natural, NotNegative

_OVER_SEEDS = (
    column("eer"),
    Measure("best_seed", "seed", "count"),
    Measure("mean", "mean %"),
    Measure("deviation", "deviation %"),
    NUM_BONAFIDE,
    NUM_SPOOF,
    Measure("num_seeds", "seeds", "count"),
    Measure("num_expected", "of", "count"),
)


@dataclass(frozen=True)
class SetResult:
    """The figures of one detector on one evaluation set. Rates are fractions, and costs are normalised.

    ``interval`` is the 95 % interval of the EER; ``interval_over`` names the units of the
    bootstrap. ``left_out`` says which trials have no score. ``trials`` and ``key`` are checksums of
    recordings and labels. ``page`` is the path of the report in the experiment's folder, and
    ``notices`` are its other notices.
    """

    run: str
    seed: int
    metrics: dict[str, NotNegative]
    interval: tuple[NotNegative, NotNegative]
    interval_over: str
    num_bonafide: Natural
    num_spoof: Natural
    left_out: str
    trials: str | None
    key: str | None
    page: str
    notices: tuple[str, ...] = ()

    def figures(self) -> dict[str, Figure]:
        """Return metrics and numbers of trials; the EER has its interval."""
        figures = {name: Figure(value) for name, value in self.metrics.items()}
        if "eer" in figures:  # the report may be a stranger's
            figures["eer"] = Figure(self.metrics["eer"], self.interval)
        return figures | {"num_bonafide": Figure(self.num_bonafide), "num_spoof": Figure(self.num_spoof)}


@dataclass(frozen=True)
class SystemOnSet:
    """The figures of a system, a row of the table, on one evaluation set, a column of the table.

    ``measured`` has one entry for each seed that is done, of ``num_expected`` planned seeds.
    """

    system: str
    set: str
    measured: Sequence[SetResult]
    num_expected: int = 1

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return seed → figure; seeds without this figure are missing."""
        return {detector.seed: detector.metrics[metric] for detector in self.measured if metric in detector.metrics}


def over_seeds(metric: str, by_seed: Mapping[int, float]) -> dict[str, Figure]:
    """Summarise a metric over the seeds. Lower is better; among equal figures, the first is the best.

    ``deviation`` is that of the sample (n − 1). Mean and deviation are None for a single seed.

    >>> figures = over_seeds("eer", {1: 0.02, 2: 0.01, 3: 0.03})
    >>> [figures[name].value for name in ("eer", "best_seed", "mean", "deviation", "num_seeds")]
    [0.01, 2, 0.02, 0.01, 3]
    """
    if not by_seed:
        return {}
    values = list(by_seed.values())
    best_seed = min(by_seed, key=lambda seed: by_seed[seed])
    has_several = len(values) > 1
    return {
        metric: Figure(by_seed[best_seed]),
        "best_seed": Figure(best_seed),
        "mean": Figure(mean(values) if has_several else None),
        "deviation": Figure(stdev(values) if has_several else None),
        "num_seeds": Figure(len(values)),
    }


def experiment_result(experiment: Experiment, measurements: Sequence[SystemOnSet], notes: Sequence[str]) -> Result:
    """Put the figures of an experiment into tables, as one result.

    If the training for each set left out its corpus, each system also gets rows with the mean and
    the worst value over the sets.

    Args:
        measurements: figures of every system on every set, sorted by system.
        notes: remarks about missing or incomparable figures.

    Returns:
        A table for each metric, ``over the seeds`` with details of each EER, and ``reports`` with
        the figures of each detector.
    """
    details = []
    reports = []
    plain_figures = []
    for on_set in measurements:
        labels = {"system": on_set.system, "set": on_set.set}
        figures = over_seeds("eer", on_set.by_seed("eer"))
        if figures:
            best = next(measured for measured in on_set.measured if measured.seed == figures["best_seed"].value)
            figures |= {name: best.figures()[name] for name in ("eer", "num_bonafide", "num_spoof")}
        expected = {"num_seeds": Figure(len(on_set.measured)), "num_expected": Figure(on_set.num_expected)}
        details.append(Row(labels, figures | expected))
        for measured in on_set.measured:
            detector = {"detector": f"{on_set.system}, seed {measured.seed}", "set": on_set.set}
            reports.append(Row(detector, measured.figures(), link=measured.page))
            plain_figures.append(labels | plain(measured))
    # Users' programs read these keys.
    header = {
        "seeds": experiment.seeds,
        "metrics": experiment.metrics,
        "num_resamples": experiment.num_resamples,
        "left_out_in_turn": experiment.leave_one_out,
        "complete": all(len(on_set.measured) == on_set.num_expected for on_set in measurements),
        "notes": notes,
        "measured": plain_figures,
    }
    caption = (
        f"EER in %, over the seeds. The interval belongs to the best seed, from {experiment.num_resamples} bootstrap draws, and "
        "covers the choice of trials; the deviation is the standard deviation over the seeds, and covers that of seeds."
    )
    report_measures = (*map(column, metric_names()), NUM_BONAFIDE, NUM_SPOOF)
    report_caption = "Each detector, with its report."
    tables = [_metric_table(experiment, measurements, metric) for metric in experiment.metrics]
    tables += [
        Table("over the seeds", caption, _OVER_SEEDS, details, "Over the seeds", readers="paper"),
        Table("reports", report_caption, report_measures, reports, "Reports of the detectors", readers="paper"),
    ]
    num_systems = len({on_set.system for on_set in measurements})
    num_sets = len({on_set.set for on_set in measurements})
    lines = [f"systems: {num_systems}, evaluation sets: {num_sets}, seeds: {len(experiment.seeds)}"]
    return Result(
        experiment.title or experiment.name, header, lines, tables, [*notes, *_notices_of_reports(measurements)]
    )


def _notices_of_reports(measurements: Sequence[SystemOnSet]) -> list[str]:
    systems_by_notice: dict[str, dict[str, None]] = {}
    for on_set in measurements:
        for measured in on_set.measured:
            for notice in measured.notices:
                systems_by_notice.setdefault(f"{on_set.set}: {notice}", {})[on_set.system] = None
    return [f"{notice} (of {join_names(list(systems))})" for notice, systems in systems_by_notice.items()]


def _metric_table(experiment: Experiment, measurements: Sequence[SystemOnSet], metric: str) -> Table:
    rows = []
    for on_set in measurements:
        labels = {"system": on_set.system, "set": on_set.set}
        rows.append(Row(labels, over_seeds(metric, on_set.by_seed(metric))))
    if experiment.leave_one_out:
        rows += _rows_across_sets(measurements, metric)
    measure = column(metric)
    num_seeds = len(experiment.seeds)
    over = "one seed"
    if num_seeds > 1:
        over = f"the best and the mean of {num_seeds} seeds"
    caption = f"{measure.heading}, {over}"
    if experiment.leave_one_out:
        caption += ", each corpus scored by detectors trained without it"
    caption += ". Lower is better."
    return Table(metric, caption, (measure, replace(measure, name="mean", heading="mean")), rows, across="set")


def _rows_across_sets(measurements: Sequence[SystemOnSet], metric: str) -> Iterator[Row]:
    """Use only the seeds with figures on all sets."""
    for system in dict.fromkeys(on_set.system for on_set in measurements):
        figures_of_sets = [on_set.by_seed(metric) for on_set in measurements if on_set.system == system]
        seeds = [seed for seed in figures_of_sets[0] if all(seed in figures for figures in figures_of_sets)]
        for name, summary in (("mean", mean), ("worst", max)):
            by_seed = {seed: summary([figures[seed] for figures in figures_of_sets]) for seed in seeds}
            yield Row({"system": system, "set": name}, over_seeds(metric, by_seed))


def comparability_notes(measurements: Sequence[SystemOnSet]) -> list[str]:
    """Note the sets whose trials or labels differ, or whose scores are missing."""
    notes = []
    by_set: dict[str, list[SetResult]] = {}
    for on_set in measurements:
        by_set.setdefault(on_set.set, []).extend(on_set.measured)
    for name, detectors in by_set.items():
        facts: dict[str, set[Any]] = {
            "recordings": {measured.trials for measured in detectors},
            "labels": {measured.key for measured in detectors},
            "numbers of trials": {(measured.num_bonafide, measured.num_spoof) for measured in detectors},
        }
        for fact, values in facts.items():
            if len(values) > 1:
                notes.append(
                    f"{name}: the detectors were measured on different {fact}, so their figures cannot be compared"
                )
        partial = [measured.run for measured in detectors if measured.left_out]
        if partial:
            notes.append(f"{name}: a partial result, because scores are missing: {', '.join(dict.fromkeys(partial))}")
    return notes
