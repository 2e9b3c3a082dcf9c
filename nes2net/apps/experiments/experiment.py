"""Report on a whole experiment: missing inputs, work to do and its time, and the table of the figures.

Times are estimated from the seconds per epoch and the trials per second of earlier jobs. If no
similar job was done, the time is unknown. The estimates do not include evaluations, which take
seconds to minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from nes2net.apps.experiments.jobs import Job, Run, ScoreJob, TrainJob, unfinished
from nes2net.apps.experiments.missing import Search
from nes2net.apps.experiments.plan import Plan
from nes2net.apps.experiments.result import SystemOnSet, comparability_notes, experiment_result
from nes2net.evaluation.page import Pages
from nes2net.evaluation.result import Result
from nes2net.lib.errors import InputError, counted
from nes2net.lib.files import write_text
from nes2net.lib.findings import Finding
from nes2net.lib.terminal import text_table
from nes2net.lib.times import readable_duration
from nes2net.lib.yaml_text import write_yaml


def missing_for(jobs: Sequence[Job]) -> list[Finding]:
    """List the missing inputs of ``jobs``, without repetitions."""
    findings: dict[str, Finding] = {}
    search = Search()
    for job in jobs:
        for finding in job.missing(search):
            findings.setdefault(finding.problem, finding)  # two jobs may miss the same file: list the file once
    return list(findings.values())


def work_table(plan: Plan, unfinished_jobs: Sequence[Job]) -> list[str]:
    """Describe how much of an experiment is done, in tables for a terminal.

    The lines show how many seeds of each system are measured, how much work is left, and all jobs
    with their estimated times.

    Args:
        unfinished_jobs: the jobs of ``plan`` that are not done.
    """
    # Count the measured seeds of each system.
    columns = plan.experiment.evaluate
    measured = [["seeds measured of each row on", *(tested.title for tested in columns)]]
    for system in plan.systems:
        cells = [system.title]
        for tested in columns:
            jobs = plan.evaluations(system, tested)
            num_done = sum(job not in unfinished_jobs for job in jobs)
            cells.append(f"{num_done} of {len(jobs)}")
        measured.append(cells)
    # List the state and the time of each job.
    estimates = _estimate_times(plan.jobs, unfinished_jobs)
    rows = [["job", "state", "time", "estimated from"]]
    for job in plan.jobs:
        if job not in unfinished_jobs:
            rows.append([job.name, "done", "", ""])
            continue
        seconds, basis = estimates.get(job, (0.0, ""))
        time = "unknown"
        if job not in estimates:
            time = "short"
        elif seconds is not None:
            time = readable_duration(seconds)
        rows.append([job.name, "to do", time, basis])
    # Sum up the times.
    times = [seconds for seconds, _ in estimates.values() if seconds is not None]
    total = sum(times)
    num_unknown = len(estimates) - len(times)
    num_done = len(plan.jobs) - len(unfinished_jobs)
    text = f"{counted(len(plan.jobs), 'job')}, {num_done} done, {len(unfinished_jobs)} to do"
    if unfinished_jobs:
        separator = ":"
        if total:
            text += f": about {readable_duration(total)} one after another"
            separator = ", and"
        if num_unknown:
            text += f"{separator} {num_unknown} of unknown length, because none like them was done"
    return [*text_table(measured), text, "", *text_table(rows, "l")]


def _estimate_times(jobs: Sequence[Job], unfinished_jobs: Sequence[Job]) -> dict[Job, tuple[float | None, str]]:
    """Estimate the time of each unfinished training or scoring.

    Returns:
        A mapping from each job to its estimated seconds and a text. The text says on which earlier
        job the estimate is based. The seconds are None if no estimate is possible.
    """
    num_epochs: dict[str, int] = {}  # name of a run → number of its finished epochs
    epochs: list[tuple[Run, float]] = []  # a run, and the median duration of its epochs in seconds
    rates: list[tuple[ScoreJob, int, float]] = []  # a job, its number of trials, and its trials per second
    for job in jobs:
        with suppress(InputError):  # ignore damaged files: the job itself will report them
            if isinstance(job, TrainJob):
                history = job.run.history()
                num_epochs[job.run.name] = len(history)
                if seconds := [row["seconds"] for row in history if "seconds" in row]:
                    epochs.append((job.run, median(seconds)))
            elif isinstance(job, ScoreJob) and (rate := _scoring_rate(job)):
                rates.append((job, *rate))
    estimates: dict[Job, tuple[float | None, str]] = {}
    for job in unfinished_jobs:
        if isinstance(job, TrainJob):
            count = max(job.run.recipe.train.epochs - num_epochs.get(job.run.name, 0), 0)
            estimates[job] = None, ""
            if epochs:
                run, epoch_seconds = min(epochs, key=lambda epoch: _dissimilarity(epoch[0], job.run))
                basis = f"{counted(count, 'epoch')} of {epoch_seconds:.3g} s, as in {run.name}"
                estimates[job] = count * epoch_seconds, basis
        elif isinstance(job, ScoreJob):
            estimates[job] = None, ""
            for scoring, total, speed in rates:  # use the speed of another detector on this set
                if scoring.tested == job.tested:
                    basis = f"{counted(total, 'trial')}, {speed:.3g} a second, as in {scoring.run.name}"
                    estimates[job] = total / speed, basis
                    break
    return estimates


def _dissimilarity(run: Run, other_run: Run) -> tuple[bool, bool, bool]:
    """Return a sort key that tells how far ``other_run`` differs from ``run``.

    The key is smallest for the same run. The key is larger if only the seed differs, still larger
    if the left-out corpus differs, and largest if the grid point differs.
    """
    return run.name != other_run.name, run.point != other_run.point, run.sets != other_run.sets


def _scoring_rate(scoring: ScoreJob) -> tuple[int, float] | None:
    """Return the numbers of all trials and of trials per second; None if the last call scored no trial."""
    record = scoring.record()
    if record is None:
        return None
    earlier = record.kept_from_earlier_runs
    if record.total is None or earlier is None or not record.seconds or record.total <= earlier:
        return None
    return record.total, (record.total - earlier) / record.seconds


def write_tables(plan: Plan) -> tuple[Result, list[Path]]:
    """Write the description of the experiment, and its result as HTML, JSON, LaTeX and Markdown.

    Returns:
        The result, and the paths of its files.

    Raises:
        InputError: if no figure is measured yet, if a report is damaged, or if a file cannot be
            written.
    """
    experiment = plan.experiment
    unfinished_jobs = unfinished(plan.jobs)
    # Read the measured figures.
    measurements = []
    incomplete = []
    for system in plan.systems:
        for tested in experiment.evaluate:
            jobs = plan.evaluations(system, tested)
            reports = [job.read() for job in jobs if job not in unfinished_jobs]
            measured = [report.measured for report in reports if report is not None]
            measurements.append(SystemOnSet(system.title, tested.title, measured, len(jobs)))
            if len(measured) < len(jobs):
                expected = counted(len(jobs), "seed is", "seeds are")
                incomplete.append(f"{system.title} on {tested.title}: {len(measured):,} of {expected} measured")
    if not any(on_set.measured for on_set in measurements):
        raise InputError(f"nothing is measured yet in {plan.out}, so there is no table")
    result = experiment_result(
        experiment.title or experiment.name,
        measurements,
        list(experiment.metrics),
        experiment.seeds,
        experiment.num_resamples,
        left_out_in_turn=experiment.leave_one_out,
        notes=[*incomplete, *comparability_notes(measurements)],
    )
    write_text(plan.out / "experiment.yaml", write_yaml(experiment.model_dump(mode="json")))
    paths = [plan.out / f"table.{suffix}" for suffix in ("html", "json", "tex", "md")]
    Pages(*paths).write(result)
    return result, paths
