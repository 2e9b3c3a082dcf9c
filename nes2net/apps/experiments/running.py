"""Doing the jobs of an experiment on this machine: in this process, or in several."""

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

_TAIL = 4096  # bytes at the end of a log, in which the reason of a failure is looked for


@dataclass(frozen=True)
class Failure:
    """A job or task that failed, or could not begin because another one failed."""

    name: str
    problem: str
    status: int | None = None
    """Exit status, as of a command; None if it was not begun."""

    def __str__(self) -> str:
        status = "not begun" if self.status is None else f"exit status {self.status}"
        return f"{self.name}: {status}: {self.problem}"


def do_here(
    jobs: Sequence[Job], machine: Machine, logs: Path, *, say: Callable[[str], None] = lambda _: None
) -> list[Failure]:
    """Do the unfinished ``jobs``, one after another, and return what failed.

    A failed job stops only the jobs that need it. The traceback of an error that is not the user's
    goes to ``logs``.

    Raises:
        Unfinished: if SIGTERM came, or a disk is full.
        KeyboardInterrupt: if Ctrl-C was pressed. What is done is kept in both cases.
    """
    failures: dict[Job, Failure] = {}
    left = unfinished(jobs)
    with StopRequests():
        for number, job in enumerate(left, 1):
            if job.needs in failures:
                failures[job] = Failure(job.name, f"it needs: {job.needs.name}")
                continue
            say(f"job {number} of {len(left)}: {job.name}")
            try:
                job.do(machine)
            except Unfinished:
                raise
            except InputError as error:
                failures[job] = Failure(job.name, str(error), 2)
            except Exception as error:  # a fault of ours or of a library stops this job alone
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
    """Do ``tasks`` in up to ``num_processes`` processes at once, and return what failed.

    Args:
        command: what to run for a task.
        logs: folder of what each process prints, ``{task}.log``.
        gpus: values of ``CUDA_VISIBLE_DEVICES``, one for each process, in turn; none leaves it as it is.

    Raises:
        Unfinished, KeyboardInterrupt: as :func:`do_here`; the processes got the signal, too, and
            have ended.
    """
    waiting = list(tasks)
    free = list(range(num_processes))
    running: dict[str, tuple[subprocess.Popen, int]] = {}
    failures: dict[str, Failure] = {}
    with writing(logs):
        make_folder(logs)
    display = ProgressDisplay[None](title="experiment", unit="task", total=len(waiting), leave=True)
    with StopRequests() as stop, display:
        try:
            while waiting or running:
                for task in list(waiting):
                    if task.needs in failures:
                        waiting.remove(task)
                        failures[task.name] = Failure(task.name, f"it needs: {task.needs}")
                        display.update()
                    elif free and task.needs not in {*running, *(other.name for other in waiting)}:
                        waiting.remove(task)
                        slot = free.pop(0)
                        environment = dict(os.environ)
                        # Equal shares of the processors: two processes with as many threads as processors hold each
                        # other up.
                        threads = max(1, usable_processors() // num_processes)
                        environment.setdefault("OMP_NUM_THREADS", str(threads))
                        environment |= {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {}
                        with stop.deferred():  # a signal ends every process that was started
                            running[task.name] = _started(command(task), logs / f"{task.name}.log", environment), slot
                for name, (process, slot) in list(running.items()):
                    if (status := process.poll()) is None:
                        continue
                    del running[name]
                    free.append(slot)
                    if status != 0:
                        log = logs / f"{name}.log"
                        said = log.read_bytes()[-_TAIL:].decode("utf-8", "replace").splitlines()
                        last = next((one_line(line) for line in reversed(said) if line.strip()), "it printed nothing")
                        failures[name] = Failure(name, f"{last} ({log})", status)
                    display.facts = [f"{len(failures)} failed"] if failures else []
                    display.update()
                time.sleep(0.1)
        except BaseException as error:
            number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
            for process, _ in running.values():
                with suppress(ProcessLookupError):
                    process.send_signal(number)
            for process, _ in running.values():  # training saves first
                process.wait()
            raise
    return list(failures.values())


def _started(command: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen:
    """Start a process of this command line, whose output goes to the file ``log``."""
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
