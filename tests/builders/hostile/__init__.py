"""Files made to break the programs that read them, and the limits under which they are tried.

Each module beside this one is a family, one for each kind of file, and holds a table ``CASES``. A
case is tried in a process of its own with 2 GB of address space and 10 s.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from builders.hostile.limits import Outcome, Worker

FAMILIES = (
    *("checkpoints", "folders", "onnx_files", "resume_files", "recipes"),
    *("lists", "frame_scores", "audio", "shards", "experiments", "arrays", "bounds"),
)
PRELOADED = "builders.hostile.preload"


class Case(NamedTuple):
    """A file and what is done with it."""

    name: str
    make: Callable[[Path], Any]
    """Writes the file into an empty folder, outside the limits; what it returns is given to ``attempt``."""
    attempt: Callable[[Any], Any]
    """Reads the file, under the limits."""
    says: str | None
    """Pattern that the one-line :class:`InputError` holds; None: the attempt succeeds."""


def cases(
    attempt: Callable[[Any], Any], rows: Mapping[str, Any], prefix: str = "", make: Callable = lambda maker: maker
) -> list[Case]:
    """Make a case of each row: its name, after ``prefix``, what ``make`` turns into the maker of a file, and what is said of it."""
    return [Case(prefix + name, make(*values), attempt, says) for name, (*values, says) in rows.items()]


def table(family: str) -> dict[str, Case]:
    """The cases of a family by name."""
    listed = import_module(f"builders.hostile.{family}").CASES
    by_name = {case.name: case for case in listed}
    assert len(by_name) == len(listed), f"two cases of {family} have one name"
    return by_name


def nes2net(*arguments) -> str:
    """Run a command of ``nes2net`` in this process: what it prints, or an InputError with its line of error.

    A finished command with an incomplete result (status 1) counts as a success.
    """
    from nes2net import InputError
    from nes2net.cli.main import main

    out = io.StringIO()
    err = io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in arguments])
    if status == 2:
        lines = err.getvalue().splitlines()
        errors = [line for line in lines if line.startswith("nes2net: error: ")]
        assert lines[-1:] == errors, f"not one line of error at the end: {err.getvalue()}"
        raise InputError(errors[0].removeprefix("nes2net: error: "))
    assert status in (0, 1), f"status {status}: {err.getvalue()}"
    return out.getvalue()


def evaluated(corpus: str, scores: Path, *options) -> str:
    """Evaluate a file of scores, with a page and JSON that must be whole and valid."""
    page = scores.parent / "page.html"
    data = scores.parent / "data.json"
    text = nes2net("evaluate", corpus, scores, *options, "--resamples", 5, "--html", page, "--json", data)
    json.loads(data.read_text(), parse_constant=lambda name: 1 / 0)
    assert page.read_text().rstrip().endswith("</html>")
    return text


class Tries:
    """Attempts cases in processes with little memory and time.

    One process makes them one after another, until a case breaks it or leaves it with more than 64 MB that it had not before.
    """

    def __init__(self):
        self._worker = None
        self._at_first = 0

    def __call__(self, family: str, name: str, file) -> Outcome:
        """Attempt a case.

        Raises:
            AssertionError: if it takes longer, dies, or ends with any error but an InputError.
        """
        if self._worker is None:
            self._worker = Worker([PRELOADED])
            self._at_first = self._worker.address_space
        outcome = self._worker.attempt(_attempt, family, name, file)
        if not isinstance(outcome, Outcome) or self._worker.address_space > self._at_first + (64 << 20):
            self.close()
        if not isinstance(outcome, Outcome):
            raise AssertionError(f"{name}: {outcome.kind} instead of an InputError: {outcome.text}")
        return outcome

    def close(self):
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def check(case: Case, outcome: Outcome):
    """Raise AssertionError unless the attempt of ``case`` ended as it says."""
    if case.says is None:
        assert outcome.error is None, outcome.error
        return
    assert outcome.error is not None, f"no error, but {outcome.value}"
    assert re.search(case.says, outcome.error), outcome.error
    assert outcome.error.isprintable(), f"not one line: {outcome.error!r}"
    assert len(outcome.error) < 1200, f"{len(outcome.error)} characters"


def _attempt(family, name, file):
    return table(family)[name].attempt(file)
