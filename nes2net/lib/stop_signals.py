"""Signals that ask a program to end, for commands that run until they are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


class StopSignals:
    """Within this context, Ctrl-C, SIGTERM and SIGHUP are noted instead of ending the program.

    Python raises KeyboardInterrupt wherever it is, and drops the error in a ``__del__``: the signal
    is then lost. So a command that stays begins with this context, and calls :meth:`check` between
    the steps of its start. A second signal ends the program at once, unless :meth:`call` says what
    happens. Under ``nohup``, SIGHUP stays ignored.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._action: Callable[[int], object] | None = None
        self._before: dict[int, Any] = {}

    @property
    def number(self) -> int | None:
        """SIGINT or SIGTERM, the first signal that came; None if none came."""
        return self._numbers[0] if self._numbers else None

    def check(self) -> None:
        """If a signal came, raise the error that ends the program as this signal does.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after another signal.
        """
        if self._numbers:
            raise _ending(self._numbers[0])

    def call(self, action: Callable[[int], object]) -> None:
        """From now on, call ``action`` with SIGINT or SIGTERM for each signal, and at once for those that came."""
        self._action = action
        for number in self._numbers:
            action(number)

    def call_once(self, action: Callable[[], object]) -> None:
        """As :meth:`call`, for the first signal alone: a second one ends the program at once."""

        def act(number: int) -> None:
            if len(self._numbers) > 1:
                raise _ending(number)
            action()

        self.call(act)

    def __enter__(self) -> StopSignals:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: object) -> None:
        if number != signal.SIGINT:
            number = signal.SIGTERM  # a closed terminal ends a program in the same way
        self._numbers.append(number)
        if self._action is not None:
            self._action(number)
        elif len(self._numbers) > 1:
            raise _ending(number)


def _ending(number: int) -> BaseException:
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    return SystemExit(128 + number)
