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


@pytest.mark.parametrize(
    ("family", "name"),
    [(family, name) for family in hostile.FAMILIES for name in hostile.table(family)],
)
def test_a_hostile_file_is_read_or_refused_in_one_line(family, name, tries, tmp_path):
    """Without a hang, a crash or much memory."""
    case = hostile.table(family)[name]
    hostile.check(case, tries(family, name, case.make(tmp_path)))
