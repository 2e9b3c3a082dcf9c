"""Files made to break the programs that read them, and the limits under which they are tried.

Each module beside this one is a family, one for each kind of file, and holds a table ``CASES``. A
case is tried in a process of its own with 2 GB of address space and 10 s.
"""

from __future__ import annotations

import io
import multiprocessing
import re
import resource
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

MEMORY = 2 << 30  # bytes of address space
SECONDS = 10.0
FAMILIES = ("checkpoints", "folders", "onnx_files", "resume_files", "recipes", "lists", "audio")
# Loaded once, in the process from which those of the cases are forked.
_PRELOADED = [
    "nes2net.cli.main",
    "nes2net.detector",
    "nes2net.scoring.corpus",
    "nes2net.training.run",
    "transformers",
    "onnx",
    "onnxruntime",
    "builders.hostile",
    *(f"builders.hostile.{family}" for family in FAMILIES),
]


class Case(NamedTuple):
    """A file and what is done with it."""

    name: str
    make: Callable[[Path], Any]
    """Writes the file into an empty folder, outside the limits; what it returns is given to ``attempt``."""
    attempt: Callable[[Any], Any]
    """Reads the file, under the limits."""
    says: str | None
    """Pattern that the one-line :class:`InputError` holds; None: the attempt succeeds."""


class Outcome(NamedTuple):
    """How an attempt ended."""

    error: str | None
    """The message of the InputError; None if there was no error."""
    value: str
    """``repr`` of what the attempt returned."""
    seconds: float


def table(family: str) -> dict[str, Case]:
    """The cases of a family by name."""
    cases: list[Case] = import_module(f"builders.hostile.{family}").CASES
    found = {case.name: case for case in cases}
    assert len(found) == len(cases), f"two cases of {family} have one name"
    return found


def nes2net(*arguments: Any) -> str:
    """Run a command of ``nes2net`` in this process: what it prints, or an InputError with its line of error.

    A finished command with an incomplete result (status 1) counts as a success.
    """
    from nes2net import InputError
    from nes2net.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in arguments])
    if status == 2:
        lines = err.getvalue().splitlines()
        errors = [line for line in lines if line.startswith("nes2net: error: ")]
        assert len(errors) == 1 and lines[-1] == errors[0], f"not one line of error at the end: {err.getvalue()}"
        raise InputError(errors[0].removeprefix("nes2net: error: "))
    assert status in (0, 1), f"status {status}: {err.getvalue()}"
    return out.getvalue()


def tried(family: str, name: str, made: Any) -> Outcome:
    """Attempt a case in a process with little memory and time.

    Raises:
        AssertionError: if it takes longer, dies, or ends with any error but an InputError.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_attempt, args=(theirs, family, name, made))
    process.start()
    theirs.close()
    try:
        # Starting the first process loads the libraries; the attempt limits itself.
        assert ours.poll(120), f"{name}: no end"
        outcome = ours.recv()
    except EOFError:
        process.join(10)
        raise AssertionError(f"{name}: the process died with status {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    assert isinstance(outcome, Outcome), f"{name}: {outcome}"
    return outcome


def check(case: Case, outcome: Outcome) -> None:
    """Raise AssertionError unless the attempt of ``case`` ended as it says."""
    if case.says is None:
        assert outcome.error is None, outcome.error
        return
    assert outcome.error is not None, f"no error, but {outcome.value}"
    assert re.search(case.says, outcome.error), outcome.error
    assert outcome.error.isprintable(), f"not one line: {outcome.error!r}"
    assert len(outcome.error) < 1200, f"{len(outcome.error)} characters"


def _attempt(result: Connection, family: str, name: str, made: Any) -> None:
    from nes2net import InputError

    def late(*_: object) -> None:
        raise TimeoutError(f"it takes more than {SECONDS:.0f} s")

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    began = time.monotonic()
    try:
        value, error = table(family)[name].attempt(made), None
    except InputError as caught:
        value, error = None, str(caught)
    except BaseException as caught:
        signal.setitimer(signal.ITIMER_REAL, 0)
        result.send(f"{type(caught).__name__} instead of an InputError: {caught}"[:2000])
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    result.send(Outcome(error, repr(value)[:500], time.monotonic() - began))
