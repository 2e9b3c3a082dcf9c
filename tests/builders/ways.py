"""Follows which functions of nes2net a call runs, and counts how often a reader has to change the file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from inspect import CO_NEWLOCALS
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import nes2net

_PACKAGE = f"{Path(nes2net.__file__).parent}/"


class Called(NamedTuple):
    file: str
    function: str


def calls_of(function: Callable[[], object]) -> list[Called]:
    """Call ``function``, and list the functions of nes2net that this thread runs.

    Bodies of modules and classes, and all that they call, are left out.
    """
    calls = []
    num_bodies = 0

    def follow(frame: FrameType, event: str, _: object) -> None:
        nonlocal num_bodies
        code = frame.f_code
        if not code.co_flags & CO_NEWLOCALS:
            num_bodies += (event == "call") - (event == "return")
        elif event == "call" and not num_bodies and code.co_filename.startswith(_PACKAGE):
            calls.append(Called(code.co_filename.removeprefix(_PACKAGE), code.co_name))

    sys.setprofile(follow)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def moves(calls: Sequence[Called]) -> int:
    """How often the file of the running function changes."""
    return sum(before.file != after.file for before, after in pairwise(calls))
