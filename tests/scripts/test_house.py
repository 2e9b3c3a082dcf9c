"""`scripts/house --check` on files of tests/ and scripts/: old files may only become plainer, new ones are plain."""

import shutil
import subprocess
import sys

import pytest
from builders.files import write
from conftest import REPOSITORY

DENSE = "total = sum(max(len(row), 1) for row in [[1, 2], [3, 4]] if len(row) > 1)\n"
PACKED = "first, second = 1, 2\n"
VAGUE = "kept = 1\n"
JOINED = "assert first and second\n"
WALRUS = "print(count := 1)\n"
PLAIN = "count = 1\n"


@pytest.fixture
def repository(tmp_path):
    """A repository of one module, one test and one program, with `scripts/house` and no record."""
    for folder in ("nes2net", "tests", "scripts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "nes2net" / "module.py").write_text(f'"""Three short words."""\n\n{PLAIN}')
    (tmp_path / "tests" / "test_module.py").write_text(DENSE)
    (tmp_path / "scripts" / "tool").write_text(f"#!/usr/bin/env python3\n{VAGUE}")
    shutil.copy(REPOSITORY / "scripts" / "house", tmp_path / "scripts")
    return tmp_path


@pytest.fixture
def house(repository):
    """A function that runs `scripts/house` there, and returns its exit status and its complaints."""

    def run(flag):
        command = [sys.executable, repository / "scripts" / "house", flag]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, [line for line in done.stderr.splitlines() if "scripts/house:" not in line]

    return run


def test_recorded_style_figures_of_a_file_may_fall_but_not_rise(house, repository):
    assert house("--record")[0] == 0
    assert house("--check") == (0, [])
    test_file = write(repository / "tests" / "test_module.py", DENSE + PLAIN)
    assert house("--check") == (0, [])
    assert house("--record")[0] == 0
    test_file.write_text(DENSE + DENSE)
    complaints = ["tests/test_module.py: per statement: 25.50, more than 14.5"]
    assert house("--check") == (1, complaints)
    assert house("--record") == (1, complaints)


LIMITED = {"per statement": DENSE, "packed": PACKED, "vague": VAGUE, "joined": JOINED, "walrus": WALRUS}


def test_a_new_file_beyond_a_style_limit_is_reported_with_the_name_of_the_limit(house, repository):
    assert house("--record")[0] == 0
    for number, line in enumerate(LIMITED.values()):
        (repository / "tests" / f"test_{number}.py").write_text(line)
    status, complaints = house("--check")
    assert status == 1
    for number, column in enumerate(LIMITED):
        assert any(complaint.startswith(f"tests/test_{number}.py: {column}: ") for complaint in complaints)
