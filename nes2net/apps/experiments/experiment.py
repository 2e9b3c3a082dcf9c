"""Report on a whole experiment: missing inputs, work to do, and the table of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nes2net.apps.experiments.jobs import Job, TrainJob, select_unfinished
from nes2net.apps.experiments.missing import Search
from nes2net.apps.experiments.plan import ExperimentPlan
from nes2net.apps.experiments.result import SystemOnSet, comparability_notes, experiment_result
from nes2net.evaluation.page import Pages
from nes2net.evaluation.result import Result
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.findings import Finding
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import text_table
from nes2net.lib.storage.files import is_absent, write_text
from nes2net.lib.storage.yaml_text import write_yaml
from nes2net.models.checkpoints.shelf import Shelf
from nes2net.models.frontends.sizes import SIZES


def missing_for(jobs: Sequence[Job]) -> list[Finding]:
    """List the missing inputs of ``jobs``, each only once."""
    findings: dict[str, Finding] = {}
    search = Search()
    for job in ProgressDisplay(jobs, title="looking for missing inputs", unit="job"):
        for finding in job.missing(search):
            findings.setdefault(finding.problem, finding)  # two jobs may miss the same file: list the file once
    return list(findings.values())


def downloads_of(jobs: Sequence[Job]) -> list[str]:
    """Describe the files that ``jobs`` will download."""
    names = {job.run.recipe.ssl_checkpoint or "" for job in jobs if isinstance(job, TrainJob)}
    files = {name: SIZES[name].published for name in sorted(names & SIZES.keys()) if is_absent(name)}
    return [
        f"to download: {name}, {file.known_by}, from {file.address}"
        for name, file in files.items()
        if not Shelf(name, file).find()
    ]


def work_table(plan: ExperimentPlan, unfinished_jobs: Sequence[Job]) -> list[str]:
    """Describe measured seeds, work left and all jobs, for a terminal."""
    columns = [tested.title for tested in plan.experiment.evaluate]
    measured = [["seeds measured of each row on", *columns]]
    for system, by_set in plan.evaluations().items():
        cells = [system.title]
        for title in columns:
            num_done = sum(job not in unfinished_jobs for job in by_set[title])
            cells.append(f"{num_done} of {len(by_set[title])}")
        measured.append(cells)
    rows = [["job", "state"]]
    for job in plan.jobs:
        rows.append([job.name, "to do" if job in unfinished_jobs else "done"])
    num_done = len(plan.jobs) - len(unfinished_jobs)
    text = f"{pluralise(plan.jobs, 'job')}, {num_done} done, {len(unfinished_jobs)} to do"
    return [*text_table(measured), text, "", *text_table(rows, "l")]


def write_tables(plan: ExperimentPlan) -> tuple[Result, list[Path]]:
    """Write the description of the experiment, and its result as HTML, JSON, LaTeX and Markdown.

    Raises:
        InputError: if no figure is measured yet, a report is damaged, or a file cannot be written.
    """
    experiment = plan.experiment
    unfinished_jobs = select_unfinished(plan.jobs)
    measurements = []
    incomplete = []
    for system, by_set in plan.evaluations().items():
        for tested in experiment.evaluate:
            jobs = by_set[tested.title]
            reports = [job.read() for job in jobs if job not in unfinished_jobs]
            measured = [report.measured for report in reports if report is not None]
            measurements.append(SystemOnSet(system.title, tested.title, measured, len(jobs)))
            if len(measured) < len(jobs):
                expected = pluralise(jobs, "seed is", "seeds are")
                incomplete.append(f"{system.title} on {tested.title}: {len(measured):,} of {expected} measured")
    if not any(on_set.measured for on_set in measurements):
        raise InputError(f"nothing is measured yet in {plan.out}, so there is no table: run the experiment first")
    result = experiment_result(experiment, measurements, [*incomplete, *comparability_notes(measurements)])
    write_text(plan.out / "experiment.yaml", write_yaml(experiment.model_dump(mode="json")))
    paths = [plan.out / f"table.{suffix}" for suffix in ("html", "json", "tex", "md")]
    Pages(*paths).write(result)
    return result, paths
