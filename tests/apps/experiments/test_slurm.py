"""An experiment as jobs by submitit: what sbatch is asked for, and a real run by submitit's local cluster."""

import os
import re
import subprocess
import sys

import pytest
from builders import input_error
from builders.experiments import experiment_file
from builders.files import read_json, write, write_json
from builders.scripts import python
from conftest import REPOSITORY

from nes2net.apps.experiments.description import SlurmSettings, load_experiment
from nes2net.apps.experiments.plan import plan_experiment
from nes2net.apps.experiments.slurm import TaskCommand, submit

submitit = pytest.importorskip("submitit")

#: Programs of a cluster that take jobs, number them, and never run them.
_SBATCH = """#!/bin/sh
cp "$1" "{folder}/sbatch_$(ls {folder} | grep -c '^sbatch_').sh"
echo "Submitted batch job $(ls {folder} | grep -c '^sbatch_')00"
"""
_SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
for number in 100 200 300 400; do echo "${number}_0|{state}|node"; echo "${number}_1|{state}|node"; echo "$number|{state}|node"; done
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of a Slurm cluster; a function sets the state that its jobs are in."""
    programs = tmp_path / "programs"

    def set_state(state: str) -> None:
        for name, text in (("sbatch", _SBATCH), ("sacct", _SACCT), ("srun", "#!/bin/sh\n")):
            write(programs / name, text.replace("{folder}", str(programs)).replace("{state}", state)).chmod(0o755)

    set_state("PENDING")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return programs, set_state


@pytest.fixture
def submitted(tmp_path, cluster):
    """A function that submits tasks of an experiment, which are all if not given by a slice; gives the number of each job."""
    tasks = plan_experiment(load_experiment(experiment_file(tmp_path, tmp_path)), tmp_path / "out").tasks
    settings = SlurmSettings(partition="gpu", minutes=90, memory_gb=32, more={"account": "speech"})
    return lambda numbers=slice(None): submit(
        tasks[numbers], lambda task: ["task", task], tmp_path / "out" / "slurm", settings, "tiny"
    )


def test_tasks_that_need_the_same_tasks_are_submitted_to_slurm_as_one_array_that_waits_for_them(submitted, cluster):
    programs, _ = cluster
    numbers = {f"evaluate_seed{seed}_best{best}": f"{seed + 1}00_{best - 1}" for seed in (1, 2) for best in (1, 2)}
    assert submitted() == {"train_seed1": "100_0", "train_seed2": "100_1", **numbers, "table": "400"}
    texts = [(programs / f"sbatch_{number}.sh").read_text() for number in range(4)]
    assert all("--array=0-1%2\n" in text for text in texts[:3])
    all_before = "afterany:100_0:100_1:200_0:200_1:300_0:300_1"
    awaited = [re.findall("--dependency=(.*)", text) for text in texts]
    assert awaited == [[], ["afterok:100_0"], ["afterok:100_1"], [all_before]]


def test_sbatch_gets_the_slurm_settings_of_the_experiment_for_each_job(submitted, cluster):
    submitted()
    options = "partition=gpu time=90 mem=32GB account=speech gpus-per-node=1 kill-on-invalid-dep=yes"
    scripts = [path.read_text() for path in cluster[0].glob("sbatch_*")]
    assert len(scripts) == 4
    for text in scripts:
        assert all(f"#SBATCH --{option}\n" in text for option in options.split())


@pytest.mark.parametrize("name", ["a\ntouch ran\n#", "100%", "%j", "back\\slash", "\x1b[2J", "caf\udce9"])
def test_a_path_that_a_script_of_slurm_cannot_hold_is_refused(cluster, tmp_path, name):
    task = plan_experiment(load_experiment(experiment_file(tmp_path, tmp_path)), tmp_path / "out").tasks[0]
    with input_error(
        "cannot stand in a script of Slurm: work in folders, also with `out`, whose paths are UTF-8 without"
    ):
        submit([task], lambda task: [task], tmp_path / name / "slurm", SlurmSettings(), "tiny")
    assert list(cluster[0].glob("sbatch_*")) == []


def test_the_id_of_a_job_that_would_become_lines_of_a_script_is_refused(submitted, tmp_path):
    job = {"cluster": "slurm", "jobs": {"train_seed1": "1\ntouch ran"}}
    write_json(tmp_path / "out/slurm/jobs.json", job)
    with input_error("not a list of submitted jobs"):
        submitted()


def test_of_jobs_that_were_submitted_only_failed_ones_are_submitted_again(submitted, cluster):
    programs, set_state = cluster
    jobs = submitted()
    assert submitted() == jobs  # all are queued
    assert len(list(programs.glob("sbatch_*"))) == 4
    set_state("FAILED")
    submitit.SlurmJob.watcher.clear()
    assert submitted(slice(1, 2)) == {"evaluate_seed1_best1": "500", "table": "600"}


def test_a_failed_command_fails_its_job():
    TaskCommand([sys.executable, "-c", "pass"])()
    with pytest.raises(RuntimeError, match="exit status 3 of "):
        TaskCommand([sys.executable, "-c", "raise SystemExit(3)"])()


def test_a_command_whose_slurm_time_is_over_gets_a_signal_at_which_it_can_save_and_is_queued_again(tmp_path):
    saved = "import signal, sys; signal.signal(15, lambda *_: sys.exit(open(sys.argv[1], 'w').write('saved') and 75)); "
    words = [sys.executable, "-c", f"{saved}print('ready', flush=True); signal.pause()", str(tmp_path / "saved")]
    running = TaskCommand(words)
    running._process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert running._process.stdout.readline() == b"ready\n"
    again = running.checkpoint()
    assert (tmp_path / "saved").read_text() == "saved"
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function.command == words


@pytest.mark.weekly
def test_submitit_runs_every_job_of_an_experiment_on_this_machine(corpus, tmp_path):
    path = experiment_file(tmp_path, corpus, seeds=[1], averages=[1], slurm={"cluster": "local", "gpus": 0})
    words = ["experiment", "run", path, "--out", tmp_path / "out", "--workers", 0, "--device", "cpu", "--on", "slurm"]
    python("-m", "nes2net", *words, cwd=REPOSITORY)
    assert read_json(tmp_path / "out/table.json")["complete"]
