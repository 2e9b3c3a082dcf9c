"""`.ci/run`: the README's test command in a fresh clone first, and then only the tests that have not passed there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.files import write
from conftest import REPOSITORY

#: Stands for scripts/test.sh: appends where it runs, what it may see of the clone's surroundings, and its arguments.
TEST = r"""
set -u
printf '%s|%s|%s|%s\n' "$PWD" "${NES2NET_SHARED:-}" "${PYTHONPATH:-}" "$*" >> "$CALLS"
"""


@pytest.fixture
def repository(tmp_path):
    """A repository with `.ci/run`, in which every other program only exists."""
    folder = tmp_path / "repository"
    (folder / ".ci").mkdir(parents=True)
    (folder / ".ci" / "run").write_bytes((REPOSITORY / ".ci" / "run").read_bytes())
    write(folder / "scripts" / "test.sh", TEST)
    for name in ("test_packages.sh", "environment.sh", "numpy_matrix.sh"):
        write(folder / "scripts" / name, "")
    write(folder / ".gitignore", ".venv\n")
    for name in ("ruff", "mypy", "python"):
        write(folder / ".venv" / "bin" / name, "#!/bin/sh\n").chmod(0o755)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Begin"]):
        subprocess.run([*git, *words], check=True)
    return folder


def test_the_readmes_command_runs_first_in_a_fresh_clone_without_its_surroundings(repository, tmp_path):
    """The second call, in the repository, omits the tests that passed in the clone."""
    calls = tmp_path / "calls.txt"
    environment = {**os.environ, "CALLS": str(calls), "TMPDIR": str(tmp_path)}
    for name in ("NES2NET_SHARED", "PYTHONPATH", "VENV"):
        environment.pop(name, None)
    subprocess.run(["bash", repository / ".ci" / "run"], env=environment, check=True)
    first_call, second_call = calls.read_text().splitlines()
    clone, shared, python_path, first_flags = first_call.split("|")
    assert Path(clone).parent.parent == repository.parent
    assert not Path(clone).parent.exists()
    assert Path(shared).parent == Path(clone).parent
    assert python_path == clone
    passed = f"--passed={Path(clone).parent}/passed.txt"
    assert first_flags == f"--allowed-skips tests/skips.yaml {passed}"
    assert second_call.startswith(f"{repository}|||-m not weekly --allowed-skips tests/skips.yaml {passed} -n ")


def test_only_tests_that_have_not_passed_run_again(tmp_path):
    """Four tests, of which three need the reference folder."""
    passed_file = tmp_path / "passed.txt"
    environment = {**os.environ, "NES2NET_SHARED": str(tmp_path / "absent")}
    flags = ["-n", "0", "-q", f"--passed={passed_file}"]
    command = [sys.executable, "-m", "pytest", *flags, "--override-ini", "testpaths=tests/builders/test_golden.py"]
    summaries = []
    for _ in range(2):
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        summaries.append(done.stdout.splitlines()[-1].partition(" in ")[0])
    assert passed_file.read_text() == "tests/builders/test_golden.py::test_the_folder_stays_small\n"
    assert summaries == ["1 passed, 3 skipped", "3 skipped, 1 deselected"]
