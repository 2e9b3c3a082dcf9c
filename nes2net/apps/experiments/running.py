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

from nes2net.apps.experiments.jobs import Job, Machine, unfinished
from nes2net.apps.experiments.plan import Task
from nes2net.lib.errors import InputError, Unfinished, first_line, one_line
from nes2net.lib.files import make_folder, never_linked, write_text, writing
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.this_process import usable_processors
from nes2net.training.interruption import StopRequests

_TAIL = 4096  # bytes at the end of a log that are searched for the reason of a failure


@dataclass(frozen=True)
class Failure:
    """A job or task that failed, or that did not begin because another one failed."""

    name: str
    problem: str
    status: int | None = None
    """Exit status, as of a command; None if the job did not begin."""

    def __str__(self) -> str:
        if self.status is None:
            return f"{self.name}: not begun: {self.problem}"
        return f"{self.name}: exit status {self.status}: {self.problem}"


def do_here(
    jobs: Sequence[Job], machine: Machine, logs: Path, *, say: Callable[[str], None] = lambda _: None
) -> list[Failure]:
    """Do the unfinished ``jobs``, one after another, and return the failures.

    After a failure, only the jobs that need the failed job are not done. The traceback of an
    unexpected error is written to the folder ``logs``.

    Raises:
        Unfinished: if SIGTERM came, or a disk is full.
        KeyboardInterrupt: if Ctrl-C was pressed. In both cases, finished work is kept.
    """
    failures: dict[Job, Failure] = {}
    unfinished_jobs = unfinished(jobs)
    with StopRequests():
        for number, job in enumerate(unfinished_jobs, 1):
            if job.needs in failures:
                failures[job] = Failure(job.name, f"it needs: {job.needs.name}")
                continue
            say(f"job {number} of {len(unfinished_jobs)}: {job.name}")
            try:
                job.do(machine)
            except Unfinished:
                raise
            except InputError as error:
                failures[job] = Failure(job.name, str(error), 2)
            except Exception as error:  # a bug of nes2net or of a library stops only this job
                path = logs / f"{job.name.replace(' ', '_')}.log"
                write_text(path, traceback.format_exc())
                failures[job] = Failure(job.name, f"{type(error).__name__}: {first_line(error)} ({path})", 1)
    return list(failures.values())


def do_in_processes(
    tasks: Sequence[Task],
    command: Callable[[Task], list[str]],
    logs: Path,
    *,
    num_processes: int,
    gpus: Sequence[str] = (),
) -> list[Failure]:
    """Do ``tasks`` in up to ``num_processes`` processes at once, and return the failures.

    Args:
        command: function from a task to its command line.
        logs: folder for the output of the processes, ``{task}.log``.
        gpus: values of ``CUDA_VISIBLE_DEVICES``, one for each process; if empty, the variable is left
            unset.

    Raises:
        Unfinished, KeyboardInterrupt: as :func:`do_here`; the processes have received the signal too,
            and have ended.
    """
    waiting = list(tasks)
    free = list(range(num_processes))
    running: dict[str, tuple[subprocess.Popen, int]] = {}
    failures: dict[str, Failure] = {}
    with writing(logs):
        make_folder(logs)
    # Divide the processors equally: processes that together have more threads than processors slow each other down.
    num_threads = max(1, usable_processors() // num_processes)
    display = ProgressDisplay[None](title="experiment", unit="task", total=len(waiting), leave=True)
    with StopRequests() as stop, display:
        try:
            while waiting or running:
                for task in list(waiting):
                    if task.needs in failures:
                        waiting.remove(task)
                        failures[task.name] = Failure(task.name, f"it needs: {task.needs}")
                        display.update()
                    elif free and task.needs not in {*running, *(pending.name for pending in waiting)}:
                        waiting.remove(task)
                        slot = free.pop(0)
                        environment = dict(os.environ)
                        environment.setdefault("OMP_NUM_THREADS", str(num_threads))
                        if gpus:
                            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
                        with stop.deferred():  # a signal ends every process that was started
                            running[task.name] = _started(command(task), logs / f"{task.name}.log", environment), slot
                for name, (process, slot) in list(running.items()):
                    status = process.poll()
                    if status is None:
                        continue
                    del running[name]
                    free.append(slot)
                    if status != 0:
                        log = logs / f"{name}.log"
                        failures[name] = Failure(name, f"{_last_line(log)} ({log})", status)
                    if failures:
                        display.facts = [f"{len(failures)} failed"]
                    display.update()
                time.sleep(0.1)
        except BaseException as error:
            signal_number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
            for process, _ in running.values():
                with suppress(ProcessLookupError):
                    process.send_signal(signal_number)
            for process, _ in running.values():  # training saves first
                process.wait()
            raise
    return list(failures.values())


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-_TAIL:].decode("utf-8", "replace").splitlines()
    for line in reversed(lines):
        if line.strip():
            return one_line(line)
    return "it printed nothing"


def _started(command: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen:
    """Start a process with this command line; its output goes to the file ``log``."""
    with writing(log), open(log, "wb", opener=never_linked) as file:
        # A session of its own: Ctrl-C reaches this process, which passes it on once.
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
