"""Share the work of a build among processes, with one progress bar."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

from tqdm import tqdm


class Workers:
    """A pool of processes with a progress bar that counts results.

    With ``jobs`` = 1 everything runs in this process. Only the first Ctrl-C before :meth:`close`
    has an effect.
    """

    def __init__(self, jobs: int, bar: tqdm) -> None:
        self._handler = signal.signal(signal.SIGINT, _interrupt_once)
        self._pool = (
            ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_ignore_interrupts) if jobs > 1 else None
        )
        self._bar = bar

    def map(self, function: Callable, items: Iterable, title: str) -> Iterator:
        """Yield the results in the order of ``items``; the bar counts results as they are finished."""
        self._bar.set_description(title)
        if self._pool:
            futures = [self._pool.submit(function, item) for item in items]
            for future in futures:
                future.add_done_callback(self._count)
            yield from (future.result() for future in futures)
        else:
            for item in items:
                yield function(item)
                self._bar.update()

    def _count(self, future: Future) -> None:
        if not future.cancelled():
            self._bar.update()

    def close(self) -> None:
        """Cancel the jobs that have not begun, and wait for the others."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGINT, self._handler)


def _interrupt_once(*_) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
