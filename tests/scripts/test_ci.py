"""The option `--passed` of pytest, by which `.ci/run` runs only tests that have not passed before."""

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY


@pytest.mark.slow
def test_with_the_pytest_option_passed_a_second_run_leaves_out_tests_that_passed_in_the_first(tmp_path):
    """One of ten tests needs the absent reference folder: both runs skip it."""
    environment = {**os.environ, "NES2NET_SHARED": str(tmp_path / "absent")}
    flags = ["-n", "0", "-q", f"--passed={tmp_path}/passed.txt"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *flags,
        "--override-ini",
        "testpaths=tests/training/test_incomplete_batches.py",
    ]
    summaries = []
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        summaries.append(done.stdout.splitlines()[-1].partition(" in ")[0])
    assert summaries == ["9 passed, 1 skipped", "1 skipped, 9 deselected"]
