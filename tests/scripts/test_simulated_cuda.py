"""scripts/simulated_cuda: planted faults are found on CUDA devices that are not there, and everything else passes."""

import shutil
from functools import partial

import pytest
from builders.scripts import run as run_script

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the simulated CUDA device")
run = partial(run_script, "simulated_cuda")


@needs_compiler
@pytest.mark.slow
def test_on_simulated_cuda_devices_planted_faults_are_found_and_sound_programs_pass():
    done = run("--only", "faults", "checks: scores, 4sec", "training, Specmix")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "16 of 16 passed" in done.stdout


@needs_compiler
@pytest.mark.weekly
def test_on_simulated_cuda_devices_all_of_test_cuda_and_every_check_of_the_package_pass():
    """And every planted fault is found."""
    done = run()
    assert done.returncode == 0, done.stdout[-6000:]
