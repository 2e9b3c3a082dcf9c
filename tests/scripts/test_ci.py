"""The option `--passed` of pytest, by which `.ci/run` runs only tests that have not passed before."""

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY


@pytest.mark.slow
def test_with_the_pytest_option_passed_a_second_run_leaves_out_tests_that_passed_in_the_first(tmp_path):
    """Three of four tests need the absent reference folder: both runs skip these."""
    environment = {**os.environ, "NES2NET_SHARED": str(tmp_path / "absent")}
    flags = ["-n", "0", "-q", f"--passed={tmp_path}/passed.txt"]
    command = [sys.executable, "-m", "pytest", *flags, "--override-ini", "testpaths=tests/builders/test_golden.py"]
    summaries = []
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        summaries.append(done.stdout.splitlines()[-1].partition(" in ")[0])
    assert summaries == ["1 passed, 3 skipped", "3 skipped, 1 deselected"]
