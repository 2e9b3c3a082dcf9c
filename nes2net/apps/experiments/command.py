"""`nes2net experiment`: train with several seeds, score, and make one table; or measure a published result again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nes2net.apps.experiments.settings import Machine
from nes2net.lib.errors import InputError, with_flag_names
from nes2net.lib.output.findings import listing
from nes2net.lib.output.terminal import print_output, say, say_aside, say_written, text_table
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.process.this_process import process_count
from nes2net.lib.shell.command_line import INCOMPLETE, WRONG_INPUT
from nes2net.lib.shell.commands import Count, Flag, Folder, command_facts, flags_of

if TYPE_CHECKING:
    from nes2net.apps.experiments.missing import Paths
    from nes2net.apps.experiments.plan import ExperimentPlan
    from nes2net.apps.experiments.running import Failure
    from nes2net.models.published_results import PublishedRow


_File = Annotated[Path, Flag("FILE")]
_Folder = Annotated[Path, Flag("DIR")]


@command_facts(
    about="Finished work is not repeated: the same command resumes after an interruption, a failure, or a "
    "change of the file. Exit status 1 means that figures are missing.",
    names={"data.root": "data.root", "root": "evaluate: root", "keys": "evaluate: keys"},
)
def run(
    file: str,
    overrides: Annotated[Sequence[str], Flag("key=value")] = (),
    *,
    set_: Annotated[Sequence[str], Flag("NAME=VALUE", repeated=True)] = (),
    out: Folder | None = None,
    dry_run: bool = False,
    allow_missing: bool = False,
    on: Literal["here", "slurm"] = "here",
    jobs: Count = 1,
    gpus: Annotated[str | None, Flag("IDS")] = None,
    machine: Machine,
    task: str | None = None,
) -> int:
    """Train with several seeds, evaluate, make one table.

    Example:
        nes2net experiment run nes2net_x_2019 --set data=DB --dry-run

    Args:
        file: YAML file, or name of a packaged experiment
        overrides: override a key of the recipe, e.g. train.epochs=3
        set_: what ${NAME} in the file stands for; repeatable
        out: folder to write; results/NAME if the file names no folder
        dry_run: list missing inputs, downloads, and the jobs to do
        allow_missing: begin even if data is missing

    Where:
        on: on this machine, or as jobs of a cluster
        jobs: processes at once on this machine
        gpus: GPUs for these processes, e.g. 0,1,2; all if not given
    """
    from nes2net.apps.experiments.description import load_experiment
    from nes2net.apps.experiments.experiment import downloads_of, missing_for, work_table
    from nes2net.apps.experiments.jobs import select_unfinished
    from nes2net.apps.experiments.plan import plan_experiment
    from nes2net.apps.experiments.running import do_here, do_in_processes
    from nes2net.lib.storage.files import exclusive_lock, path_below

    if process_count() > 1:
        raise InputError(
            "an experiment starts its own processes: start it without torchrun, and choose their number with `jobs`"
        )
    described = load_experiment(file, list(set_), list(overrides))
    folder = Path(out or described.out or Path("results", described.name))
    plan = plan_experiment(described, folder)
    if task:  # another process started this process to do a single task
        return _do_task(task, plan, machine)
    unfinished_jobs = select_unfinished(plan.jobs)
    missing = missing_for(unfinished_jobs)
    lines = ["nothing is missing"]
    if missing:
        lines = [f"missing, {len(missing)} in all:", *listing(missing)]
    if dry_run:
        lines += [*downloads_of(unfinished_jobs), "", *work_table(plan, unfinished_jobs)]
        print_output(with_flag_names("\n".join(lines)))
        return INCOMPLETE if missing else 0
    if missing:
        say_aside(*lines)
        if not allow_missing:
            return WRONG_INPUT
    # Do the work: on a cluster, in this process, or in several processes. Each process repeats this command with --task.
    words = ["experiment", "run", file, *overrides]
    for assignment in set_:
        words += ["--set", assignment]
    words += ["--out", str(folder), *flags_of(machine)]
    command = partial(_task_command, words)
    with exclusive_lock(
        folder / ".lock", f"another command works in {folder}: wait for it, or name another folder with `out`"
    ):
        logs = path_below(plan.out, "logs")
        tasks = [task for task in plan.tasks if any(job in unfinished_jobs for job in task.jobs)]
        if on == "slurm":
            from nes2net.apps.experiments.slurm import submit

            settings = described.slurm
            if tasks:
                names = submit(tasks, command, path_below(plan.out, "slurm"), settings, described.name)
                say(*text_table([["task", "job"], *map(list, names.items())], "l"))
            if not tasks or settings.cluster == "local":
                return _write_and_print_tables(plan, [])
            say(f"submitted; the last job writes {plan.out / 'table.html'}, and the same command says what is left")
            return 0
        if jobs == 1:
            # do_here() selects the unfinished jobs itself; if there are none, nothing is checked again.
            return _write_and_print_tables(plan, do_here(unfinished_jobs and plan.jobs, machine, logs))
        gpu_ids = _gpu_ids(gpus, machine.device)
        failures = do_in_processes(tasks, command, logs, num_processes=jobs, gpus=gpu_ids)
        return _write_and_print_tables(plan, failures)


@command_facts(
    about="Exit status 1 means that there is no verdict, because the trials, the architecture, the checkpoint "
    "or the speaker-verification system differ from the published ones. Without a checkpoint, one "
    "training serves all results of a recipe; it is in the folder training beside the folders of the "
    "results.",
    names={"root": "--data", "data.root": "--data", "data.protocols": "--protocols", "ids": "--checkpoint"},
)
def reproduce(
    row: str | None = None,
    *,
    all_: Annotated[bool, NotWith("row"), UsedWith("checkpoint")] = False,
    data: Annotated[Path | None, Flag("ROOT")] = None,
    keys: _Folder | None = None,
    protocols: _Folder | None = None,
    checkpoint: _File | None = None,
    recipe: Annotated[_File | None, NotWith("checkpoint")] = None,
    ssl_checkpoint: Annotated[_File | None, NotWith("checkpoint")] = None,
    out: _Folder | None = None,
    rows: _File | None = None,
    allow_partial: bool = False,
    num_resamples: Count = 1000,
    machine: Machine,
) -> int:
    """Measure a published result again, and compare the figures.

    Example:
        nes2net experiment reproduce nes2net_x-2021_df --data DB \\
          --checkpoint detector.pth

    Args:
        row: id of a published result; lists all results if not given
        all_: measure all results whose data and checkpoints are there

    Files and folders:
        data: folder that holds the corpora
        keys: folder of the keys; searched for in ROOT if not given
        protocols: folder of the protocols; searched for in ROOT if not given
        checkpoint: detector to measure, or its run folder; trained if not given; a folder of ROW.pth for --all
        recipe: recipe to train by, instead of the published one
        ssl_checkpoint: pre-trained front-end, for training
        out: folder to work in; reproduce/ROW if not given
        rows: your own rows, as in nes2net/models/published_results.yaml

    How:
        allow_partial: evaluate even if files are missing or unreadable
        num_resamples: bootstrap draws for the interval
    """
    from nes2net.models.published_results import find_row, published_rows

    all_rows = published_rows(rows)
    if row is None and not all_:
        marked = [(each.id, "the paper's own" if each.by_authors else "", each.describe()) for each in all_rows]
        say(*text_table(marked, "l"))
        return 0
    from nes2net.apps.experiments.missing import Paths, Search, find_missing

    if data is None:
        raise InputError(
            f"{row or '`all`'} is measured on a corpus, and no folder is given: name the folder of all corpora with --data"
        )
    settings: dict[str, Any] = {"allow_partial": allow_partial, "num_resamples": num_resamples}
    if row is None:
        paths = Paths(data, out or Path("reproduce"), keys, protocols, checkpoint)
        return _reproduce_all(all_rows, paths, machine, settings)
    published = find_row(row, all_rows)
    out = out or Path("reproduce") / published.id
    paths = Paths(data, out, keys, protocols, checkpoint, ssl_checkpoint, recipe)
    print_output(published.describe())
    missing = find_missing(published, paths, Search())
    if missing:
        can_continue = allow_partial and all(finding.spares_some for finding in missing)
        heading = f"missing, {len(missing)} in all:"
        if can_continue:
            heading = "warning: the result will be partial, missing are"
        say_aside(heading, *listing(missing))
        if not can_continue:
            return WRONG_INPUT
    from nes2net.apps.experiments.reproduce import reproduce as reproduced

    result = reproduced(published, paths, machine, **settings)
    print_output(result.text())
    for name in ("scores.txt", "scores.txt.json", "report.html", "report.json"):
        say_written(out / name, beside_data=True)
    return INCOMPLETE if result.conditions.differences else 0


@command_facts(subcommands=(run, reproduce))
def experiment() -> None:
    """Train, score and evaluate in one go; measure a published result again.

    Example:
        nes2net experiment run nes2net_x_2019 --set data=DB --dry-run
    """


def _task_command(words: Sequence[str], task: str) -> list[str]:
    from nes2net.lib.process.search_path import python_command

    python = python_command("from nes2net.cli.main import main; sys.exit(main())")
    return [*python, *words, "--task", task]


def _reproduce_all(rows: Sequence[PublishedRow], paths: Paths, machine: Machine, settings: Mapping[str, Any]) -> int:
    """Measure the rows that lack nothing, and name the others; return 0 only if all measured figures are as published.

    ``paths.checkpoint`` has a detector ``{id}.pth`` for each row; ``paths.out`` gets a folder for each.
    """
    from nes2net.apps.experiments.missing import Search, find_missing
    from nes2net.apps.experiments.reproduce import reproduce as reproduced

    search = Search()
    is_identical: dict[str, bool] = {}
    for row in rows:
        row_paths = replace(paths, out=paths.out / row.id, checkpoint=Path(paths.checkpoint or "", f"{row.id}.pth"))
        missing = find_missing(row, row_paths, search)
        if missing:
            say(f"{row.id}: not measured: {'; '.join(map(str, missing))}")
            continue
        print_output(row.describe())
        is_identical[row.id] = False
        try:
            result = reproduced(row, row_paths, machine, **settings)
        except InputError as error:  # the other rows are measured all the same
            say_aside(f"{row.id}: {with_flag_names(str(error))}")
            continue
        print_output(result.text())
        is_identical[row.id] = result.is_identical
    differing = [id for id, is_same in is_identical.items() if not is_same]
    verdict = "IDENTICAL"
    if differing:
        verdict = f"differ or failed: {', '.join(differing)}"
    if not is_identical:
        verdict = "nothing was measured"
    say(verdict)
    return 0 if verdict == "IDENTICAL" else INCOMPLETE


def _gpu_ids(gpus: str | None, device: str) -> list[str]:
    """Without ``gpus``: all visible GPUs for the device ``"auto"`` or ``"cuda"``, otherwise no GPU."""
    if not gpus and device in ("auto", "cuda"):
        import torch

        gpus = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    return gpus.split(",") if gpus else []


def _do_task(name: str, plan: ExperimentPlan, machine: Machine) -> int:
    """Do a task of ``plan``, or the one that makes the table, in this process.

    Raises InputError if there is no such task, or a task that must be done first is not done.
    """
    from nes2net.apps.experiments.jobs import select_unfinished
    from nes2net.apps.experiments.running import do_here
    from nes2net.apps.experiments.slurm import TABLE
    from nes2net.lib.errors import check_known

    if name == TABLE:
        return _write_and_print_tables(plan, [])
    tasks = {task.name: task for task in plan.tasks}
    check_known([name], tasks, "the experiment has no task")
    task = tasks[name]
    if task.needs is not None and (before := select_unfinished(tasks[task.needs].jobs)):
        raise InputError(f"task {name} needs '{before[0].name}', which is not done: run the task {task.needs} first")
    return _print_failures(do_here(task.jobs, machine, plan.out / "logs"))


def _print_failures(failures: list[Failure]) -> int:
    for failure in failures:
        say_aside(str(failure))
    return max((failure.status or INCOMPLETE for failure in failures), default=0)


def _write_and_print_tables(plan: ExperimentPlan, failures: list[Failure]) -> int:
    """Return 0 only if all figures are measured.

    Without any figure, no tables are written; InputError is raised if nothing failed either.
    """
    from nes2net.apps.experiments.experiment import write_tables

    if failures:
        say_aside(f"{len(failures)} failed or were not begun; run the same command to resume:")
        _print_failures(failures)
    try:
        result, paths = write_tables(plan)
    except InputError:
        if not failures:
            raise
        return INCOMPLETE
    print_output(result.text())
    for path in paths:
        say_written(path, beside_data=True)
    return INCOMPLETE if failures or not result.header["complete"] else 0
