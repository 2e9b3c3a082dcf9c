"""Scripts of the repository that run in the process of the tests."""

import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def script(command, monkeypatch) -> Callable:
    """A function that runs ``python SCRIPT ARGUMENTS``: its exit status, standard output and standard error."""

    def run(line: str):
        program, name, *words = shlex.split(line)
        assert program == "python"

        def start(words):
            monkeypatch.setattr(sys, "argv", [name, *words])
            runpy.run_path(str(REPOSITORY / name), run_name="__main__")

        return command(words, program=start)

    return run
