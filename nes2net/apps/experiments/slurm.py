"""Submit the tasks of an experiment as jobs of a Slurm cluster, with submitit.

One array does all trainings. For each run, another array does the remaining tasks. The last job
makes the table. A job that runs out of time, or is preempted, saves its work and is queued again.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from nes2net.apps.experiments.description import SlurmSettings
from nes2net.apps.experiments.plan import JobGroup
from nes2net.lib.errors import InputError, as_input_error, short_repr
from nes2net.lib.output.terminal import printable_name
from nes2net.lib.process.installation import optional
from nes2net.lib.storage.files import is_absent, write_json
from nes2net.lib.storage.plain_data import StrictModel, read_json_as

#: Name of the task that makes the table.
TABLE = "table"
_SAVE_WITHIN = 80  # seconds that a process may take to save its work; submitit's signal comes 90 s before a job ends


class TaskCommand:
    """The command of a task, as submitit pickles and calls it in a job."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._process: subprocess.Popen | None = None  # only in the job, to which this object is pickled

    def __call__(self) -> None:
        """Run the command in the job.

        Raises:
            RuntimeError: if the command fails, so that jobs that need this job do not begin.
        """
        self._process = subprocess.Popen(self.command)
        # Not wait(), which holds a lock: a signal then calls checkpoint(), whose poll() would never see the end.
        while (status := self._process.poll()) is None:
            time.sleep(0.2)
        if status:
            raise RuntimeError(f"exit status {status} of {' '.join(self.command)}")

    def checkpoint(self) -> Any:
        """Let the process save its work, and submit it again, at the time limit."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            until = time.monotonic() + _SAVE_WITHIN
            while self._process.poll() is None and time.monotonic() < until:
                time.sleep(0.2)
        from submitit.helpers import DelayedSubmission  # optional dependency

        return DelayedSubmission(TaskCommand(self.command))


_JobId = Annotated[str, Field(pattern=r"^[0-9]{1,20}(_[0-9]{1,10})?$")]  # it becomes a part of a script


class _SubmittedJobs(StrictModel):
    cluster: str
    jobs: dict[str, _JobId]  # task → id of its job


def submit(
    tasks: Sequence[JobGroup],
    command: Callable[[str], list[str]],
    folder: Path,
    settings: SlurmSettings,
    name: str,
) -> dict[str, str]:
    """Submit ``tasks`` and the job that writes the table; return task → id of its job.

    A queued or running task is not submitted again. On the cluster ``local``, this function waits,
    because one job cannot wait for another.

    Args:
        command: returns the command line of the task with a name.
        folder: folder for submitit's files and the ids of the jobs.
        name: name of all these jobs on the cluster.

    Raises:
        MissingLibrary: if submitit is not installed.
        InputError: if there is no Slurm here, if Slurm refuses the jobs, or if ``folder`` is refused.
    """
    folder = folder.absolute()  # as submitit would, but a leading ~ stays
    # Slurm replaces %j and the like; a backslash changes its rules; and the rest of a line break would run. All else in
    # a script has a type, or is quoted for the shell.
    if printable_name(folder) != str(folder) or {*str(folder)} & {"%", "\\"}:
        raise InputError(
            f"{short_repr(str(folder))} cannot stand in a script of Slurm: work in folders, also with `out`, whose paths "
            "are UTF-8 without %, backslashes, line breaks and other control characters"
        )
    submitit = optional("submitit", "jobs of a cluster need submitit", "slurm")
    job_class = submitit.LocalJob if settings.cluster == "local" else submitit.SlurmJob
    # Find the jobs of an earlier call that are still queued or running.
    active = {}
    path = folder / "jobs.json"
    if not is_absent(path):
        earlier = read_json_as(
            _SubmittedJobs, path, 1 << 24, "a list of submitted jobs", "remove it if no job is queued"
        )
        if earlier.cluster == settings.cluster:
            jobs = {task: job_class(folder=folder, job_id=id) for task, id in earlier.jobs.items()}
            active = {task: job for task, job in jobs.items() if not job.done()}
    submitted = dict(active)

    def submit_array(names: Sequence[str], condition: str, before: Sequence[Any]) -> None:
        """Submit ``names`` as one array, unless active, to begin after the jobs ``before``.

        ``condition`` is Slurm's: ``"afterok"`` if all of ``before`` succeed, ``"afterany"`` however
        they end.
        """
        names = [task for task in names if task not in active]
        if not names:
            return
        executor = submitit.AutoExecutor(folder=folder, cluster=settings.cluster, slurm_max_num_timeout=100)
        executor.update_parameters(
            name=name,
            timeout_min=settings.minutes,
            gpus_per_node=settings.gpus,
            cpus_per_task=settings.cpus,
            mem_gb=settings.memory_gb,
            slurm_partition=settings.partition,
            slurm_array_parallelism=settings.parallel,
            slurm_additional_parameters={"kill-on-invalid-dep": "yes", **settings.more},
        )
        if settings.cluster == "local":
            for job in before:
                job.wait()
        elif before:
            dependency = ":".join([condition, *(job.job_id for job in before)])
            executor.update_parameters(slurm_dependency=dependency)
        with executor.batch():
            array = [executor.submit(TaskCommand(command(task))) for task in names]
        submitted.update(zip(names, array))
        ids = {task: job.job_id for task, job in submitted.items()}
        write_json(path, {"cluster": settings.cluster, "jobs": ids})

    remedy = "is this a machine of the cluster?"
    with as_input_error(
        "the jobs cannot be submitted", RuntimeError, submitit.core.utils.FailedJobError, OSError, remedy=remedy
    ):
        # Submit the trainings, and then the tasks that need a training; a training precedes the tasks that need it.
        for needed in dict.fromkeys(task.needs for task in tasks):
            names = [task.name for task in tasks if task.needs == needed]
            submit_array(names, "afterok", [submitted[needed]] if needed in submitted else [])
        # The job of the table runs even if others failed, because the table also shows which figures are missing.
        submit_array([TABLE], "afterany", list(submitted.values()))
        if settings.cluster == "local" and TABLE in submitted:
            submitted[TABLE].wait()
    return {task: job.job_id for task, job in submitted.items()}
