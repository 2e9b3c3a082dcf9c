"""`nes2net experiment`: recipe × seeds → checkpoints → scores → one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import INCOMPLETE, WRONG_INPUT, add_batches, add_device, check_at_least, subcommand
from nes2net.errors import InputError, worded
from nes2net.machine.launch import process_count
from nes2net.machine.terminal import printable, say_written, text_table

if TYPE_CHECKING:
    from nes2net.experiments.jobs import Job, Machine
    from nes2net.experiments.plan import Plan
    from nes2net.experiments.running import Failure

_EXAMPLE = "nes2net experiment nes2net_x_2019 --set data=DB --dry-run"
_EPILOG = (
    "What is done is not done again: the same command goes on after an interruption, a failure, or a change of the file. "
    "Exit status 1 means that figures are missing."
)


def add(commands: argparse._SubParsersAction) -> None:
    text = "Train with several seeds, evaluate, make one table"
    parser = subcommand(commands, "experiment", _experiment, text, example=_EXAMPLE)
    parser.epilog = _EPILOG
    parser.add_argument("file", help="YAML file of the experiment, or the name of a packaged one")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="override a key of the recipe, e.g. train.epochs=3",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what ${NAME} in the file stands for; repeatable",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for everything; that of the file, or results/NAME, if not given"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what is missing, what is measured, and the jobs to do with an estimate of time",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="begin even if data is missing, and do what is possible"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="score anew over scores of replaced audio or of another device"
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--on", default="here", choices=["here", "slurm"], help="on this machine, or as jobs of a cluster"
    )
    where.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at once on this machine")
    where.add_argument(
        "--gpus",
        metavar="IDS",
        help="GPUs for these processes, in turn, e.g. 0,1,2; all, if there are any, if not given",
    )
    where.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="override a key of the file's section slurm"
    )
    add_device(where)
    add_batches(where)
    parser.add_argument("--task", help=argparse.SUPPRESS)  # what a process of --jobs or of a cluster does
    parser.names |= {"data.root": "data.root", "root": "evaluate: root", "keys": "evaluate: keys"}


def _experiment(args: argparse.Namespace) -> int:
    from nes2net.experiments.description import load_experiment
    from nes2net.experiments.experiment import missing_for, work_table
    from nes2net.experiments.jobs import Machine, unfinished
    from nes2net.experiments.plan import plan_experiment
    from nes2net.machine.locks import exclusive_lock

    check_at_least(args, jobs=1)
    if process_count() > 1:
        raise InputError("an experiment starts its own processes: leave torchrun out, and give `jobs`")
    experiment = load_experiment(args.file, args.set, args.overrides, args.slurm)
    out = Path(args.out or experiment.out or Path("results", experiment.name))
    plan = plan_experiment(experiment, out)
    machine = Machine(args.device, args.batch_size, args.num_workers, args.overwrite)
    if args.task:
        return _task(args.task, plan, machine)
    left = unfinished(plan.jobs)
    missing = missing_for(left)
    lacking = [f"missing, {len(missing)} in all:", *map(str, missing)] if missing else ["nothing is missing"]
    if args.dry_run:
        print(printable(worded("\n".join([*lacking, "", *work_table(plan, left)]))))
        return INCOMPLETE if missing else 0
    if missing:
        print(printable(worded("\n".join(lacking))), file=sys.stderr)
        if not args.allow_missing:
            return WRONG_INPUT
    with exclusive_lock(
        out / ".lock", f"another command works in {out}: wait for it, or name another folder with `out`"
    ):
        if args.on == "slurm":
            return _on_slurm(args, plan, left)
        failures = _on_this_machine(args, plan, left, machine)
        return _tables(plan, failures)


def _on_this_machine(args: argparse.Namespace, plan: Plan, left: list[Job], machine: Machine) -> list[Failure]:
    from nes2net.experiments.running import do_here, do_in_processes

    logs = plan.out / "logs"
    if args.jobs == 1:
        return do_here(plan.jobs if left else [], machine, logs, say=lambda line: print(printable(f"== {line}")))
    gpus = args.gpus.split(",") if args.gpus else _gpus(args.device)
    tasks = [task for task in plan.tasks if any(job in left for job in task.jobs)]
    return do_in_processes(
        tasks, lambda task: _command(args, plan, task.name), logs, num_processes=args.jobs, gpus=gpus
    )


def _gpus(device: str) -> list[str]:
    """The GPUs of this machine, unless another device is asked for."""
    import os

    import torch

    if device not in ("auto", "cuda"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]


def _on_slurm(args: argparse.Namespace, plan: Plan, left: list[Job]) -> int:
    from nes2net.experiments.slurm import submit

    settings, out = plan.experiment.slurm, plan.out
    tasks = [task for task in plan.tasks if any(job in left for job in task.jobs)]
    if not tasks:
        return _tables(plan, [])
    jobs = submit(tasks, lambda name: _command(args, plan, name), out / "slurm", settings, plan.experiment.name)
    print("\n".join(text_table([["task", "job"], *map(list, jobs.items())], "l")))
    if settings.cluster == "local":
        return _tables(plan, [])
    print(f"submitted; the last job writes {out / 'table.html'}, and the same command says what is left")
    return 0


def _command(args: argparse.Namespace, plan: Plan, task: str) -> list[str]:
    """The command of a process that does one task."""
    words = [sys.executable, "-m", "nes2net", "experiment", args.file, *args.overrides]
    words += [word for pair in args.set for word in ("--set", pair)]
    words += ["--out", str(plan.out), "--device", args.device, "--task", task]
    for flag, value in (("--batch-size", args.batch_size), ("--workers", args.num_workers)):
        words += [] if value is None else [flag, str(value)]
    return [*words, *(["--overwrite"] if args.overwrite else [])]


def _task(name: str, plan: Plan, machine: Machine) -> int:
    """Do one task in this process."""
    from nes2net.errors import check_known
    from nes2net.experiments.jobs import unfinished
    from nes2net.experiments.running import do_here
    from nes2net.experiments.slurm import TABLE

    if name == TABLE:
        return _tables(plan, [])
    tasks = {task.name: task for task in plan.tasks}
    check_known([name], tasks, "the experiment has no task")
    task = tasks[name]
    if task.needs is not None and (before := unfinished(tasks[task.needs].jobs)):
        raise InputError(f"{name} comes after {before[0].name}, which is not done")
    failures = do_here(task.jobs, machine, plan.out / "logs", say=lambda line: print(printable(f"== {line}")))
    return _say(failures)


def _say(failures: list[Failure]) -> int:
    for failure in failures:
        print(printable(worded(str(failure))), file=sys.stderr)
    return max((failure.status or INCOMPLETE for failure in failures), default=0)


def _tables(plan: Plan, failures: list[Failure]) -> int:
    """Write and print the table of what is done, and name what failed."""
    from nes2net.experiments.experiment import write_tables

    status = INCOMPLETE if failures else 0
    if failures:
        print(f"{len(failures)} failed or were not begun; the same command goes on:", file=sys.stderr)
        _say(failures)
    try:
        result, paths = write_tables(plan)
    except InputError:
        if not failures:
            raise
        return INCOMPLETE
    *tables, _ = result.tables()
    for table in tables:
        rows = [table.head, *([cell.text for cell in row] for row in table.rows)]
        print(printable("\n".join([table.caption, *text_table(rows)])))
    for note in result.notes:
        print(printable(f"note: {note}"))
    for path in paths:
        say_written(path, beside_data=True)
    return status if result.is_complete else INCOMPLETE
