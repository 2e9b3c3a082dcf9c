"""An experiment as a whole: what is left to do, what is missing, and the table of what is done."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from nes2net.errors import InputError, counted
from nes2net.evaluation.experiment import ExperimentResult, Measured, ResultCell, ResultRow, comparability
from nes2net.evaluation.page import write_experiment
from nes2net.experiments.durations import estimates, in_words
from nes2net.experiments.jobs import EvaluateJob, Job, unfinished
from nes2net.experiments.missing import Missing, Search
from nes2net.experiments.plan import Plan
from nes2net.machine.files import write_text
from nes2net.machine.terminal import text_table
from nes2net.machine.yaml_text import write_yaml

DESCRIPTION_FILE = "experiment.yaml"


def missing_for(jobs: Sequence[Job]) -> list[Missing]:
    """List what ``jobs`` need and the disk lacks, each once."""
    found: dict[str, Missing] = {}
    search = Search()
    for job in jobs:
        for missing in job.missing(search):
            found.setdefault(missing.problem, missing)  # a protocol may hold the labels
    return list(found.values())


def work_table(plan: Plan, left: Sequence[Job]) -> list[str]:
    """Sum up the rows of the result and the work that is ``left``, then lay out all jobs with their times."""
    columns = plan.experiment.evaluate
    measured = [["seeds measured of each row on", *(one.title for one in columns)]]
    for system in plan.systems:
        of_row = [plan.evaluations(system, one) for one in columns]
        measured.append([system.title, *(f"{sum(job not in left for job in jobs)} of {len(jobs)}" for jobs in of_row)])
    expected = estimates(plan.jobs, left)
    rows = [["job", "state", "time", "estimated from"]]
    for job in plan.jobs:
        if job not in left:
            rows.append([job.name, "done", "", ""])
            continue
        estimate = expected.get(job.name)
        known = estimate is not None and estimate.seconds is not None
        time = "short" if estimate is None else in_words(estimate.seconds or 0) if known else "unknown"
        rows.append([job.name, "to do", time, estimate.basis if estimate else ""])
    seconds = [estimate.seconds for estimate in expected.values()]
    total = sum(one for one in seconds if one is not None)
    unknown = sum(one is None for one in seconds)
    done = len(plan.jobs) - len(left)
    text = f"{counted(len(plan.jobs), 'job')}, {done} done, {len(left)} to do"
    if left:
        text += f": about {in_words(total)} one after another" if total else ""
        text += (
            f"{', and' if total else ':'} {unknown} of unknown length, because none like them was done"
            if unknown
            else ""
        )
    return [*text_table(measured), text, "", *text_table(rows, "l")]


def collect(plan: Plan) -> ExperimentResult:
    """Read the figures of all evaluations that are done.

    Raises:
        InputError: if a report is damaged.
    """
    experiment = plan.experiment
    columns = [one.title for one in experiment.evaluate]
    left = unfinished(plan.jobs)
    rows = []
    for system in plan.systems:
        cells = {}
        for one in experiment.evaluate:
            jobs = plan.evaluations(system, one)
            measured = [_measured(job, plan.out) for job in jobs if job not in left]
            cells[one.title] = ResultCell(measured, len(jobs))
        rows.append(ResultRow(system.title, cells))
    lacking = [
        f"{row.system} on {column}: {len(cell.measured):,} of {counted(cell.num_expected, 'seed is', 'seeds are')} measured"
        for row, column in itertools.product(rows, columns)
        if len((cell := row.cells[column]).measured) < cell.num_expected
    ]
    return ExperimentResult(
        experiment.title or experiment.name,
        columns,
        rows,
        list(experiment.metrics),
        experiment.seeds,
        experiment.num_resamples,
        experiment.leave_one_out,
        [*lacking, *comparability(columns, rows)],
    )


def _measured(job: EvaluateJob, out: Path) -> Measured:
    """The figures of one detector, whose evaluation is done."""
    report, record = job.read(), job.scoring.record()
    if report is None or record is None:
        raise InputError(f"{job.page} was removed meanwhile: give the same command again")
    system = report.systems[0]
    metrics = {"eer": system.eer, "min_tdcf": system.min_tdcf, "min_dcf": system.min_dcf}
    trials = record.run.get("trials")
    return Measured(
        run=job.run.name,
        seed=job.run.seed,
        metrics={name: value for name, value in metrics.items() if value is not None},
        interval=system.interval,
        interval_over=system.interval_over,
        num_bonafide=system.num_bonafide,
        num_spoof=system.num_spoof,
        left_out=system.left_out,
        trials=trials if isinstance(trials, str) else None,
        key=next((one.trials_sha256 for one in report.inputs if one.trials_sha256 is not None), None),
        page=Path(os.path.relpath(job.page, out)).as_posix(),
    )


def write_tables(plan: Plan) -> tuple[ExperimentResult, list[Path]]:
    """Write the table of what is done, in all its forms, and what was asked; return result and paths.

    Raises:
        InputError: if nothing is measured yet, a report is damaged, or a file cannot be written.
    """
    result = collect(plan)
    if not any(cell.measured for row in result.rows for cell in row.cells.values()):
        raise InputError(f"nothing is measured yet in {plan.out}, so there is no table")
    write_text(plan.out / DESCRIPTION_FILE, write_yaml(plan.experiment.model_dump(mode="json")))
    return result, write_experiment(result, plan.out)
