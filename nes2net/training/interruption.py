"""What ends a run from outside: SIGTERM and Ctrl-C, which wait until the state is saved, and a disk that is full or fails."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from nes2net.errors import InputError, Unfinished, readable_size

# A file system or quota that is full, and a file that is larger than the process may write.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# A disk or a file server that fails, or is not ours to write to any more.
_FAILING = {errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ETIMEDOUT, getattr(errno, "ESTALE", errno.EIO)}


class StopRequests:
    """While entered, SIGTERM and SIGINT end the run at once, or within :meth:`deferred` at its end.

    SIGTERM raises :class:`nes2net.errors.Unfinished`, SIGINT (Ctrl-C) ``KeyboardInterrupt``; a second Ctrl-C does not wait any more.
    Signals reach the main thread only: in another thread nothing is changed.

    Several processes end together: with ``agree``, which takes the number of the signal that came to this process (0 for none) and returns
    that by which all end, a signal always waits for the end of a :meth:`deferred`, where all agree.

    >>> import os, signal
    >>> with StopRequests() as stop:
    ...     try:
    ...         with stop.deferred():
    ...             os.kill(os.getpid(), signal.SIGTERM)
    ...             print("the step is finished")
    ...     except Unfinished as error:
    ...         print(error)
    the step is finished
    stopped by SIGTERM; the same command goes on from what is saved
    """

    def __init__(self) -> None:
        #: number of the signal that came, 0 for none
        self.requested = 0
        self.agree: Callable[[int], int] | None = None
        self._deferred = False
        self._since = 0.0
        self._before: dict[int, object] = {}
        self._process = os.getpid()

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """For what must not be torn: a signal is noted in ``requested``, and raises in the end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if number := self.agree(self.requested) if self.agree else self.requested:
            self.stop(number)

    def stop(self, number: int) -> None:
        """Raise what signal ``number`` raises."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Unfinished("stopped by SIGTERM; the same command goes on from what is saved")

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that was forked to read audio: the one that forked it decides
            return
        # torchrun passes on what a terminal or a scheduler sends to all processes anyway: within a second it is the same signal.
        again = number == self.requested == signal.SIGINT and time.monotonic() - self._since > 1
        if not self.requested:
            self.requested, self._since = number, time.monotonic()
        if again or not (self._deferred or self.agree):
            self.stop(number)


@contextmanager
def failing_disk_is_temporary(folder: Path, needed: int) -> Iterator[None]:
    """What the system refuses for want of room, or because the disk fails, raises :class:`nes2net.errors.Unfinished`: which file, and why.

    Args:
        folder: the run's.
        needed: bytes of a save.
    """
    try:
        yield
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _FULL | _FAILING:
            raise
        what, why = cause.filename or folder, os.strerror(cause.errno)
        if cause.errno in _FULL:
            raise Unfinished(
                f"no room to write {what} ({why}): a save takes {readable_size(needed)} beside the old one; what was saved before is "
                "whole. Make room, and the same command goes on"
            ) from error
        raise Unfinished(
            f"{what}: {why}; what was saved before is whole. Once it can be used again, the same command goes on"
        ) from error
