"""Progress of long work: a bar on a terminal, otherwise a line every minute."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from tqdm import tqdm

from nes2net.lib.errors import InputError, pluralise, with_flag_names
from nes2net.lib.errors import short_repr as quoted
from nes2net.lib.this_process import is_first
from nes2net.lib.times import readable_duration

#: Environment variable for the number of seconds from one line to the next; with 0, no lines are
#: printed.
SECONDS = "NES2NET_PROGRESS_SECONDS"
#: Logger that receives every line, even if a terminal shows a bar. :mod:`nes2net.training.run_log`
#: stores the lines of a run.
LOGGER = logging.getLogger("nes2net")
_SECONDS = 60.0  # default of SECONDS
_FIRST = 10.0  # seconds until the first line, so that a user soon sees progress

T = TypeVar("T")


class ProgressDisplay(Generic[T]):
    """Counts the steps of long work, and shows steps, facts such as the loss, and the time left.

    >>> display = ProgressDisplay([3, 4], title="epoch 3 of 9", unit="step", shown=False)
    >>> for step in display:
    ...     display.facts = ["loss 0.5"]
    >>> display.line()
    'epoch 3 of 9: step 2 of 2, loss 0.5'

    On a terminal, a bar is shown; elsewhere, a line is printed at intervals of :data:`SECONDS`.

    Attributes:
        facts: texts to show, the most important first, because a narrow terminal cuts off the last.
        later_steps: steps in later epochs, included in the time left.
        later_seconds: seconds of other work after the last step, included in the time left.

    Args:
        steps: items that the display yields.
        total: number of all steps; by default ``len(steps)``.
        start: number of steps that were done before.
        shown: false for a display that only counts.
        leave: whether the bar stays at the end.
        advice: how to shorten the work, or empty; printed after the first update, with the expected
            time, if that is more than ten seconds. None for no such line.
        delay: seconds before the bar appears.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        steps: Iterable[T] = (),
        *,
        title: str,
        unit: str,
        total: int | None = None,
        start: int = 0,
        shown: bool = True,
        leave: bool = False,
        advice: str | None = None,
        delay: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = steps
        self.title = title
        self.unit = unit
        self.shown = shown
        self.clock = clock
        self.total = len(steps) if total is None and isinstance(steps, Sized) else total
        self.later_steps = 0  # after these, for the estimate of the time left
        self.later_seconds = 0.0  # seconds that need no steps
        self.done = start
        self.facts = list[str]()
        self._first: tuple[float, int] | None = None  # (time of the first step, number of steps done at this time)
        stated = os.environ.get(SECONDS) or str(_SECONDS)
        try:
            self._seconds = float(stated) if shown else 0.0
        except ValueError:
            self._seconds = -1.0
        if not self._seconds >= 0:
            raise InputError(f"{SECONDS} must be a number of seconds, 0 for no lines, not {quoted(stated)}")
        self._begun = clock()
        self._advice = advice
        self._due = self._begun + min(self._seconds, _FIRST)
        self.bar = tqdm(  # type: ignore[call-overload]  # a list as `postfix` is one of its documented forms
            initial=start,
            desc=title,
            leave=leave,
            delay=delay,
            dynamic_ncols=True,
            bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {postfix[0]}",
            postfix=[""],
            disable=None if shown else True,  # with None, there is no bar if standard error is not a terminal
        )

    def __iter__(self) -> Iterator[T]:
        """Yield the steps; each is counted when the next one is asked for."""
        with self:
            for step in self.steps:
                yield step
                self.update()

    def __enter__(self) -> ProgressDisplay[T]:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.bar.close()

    def update(self, steps: int = 1) -> None:
        """Count ``steps`` more, and update the bar. A line that is due is logged, and without a bar printed."""
        now = self.clock()
        self.done += steps
        if self._first is None:
            self._first = now, self.done
            if self._advice is not None and self._seconds and self.total and steps:
                expected = (now - self._begun) / steps * self.total
                if expected > _FIRST:
                    work = f"{self.title}: about {readable_duration(expected)} for {pluralise(self.total, self.unit)}"
                    self._write("; ".join(filter(None, [work, with_flag_names(self._advice)])))
        if not self.bar.disable:
            seconds_left = self.seconds_left()
            time_left = [] if seconds_left is None else [f"{readable_duration(seconds_left)} left"]
            self.bar.total = self.total or None
            self.bar.postfix = [", ".join([*time_left, *self.facts])]
        self.bar.update(steps)
        if self._seconds and now >= self._due:
            self._due = now + self._seconds
            line = self.line()
            LOGGER.info(line)
            if self.bar.disable:
                self._write(line)

    def _write(self, line: str) -> None:
        with suppress(OSError):  # a closed pipe or a full disk must not stop the work
            tqdm.write(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr)

    def line(self) -> str:
        """Write title, steps, facts and time left in one line."""
        counts = f"{self.unit} {self.done}" + (f" of {self.total}" if self.total else "")
        texts = [f"{self.title}: {counts}", *self.facts]
        seconds_left = self.seconds_left()
        per_step = self.seconds_per_step()
        if seconds_left is not None and per_step is not None:
            later = self.later_seconds + self.later_steps * per_step
            of_epoch = f" (epoch {readable_duration(seconds_left)})" if later else ""
            texts.append(f"{readable_duration(seconds_left + later)} left{of_epoch}")
        return ", ".join(texts)

    def seconds_left(self) -> float | None:
        """Estimate the seconds to the last step; None if unknown or if no step is left."""
        seconds = self.seconds_per_step()
        if seconds is None or not self.total or self.done >= self.total:
            return None
        return (self.total - self.done) * seconds

    def seconds_per_step(self) -> float | None:
        """Compute the mean time of a step without the first, which includes preparations."""
        if self._first is None:
            return None
        first_time, first_done = self._first
        if self.done <= first_done:
            return None
        return (self.clock() - first_time) / (self.done - first_done)


def bootstrap_progress(draws: Iterable[T], total: int) -> Iterable[T]:
    """Yield the ``draws`` of a bootstrap, with progress from 3 s on in the first process."""
    return ProgressDisplay(draws, title="bootstrap", unit="draw", total=total, delay=3.0, shown=is_first())
