"""scripts/simulated_cuda: planted faults are found on CUDA devices that are not there, and everything else passes."""

import shutil
import sys
from functools import partial

import pytest
from builders.scripts import run as run_script

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the simulated CUDA device")
run = partial(run_script, "simulated_cuda")


@needs_compiler
@pytest.mark.slow
def test_the_simulated_device_finds_planted_faults_and_passes_two_checks():
    done = run("--only", "faults", "checks: scores, 4sec", "training, Specmix")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "| check | outcome | seconds | waits |" in done.stdout
    assert "16 of 16 passed" in done.stdout


@needs_compiler
@pytest.mark.weekly
def test_all_checks_of_the_simulated_device_pass():
    done = run()
    assert done.returncode == 0, done.stdout[-6000:]


@needs_compiler
@pytest.mark.slow
def test_a_program_finds_two_simulated_devices():
    code = "import torch; print(torch.ones(2, device='cuda:1').device, torch.cuda.device_count())"
    done = run("--run", sys.executable, "-c", code)
    assert done.stdout.split() == ["cuda:1", "2"], done.stderr


def test_without_a_compiler_simulated_cuda_says_that_it_needs_one(tmp_path):
    done = run(PATH=str(tmp_path))
    assert done.returncode == 1
    assert "needs g++" in done.stderr.splitlines()[-1]
