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

from nes2net.lib.errors import InputError, counted, worded
from nes2net.lib.errors import shown as quoted
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
    """Counts the steps of long work, and shows the number of steps done, facts such as the loss, and the time left.

    >>> display = ProgressDisplay([3, 4], title="epoch 3 of 9", unit="step", shown=False)
    >>> for step in display:
    ...     display.facts = ["loss 0.5"]
    >>> display.line()
    'epoch 3 of 9: step 2 of 2, loss 0.5'

    On a terminal, a bar is shown; a narrow terminal cuts off the last facts. If standard error is not a terminal, a line is
    printed there at intervals. The environment variable :data:`SECONDS` sets the interval in
    seconds.

    Attributes:
        facts: texts to show, the most important first.
        later_steps: number of steps in later epochs; the time left includes these steps.
        later_seconds: seconds of other work after the last step; the time left includes these
            seconds.

    Args:
        steps: the items to iterate over; the display yields them one by one.
        total: number of all steps; by default ``len(steps)``, if ``steps`` has a length.
        start: number of steps that were done before this display.
        shown: false for a display that only counts.
        leave: whether the bar stays on the terminal at the end.
        advice: a hint how to shorten the work, or an empty text. After the first update, a line
            states the expected time of all steps, if this is more than ten seconds. The line ends
            with this advice. With None, this line is not printed.
        delay: seconds before the bar appears.
        clock: function that returns the time in seconds.
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
        """Make the bar, and read from the environment how often to print a line."""
        self.steps = steps
        self.title = title
        self.unit = unit
        self.shown = shown
        self.clock = clock
        self.total = len(steps) if total is None and isinstance(steps, Sized) else total
        self.later_steps = 0
        self.later_seconds = 0.0
        self.done = start
        self.facts = list[str]()
        self._first: tuple[float, int] | None = None  # (time of the first step, number of steps done at this time)
        stated = os.environ.get(SECONDS) or str(_SECONDS)
        try:
            self._seconds = float(stated) if shown else 0.0
        except ValueError:
            self._seconds = -1.0
        if not self._seconds >= 0:
            raise InputError(f"{SECONDS} is a number of seconds, 0 for no lines, not {quoted(stated)}")
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
        """Yield the steps; a step is counted when the caller asks for the next one."""
        with self:
            for step in self.steps:
                yield step
                self.update()

    def __enter__(self) -> ProgressDisplay[T]:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.bar.close()

    def update(self, steps: int = 1) -> None:
        """Count ``steps`` more steps, and update the bar. If a line is due, log it; without a bar, print it, too."""
        now = self.clock()
        self.done += steps
        if self._first is None:
            self._first = now, self.done
            if self._advice is not None and self._seconds and self.total and steps:
                expected = (now - self._begun) / steps * self.total
                if expected > _FIRST:
                    work = f"{self.title}: about {readable_duration(expected)} for {counted(self.total, self.unit)}"
                    self._write("; ".join(filter(None, [work, worded(self._advice)])))
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
        """Write title, steps, facts and time left as one line."""
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
        """Estimate the seconds to the last step; None if the speed of the steps is unknown, or no step is left."""
        seconds = self.seconds_per_step()
        if seconds is None or not self.total or self.done >= self.total:
            return None
        return (self.total - self.done) * seconds

    def seconds_per_step(self) -> float | None:
        """Compute the mean time of a step in seconds; the first step, which includes preparations, does not count."""
        if self._first is None or self.done <= self._first[1]:
            return None
        return (self.clock() - self._first[0]) / (self.done - self._first[1])


def bootstrap_progress(draws: Iterable[T], total: int) -> Iterable[T]:
    """Yield the ``draws`` of a bootstrap, and show the progress from 3 s on; only the first process shows it."""
    return ProgressDisplay(draws, title="bootstrap", unit="draw", total=total, delay=3.0, shown=is_first())
