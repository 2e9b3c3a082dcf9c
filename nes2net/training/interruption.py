"""Interruptions of a run: SIGTERM, Ctrl-C, a full or failing disk, and lost data."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from nes2net.lib.errors import InputError, Unfinished, readable_size
from nes2net.lib.output.terminal import print_note
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.storage.files import FULL_DISK

# Error numbers of a disk or a file server that fails or has become read-only.
_FAILING = (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ETIMEDOUT, getattr(errno, "ESTALE", errno.EIO))


#: Number of a request that is no signal; those of signals are higher.
BY_CALLBACK = 1


class StoppedByCallback(Exception):
    """A callback asked to stop the run, which is saved."""


class StopRequests(StopSignals):
    """Turns SIGTERM and SIGINT into exceptions: at once, or at the end of :meth:`defer`.

    SIGTERM raises :class:`nes2net.lib.errors.Unfinished`, SIGINT (Ctrl-C) ``KeyboardInterrupt``,
    and a second Ctrl-C ends the run at once. Outside the main thread, nothing changes.

    To end several processes together, set ``agree`` to a function from this process's signal to the
    signal that ends all; 0 is none. Signals then only take effect at the end of :meth:`defer`.

    >>> import os, signal
    >>> with StopRequests() as stop:
    ...     try:
    ...         with stop.defer("a step"):
    ...             os.kill(os.getpid(), signal.SIGTERM)
    ...             print("the step is finished")
    ...     except Unfinished as error:
    ...         print(error)
    the step is finished
    stopped by SIGTERM; the same command resumes from the last save
    """

    names = ("SIGINT", "SIGTERM")

    def __init__(self) -> None:
        super().__init__()
        self.agree: Callable[[int], int] | None = None  # this process's signal → that of all processes
        self._deferred = ""  # within defer(), the work that signals wait for
        self._process = os.getpid()

    @contextmanager
    def defer(self, work: str) -> Iterator[None]:
        """Protect ``work`` in this context from signals; then, after :attr:`agree`, raise the one for a signal."""
        self._deferred = work
        try:
            yield
        finally:
            self._deferred = ""
        number = self.requested
        if self.agree:
            number = self.agree(number)
        if number:
            self.stop(number)

    def stop(self, number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == BY_CALLBACK:
            raise StoppedByCallback
        raise Unfinished("stopped by SIGTERM; the same command resumes from the last save")

    def _receive(self, number: int, _frame: object) -> None:
        if os.getpid() != self._process:  # this is a forked worker, which leaves the signal to its parent
            return
        # All processes get the signal, and torchrun sends it again: a SIGINT within 1 s of the first is not a second
        # Ctrl-C.
        again = number == self.requested == signal.SIGINT and time.monotonic() - self.since > 1
        awaited_work = self._deferred or (self.agree and "the other processes")
        if self.requested <= BY_CALLBACK:  # a signal outranks the request of a callback
            self.requested = number
            self.since = time.monotonic()
            if awaited_work:
                with suppress(Exception):  # the pipe may be closed, or the signal have come while a line was printed
                    print_note(f"{signal.Signals(number).name}: waiting for {awaited_work}")
        if again or not awaited_work:
            self.stop(number)


def stop_without_data(lost: Sequence[str], stage: str) -> NoReturn:
    """End a run because files cannot be read at present.

    Args:
        lost: one message for each file of this process; empty if only others have such files.
        stage: epoch and step, or validation, in words.

    Raises:
        Unfinished: always.
    """
    why = lost[0] if lost else "its files cannot be used, here or in another process, which has said why"
    raise Unfinished(
        f"stopped in {stage}: {why}. Bring the files back, and the same command resumes from the last save"
    )


@contextmanager
def failing_disk_is_temporary(folder: Path, needed: int) -> Iterator[None]:
    """Turn errors of a full or failing disk into :class:`nes2net.lib.errors.Unfinished` in this context.

    Args:
        needed: size of a save in bytes.
    """
    try:
        yield
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno is None or cause.errno not in FULL_DISK + _FAILING:
            raise
        problem = (
            f"{cause.filename or folder} cannot be written ({os.strerror(cause.errno)}), and the last save is intact"
        )
        remedy = "once the disk can be written to again, the same command resumes"
        if cause.errno in FULL_DISK:
            remedy = f"a save needs {readable_size(needed)} beside it: make room, and the same command resumes"
        raise Unfinished(problem, remedy=remedy) from error
