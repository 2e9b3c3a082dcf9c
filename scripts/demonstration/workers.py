"""Share the work of a build among processes, and show the progress of each stage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from nes2net.lib.output.progress import ProgressDisplay


class Workers:
    """A pool of processes.

    With ``jobs`` = 1 everything runs in this process. Only the first Ctrl-C before :meth:`close`
    has an effect.
    """

    def __init__(self, jobs: int) -> None:
        self._handler = signal.signal(signal.SIGINT, _interrupt_once)
        self._pool = (
            ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_ignore_interrupts) if jobs > 1 else None
        )

    def map(self, function: Callable, items: Sequence, title: str) -> Iterator:
        """Yield the results in the order of ``items``; results are counted as they are finished."""
        with ProgressDisplay(items, title=title, unit="job") as display:
            if self._pool:
                futures = [self._pool.submit(function, item) for item in items]
                for future in futures:
                    future.add_done_callback(partial(_count, display))
                yield from (future.result() for future in futures)
            else:
                yield from map(function, display)

    def close(self) -> None:
        """Cancel the jobs that have not begun, and wait for the others."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGINT, self._handler)


def _count(display: ProgressDisplay, future: Future) -> None:
    if not future.cancelled():
        display.update()


def _interrupt_once(*_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
