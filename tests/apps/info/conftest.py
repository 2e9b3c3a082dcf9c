"""`nes2net info` in the process of the tests."""

import json
from collections.abc import Callable

import pytest


@pytest.fixture
def info(output) -> Callable:
    """A function that runs `nes2net info`: its text, whose lines fit the page, or with ``--json`` the data."""

    def run(*words: object):
        text = output(["info", *words]).out
        if "--json" in words:
            return json.loads(text)
        assert all(len(line) <= 100 for line in text.splitlines() if "/" not in line)
        return text

    return run
