"""Do the jobs of an experiment on this machine, in this process or in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nes2net.apps.experiments.jobs import Job, select_unfinished
from nes2net.apps.experiments.plan import JobGroup
from nes2net.apps.experiments.settings import Machine
from nes2net.lib.errors import InputError, Unfinished, first_line, one_line
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import print_note, print_output
from nes2net.lib.process.this_process import usable_processors
from nes2net.lib.storage.files import make_folder, never_linked, write_text, writing
from nes2net.training.interruption import StopRequests

_LOG_TAIL = 4096  # number of bytes to read at the end of a log, to find the reason of a failure


@dataclass(frozen=True)
class Failure:
    """A job or task that failed, or was not begun because a needed job had failed."""

    name: str
    problem: str
    status: int | None = None
    """Exit status as a command would return it; None if the job did not begin."""

    def __str__(self) -> str:
        state = "not begun" if self.status is None else f"exit status {self.status}"
        return f"{self.name}: {state}: {self.problem}"


def do_here(jobs: Sequence[Job], machine: Machine, logs: Path) -> list[Failure]:
    """Do the unfinished ``jobs``, one after another, and return the failures; print a line before each.

    After a failure, only the jobs that need the failed job are skipped. The traceback of an
    unexpected error is written to the folder ``logs``.

    Raises:
        Unfinished: if SIGTERM came, or if a disk is full.
        KeyboardInterrupt: if Ctrl-C was pressed. Finished work is kept.
    """
    failures: dict[Job, Failure] = {}
    unfinished_jobs = select_unfinished(jobs)
    with StopRequests():
        for number, job in enumerate(unfinished_jobs, 1):
            if job.needs in failures:
                failures[job] = Failure(job.name, f"it needs: {job.needs.name}")
                continue
            print_output(f"== job {number} of {len(unfinished_jobs)}: {job.name}")
            try:
                job.do(machine)
            except Unfinished:
                raise
            except InputError as error:
                failures[job] = Failure(job.name, str(error), 2)  # the exit status of a command
            except Exception as error:  # a bug of nes2net or of a library stops only this job
                path = logs / f"{job.name.replace(' ', '_')}.log"
                write_text(path, traceback.format_exc())
                failures[job] = Failure(job.name, f"{type(error).__name__}: {first_line(error)} ({path})", 1)
    return list(failures.values())


def do_in_processes(
    tasks: Sequence[JobGroup],
    command: Callable[[str], list[str]],
    logs: Path,
    *,
    num_processes: int,
    gpus: Sequence[str] = (),
) -> list[Failure]:
    """Do ``tasks`` in up to ``num_processes`` processes at once, and return the failures.

    After a failure, only the tasks that need the failed task are skipped. SIGTERM and Ctrl-C are
    passed on; an error is raised when all processes have ended.

    Args:
        command: returns the command line of the task with a name.
        logs: folder for the output of the processes, ``{task}.log``.
        gpus: ``CUDA_VISIBLE_DEVICES`` of each process; if empty, not changed.

    Raises:
        Unfinished: as :func:`do_here`.
        KeyboardInterrupt: as :func:`do_here`.
    """
    waiting_tasks = list(tasks)
    free_slots = list(range(num_processes))
    running: dict[str, tuple[subprocess.Popen, int]] = {}  # name of a task → its process and slot
    failures = {}
    with writing(logs):
        make_folder(logs)
    # Processes slow each other down if together they have more threads than the machine has processors.
    num_threads = max(1, usable_processors() // num_processes)
    display = ProgressDisplay[None](title="experiment", unit="task", total=len(waiting_tasks), leave=True)
    with StopRequests() as stop, display:
        try:
            while waiting_tasks or running:
                # Begin tasks while slots are free. If a task needs another task, the other task must be
                # done first.
                for task in list(waiting_tasks):
                    if task.needs in failures:
                        waiting_tasks.remove(task)
                        failures[task.name] = Failure(task.name, f"it needs: {task.needs}")
                        display.update()
                    elif free_slots and task.needs not in {*running, *(pending.name for pending in waiting_tasks)}:
                        waiting_tasks.remove(task)
                        slot = free_slots.pop(0)
                        environment = dict(os.environ)
                        environment.setdefault("OMP_NUM_THREADS", str(num_threads))
                        if gpus:
                            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
                        with stop.defer(
                            "the start of a process"
                        ):  # handle signals only after the process is in `running`
                            log = logs / f"{task.name}.log"
                            running[task.name] = _start_process(command(task.name), log, environment), slot
                for name, (process, slot) in list(running.items()):
                    status = process.poll()
                    if status is None:
                        continue
                    del running[name]
                    free_slots.append(slot)
                    if status != 0:
                        log = logs / f"{name}.log"
                        failures[name] = Failure(name, f"{_last_log_line(log)} ({log})", status)
                    if failures:
                        display.facts = [f"{len(failures)} failed"]
                    display.update()
                time.sleep(0.1)
        except BaseException as error:
            signal_number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
            print_note(f"waiting for the end of {', '.join(running)}")
            for process, _ in running.values():
                with suppress(ProcessLookupError):
                    process.send_signal(signal_number)
            for process, _ in running.values():  # wait, because a training process saves its state before it ends
                process.wait()
            raise
    return list(failures.values())


def _last_log_line(log: Path) -> str:
    lines = log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace").splitlines()
    for line in reversed(lines):
        if line.strip():
            return one_line(line)
    return "it printed nothing"


def _start_process(command: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen:
    with writing(log), open(log, "wb", opener=never_linked) as file:
        # The new process has its own session, so it does not get Ctrl-C from the terminal; `do_in_processes` passes
        # Ctrl-C on.
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
