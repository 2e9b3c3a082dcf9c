"""Attempts in a process with little memory and time."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from builders import PATIENCE

MEMORY = 2 << 30  # bytes of address space, of which the libraries take about half
_BESIDE_LIBRARIES = 3 << 28  # bytes that are left where they take more, as those for CUDA do
SECONDS = 10.0  # of the processor, whatever else the machine does
_server = forkserver._forkserver


class Outcome(NamedTuple):
    """An attempt that ended as it should: it succeeded, or raised an InputError."""

    error: str | None
    """The message of the InputError; None if there was no error."""
    value: str
    """``repr`` of what the attempt returned."""
    seconds: float


class Fault(NamedTuple):
    """An attempt that ended in any other way."""

    kind: str
    """``hang``, ``memory``, ``death``, ``exception`` or ``outside``."""
    text: str
    where: str = ""
    """The last line of this package in the traceback."""


def started(preloaded: list[str], function: Callable[..., Any], *arguments) -> ForkServerProcess:
    """A process that calls ``function``, forked from one that has loaded modules, which saves seconds."""
    context = multiprocessing.get_context("forkserver")
    if _server._preload_modules != preloaded:
        _server._stop()  # what others have started would load everything for each process
        context.set_forkserver_preload(preloaded)
    process = context.Process(target=function, args=arguments, daemon=True)
    # The process from which they are forked looks for the modules where this one does.
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        process.start()
    return process


class Worker:
    """A process that makes attempts one after another, until one ends in a fault.

    Args:
        preloaded: modules, loaded once in the process from which all workers are forked.
        watch: called in the process at its start with a list, to which it adds what an attempt does
            that it should not. It is sent by its name.
    """

    def __init__(self, preloaded: list[str], watch: Callable[[list[str]], None] | None = None):
        self._ours, other_end = multiprocessing.Pipe()
        self._process = started(preloaded, _serve, other_end, watch)
        other_end.close()
        assert self._ours.poll(PATIENCE), "the process does not start"
        self._ours.recv()

    def attempt(self, function: Callable[..., Any], *arguments) -> Outcome | Fault:
        """Call ``function``, which is sent by its name; its process takes no more attempts after a fault."""
        try:
            self._ours.send((function, arguments))
            if self._ours.poll(PATIENCE + 60):  # the attempt limits itself as long as it runs Python
                return self._ours.recv()
            return Fault("hang", f"no end after {PATIENCE + 60:.0f} s")
        except (EOFError, ConnectionError):
            self._process.join(PATIENCE)
            return Fault("death", f"the process died with status {self._process.exitcode}")

    @property
    def address_space(self) -> int:
        """Bytes of address space that the process takes now."""
        return _address_space(self._process.pid)

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.join()
        self._ours.close()


class _Late(BaseException):
    """The time is up; no code that handles an Exception takes it for an error of its own."""


def _late(*_):
    raise _Late


def _serve(connection, watch):
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _late)
    descriptions = []
    if watch is not None:
        watch(descriptions)
    memory = max(MEMORY, _address_space("self") + _BESIDE_LIBRARIES)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    gc.freeze()  # the libraries; collecting after an attempt is then quick
    connection.send("ready")
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        descriptions.clear()
        result = _attempted(function, arguments)
        if descriptions:
            result = Fault("outside", "; ".join(dict.fromkeys(descriptions))[:2000], descriptions[0].partition(" ")[0])
        connection.send(result)
        gc.collect()


def _address_space(process):
    return int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()


def _attempted(function, arguments):
    from nes2net import InputError

    began = time.monotonic()
    limits = {signal.ITIMER_PROF: SECONDS, signal.ITIMER_REAL: PATIENCE}
    for timer, seconds in limits.items():
        signal.setitimer(timer, seconds)
    try:
        try:
            value = function(*arguments)
            error = None
        except InputError as caught:
            value = None
            error = str(caught)
        finally:
            for timer in limits:
                signal.setitimer(timer, 0)
    except _Late as caught:
        return Fault(
            "hang", f"it takes more than {SECONDS:.0f} s of the processor, or {PATIENCE:.0f} s", _place(caught)
        )
    except MemoryError as caught:
        return Fault("memory", f"MemoryError: {caught}"[:2000], _place(caught))
    except BaseException as caught:
        return Fault("exception", f"{type(caught).__name__}: {caught}"[:2000], _place(caught))
    return Outcome(error, repr(value)[:500], time.monotonic() - began)


def _place(error):
    """The last line of this package in an error's traceback, and the type of the error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/nes2net/" in frame.filename]
    if not frames:
        return type(error).__name__
    return f"{type(error).__name__} in nes2net/{frames[-1].filename.rpartition('/nes2net/')[2]}:{frames[-1].lineno}"
