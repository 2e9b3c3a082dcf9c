"""Signals that ask a program to end, for commands that run until they are told to stop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from typing_extensions import Self


class StopSignals:
    """Within this context, the first Ctrl-C, SIGTERM or SIGHUP is noted, and the second ends the program.

    Otherwise a signal is lost if Python raises its error in a ``__del__``. Call :meth:`check`
    between the steps of a start. Under ``nohup``, SIGHUP stays ignored. Outside the main thread,
    nothing changes.
    """

    names: ClassVar[tuple[str, ...]] = ("SIGINT", "SIGTERM", "SIGHUP")
    #: The innermost of the contexts that are open in the main thread.
    innermost: ClassVar[StopSignals | None] = None
    #: Number of a signal that waits for the end of some work, 0 for none.
    requested = 0
    #: Time at which it came.
    since = math.inf

    def __init__(self) -> None:
        #: The first signal that came, SIGINT or SIGTERM.
        self.number: int | None = None
        #: Function that the first signal calls.
        self.action: Callable[[], object] = lambda: None
        self._before: dict[int, Any] = {}  # number of a signal → the handler to restore

    def check(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C, or SystemExit after another signal."""
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number is not None:
            raise SystemExit(128 + self.number)

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._outer = StopSignals.innermost
        StopSignals.innermost = self
        for name in self.names:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            # nohup ignores SIGHUP.
            if number and (name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        if StopSignals.innermost is self:
            StopSignals.innermost = self._outer
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: object) -> None:
        self.check()  # raises at the second signal
        self.number = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
        self.action()


@contextmanager
def delaying_signals() -> Iterator[None]:
    """Call handlers of the first Ctrl-C or SIGTERM after this context: an error in a queue of multiprocessing may lock it."""
    received: list[int] = []
    handlers: dict[int, Any] = {}

    def receive(number: int, frame: object) -> None:
        if received:
            handlers[number](number, frame)
        received.append(number)

    if threading.current_thread() is threading.main_thread():
        for delayed in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(delayed)):
                handlers[delayed] = signal.signal(delayed, receive)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            handlers[number](number, None)
