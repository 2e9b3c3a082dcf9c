"""`nes2net info` in the process of the tests."""

import json
from collections.abc import Callable

import pytest

from nes2net.cli.main import main


@pytest.fixture
def info(capsys) -> Callable:
    """A function that runs `nes2net info`: its text, whose lines fit the page, or with ``--json`` the data."""

    def run(*words: object):
        capsys.readouterr()
        assert main(["info", *map(str, words)]) == 0
        text = capsys.readouterr().out
        if "--json" in words:
            return json.loads(text)
        assert all(len(line) <= 100 for line in text.splitlines() if "/" not in line)
        return text

    return run
