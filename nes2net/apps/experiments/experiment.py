"""An experiment as a whole: what is missing, what is left to do and how long it takes, and the table of what is done.

Nothing is measured for the times: they are what earlier jobs took, seconds per epoch and trials per
second. If no job of the same kind was done, the length is unknown. Evaluating takes seconds to
minutes and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from nes2net.apps.experiments.jobs import Job, Run, ScoreJob, TrainJob, unfinished
from nes2net.apps.experiments.missing import Search
from nes2net.apps.experiments.plan import Plan
from nes2net.apps.experiments.result import SystemOnSet, comparability, experiment_result
from nes2net.evaluation.page import write_result
from nes2net.evaluation.result import Result
from nes2net.lib.errors import InputError, counted
from nes2net.lib.files import write_text
from nes2net.lib.findings import Finding
from nes2net.lib.terminal import text_table
from nes2net.lib.times import readable_duration
from nes2net.lib.yaml_text import write_yaml


def missing_for(jobs: Sequence[Job]) -> list[Finding]:
    """List what ``jobs`` need and the disk lacks, each once."""
    found: dict[str, Finding] = {}
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
    expected = _estimates(plan.jobs, left)
    rows = [["job", "state", "time", "estimated from"]]
    for job in plan.jobs:
        if job not in left:
            rows.append([job.name, "done", "", ""])
            continue
        seconds, basis = expected.get(job, (0.0, ""))
        time = "unknown" if seconds is None else readable_duration(seconds)
        if job not in expected:
            time = "short"
        rows.append([job.name, "to do", time, basis])
    known = [seconds for seconds, _ in expected.values() if seconds is not None]
    total = sum(known)
    unknown = len(expected) - len(known)
    text = f"{counted(len(plan.jobs), 'job')}, {len(plan.jobs) - len(left)} done, {len(left)} to do"
    if left:
        separator = ":"
        if total:
            text += f": about {readable_duration(total)} one after another"
            separator = ", and"
        if unknown:
            text += f"{separator} {unknown} of unknown length, because none like them was done"
    return [*text_table(measured), text, "", *text_table(rows, "l")]


def _estimates(jobs: Sequence[Job], left: Sequence[Job]) -> dict[Job, tuple[float | None, str]]:
    """Seconds that each training and scoring of those ``left`` will take, None if unknown, and what that rests on."""
    done: dict[str, int] = {}
    epochs: list[tuple[Run, float]] = []  # of runs, with the seconds of an epoch
    rates: list[tuple[ScoreJob, int, float]] = []  # of scorings, with their trials and how many a second
    for job in jobs:
        with suppress(InputError):  # what is damaged says nothing; doing the job will say so
            if isinstance(job, TrainJob):
                history = job.run.history()
                done[job.run.name] = len(history)
                if seconds := [row["seconds"] for row in history if isinstance(row.get("seconds"), float)]:
                    epochs.append((job.run, median(seconds)))
            elif isinstance(job, ScoreJob) and (record := job.record()):
                said = record.model_extra or {}
                total, kept, took = (said.get(key) for key in ("total", "kept_from_earlier_runs", "seconds"))
                if isinstance(total, int) and isinstance(kept, int) and isinstance(took, int | float):
                    rates += [(job, total, (total - kept) / took)] if total > kept and took > 0 else []
    found: dict[Job, tuple[float | None, str]] = {}
    for job in left:
        if isinstance(job, TrainJob):
            own = job.run
            count = max(job.run.recipe.train.epochs - done.get(job.run.name, 0), 0)
            found[job] = None, ""
            # As this run, as one with another seed, as one without another corpus, or as one of the grid.
            alike = min(
                epochs,
                key=lambda of: (of[0].name != own.name, of[0].point != own.point, of[0].sets != own.sets),
                default=None,
            )
            if alike is not None:
                run, each = alike
                found[job] = count * each, f"{counted(count, 'epoch')} of {each:.3g} s, as in {run.name}"
        elif isinstance(job, ScoreJob):
            found[job] = None, ""
            for other, total, rate in rates:  # as the same set with another detector
                if other.tested == job.tested:
                    found[job] = total / rate, f"{counted(total, 'trial')}, {rate:.3g} a second, as in {other.run.name}"
                    break
    return found


def write_tables(plan: Plan) -> tuple[Result, list[Path]]:
    """Write the table of what is done, in all its forms, and what was asked; return result and paths.

    Raises:
        InputError: if nothing is measured yet, a report is damaged, or a file cannot be written.
    """
    experiment = plan.experiment
    left = unfinished(plan.jobs)
    measurements = []
    for system in plan.systems:
        for tested in experiment.evaluate:
            jobs = plan.evaluations(system, tested)
            reports = [job.read() for job in jobs if job not in left]
            measured = [report.measured for report in reports if report is not None]
            measurements.append(SystemOnSet(system.title, tested.title, measured, len(jobs)))
    if not any(one.measured for one in measurements):
        raise InputError(f"nothing is measured yet in {plan.out}, so there is no table")
    lacking = []
    for one in measurements:
        if len(one.measured) < one.num_expected:
            expected = counted(one.num_expected, "seed is", "seeds are")
            lacking.append(f"{one.system} on {one.set}: {len(one.measured):,} of {expected} measured")
    result = experiment_result(
        experiment.title or experiment.name,
        measurements,
        list(experiment.metrics),
        experiment.seeds,
        experiment.num_resamples,
        left_out_in_turn=experiment.leave_one_out,
        notes=[*lacking, *comparability(measurements)],
    )
    write_text(plan.out / "experiment.yaml", write_yaml(experiment.model_dump(mode="json")))
    page, data, latex, markdown = paths = [plan.out / f"table.{suffix}" for suffix in ("html", "json", "tex", "md")]
    write_result(result, page, data, latex, markdown)
    return result, paths
