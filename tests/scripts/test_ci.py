"""The option `--passed` of pytest, by which `.ci/run` runs only tests that have not passed before."""

import os
import subprocess
import sys

from conftest import REPOSITORY


def test_with_the_option_passed_only_tests_that_have_not_passed_run_again(tmp_path):
    """Four tests, of which three need the reference folder."""
    environment = {**os.environ, "NES2NET_SHARED": str(tmp_path / "absent")}
    flags = ["-n", "0", "-q", f"--passed={tmp_path}/passed.txt"]
    command = [sys.executable, "-m", "pytest", *flags, "--override-ini", "testpaths=tests/builders/test_golden.py"]
    summaries = []
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        summaries.append(done.stdout.splitlines()[-1].partition(" in ")[0])
    assert summaries == ["1 passed, 3 skipped", "3 skipped, 1 deselected"]
