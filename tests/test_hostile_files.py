"""No file from outside hangs a program, takes its memory, or ends in anything but one line of error."""

from __future__ import annotations

import sys

import pytest
from builders import hostile

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is Linux's")


@pytest.fixture(scope="module")
def tries():
    tries = hostile.Tries()
    yield tries
    tries.close()


def cases():
    """All files, of which the fast tests try each sixth of a family."""
    for family in hostile.FAMILIES:
        for number, name in enumerate(hostile.table(family)):
            yield pytest.param(family, name, marks=pytest.mark.slow if number % 6 else ())


@pytest.mark.parametrize(("family", "name"), cases())
def test_hostile_file(family, name, tries, tmp_path):
    case = hostile.table(family)[name]
    hostile.check(case, tries(family, name, case.make(tmp_path)))
