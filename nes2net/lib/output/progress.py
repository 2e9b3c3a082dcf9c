"""Progress of long work: a line after a second, then a bar on a terminal, elsewhere a line every minute."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from threading import Timer
from typing import ClassVar, Generic, TextIO, TypeVar

from tqdm import tqdm
from typing_extensions import Self

from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.errors import short_repr as quoted
from nes2net.lib.output.terminal import LOGGER, PROGRESS, RESULTS, log_line, printable, standard_output
from nes2net.lib.output.times import readable_duration
from nes2net.lib.process.this_process import is_first

#: Environment variable for the number of seconds from one line to the next; with 0, no lines are
#: printed.
SECONDS = "NES2NET_PROGRESS_SECONDS"
#: Seconds of work after which a line or a bar says what is being done.
SILENCE = 1.0
_SECONDS = 60.0  # default of SECONDS
_FIRST = 10.0  # seconds until the first line with the time left

T = TypeVar("T")


class _Printer(logging.Handler):
    """Prints records as lines above the bars, on the stream that ``stream`` returns."""

    def __init__(self, stream: Callable[[], TextIO], form: str = "%(message)s") -> None:
        super().__init__()
        self.stream = stream
        self.setFormatter(logging.Formatter(form, "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        stream = self.stream()
        tqdm.write(self.format(record), file=stream)
        stream.flush()  # without this, the line could stay in a buffer for hours


@contextmanager
def only_handler(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    """Let only ``handler`` get the records of ``logger``, also information, within this context."""
    earlier_handlers = logger.handlers
    earlier_level = logger.level
    propagated = logger.propagate
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers = earlier_handlers
        logger.setLevel(earlier_level)
        logger.propagate = propagated


@contextmanager
def printing_lines(results: Callable[[], TextIO] = standard_output) -> Iterator[None]:
    """Print logged lines within this context: the results of runs on ``results()``, others on standard error."""
    remarks = _Printer(lambda: sys.stderr)
    progress = _Printer(lambda: sys.stderr, "%(asctime)s %(message)s")
    with only_handler(LOGGER, remarks), only_handler(PROGRESS, progress), only_handler(RESULTS, _Printer(results)):
        yield


class Work:
    """A context that logs what is being done, in a line after :data:`SILENCE`.

    Work inside other work speaks for both.

    Args:
        title: what is being done, such as ``"reading labels"``.
        shown: false for no line; only the first process prints lines.
    """

    innermost: ClassVar[Work | None] = None

    def __init__(self, title: str, *, shown: bool = True) -> None:
        self.title = title
        self.shown = shown and is_first()
        stated = os.environ.get(SECONDS) or str(_SECONDS)
        try:
            self._seconds = float(stated) if self.shown else 0.0
        except ValueError:
            self._seconds = -1.0
        if not self._seconds >= 0:
            raise InputError(f"{SECONDS} must be a number of seconds, 0 for no lines, not {quoted(stated)}")
        self._has_spoken = not self._seconds

    def __enter__(self) -> Self:
        self._outer = Work.innermost
        if self._outer:
            self._outer.wait_for_inner()
        Work.innermost = self
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._has_spoken = True
        Work.innermost = self._outer
        if self._outer:
            self._outer._listen()

    def wait_for_inner(self) -> None:
        self._timer.cancel()

    def _listen(self) -> None:
        self._timer = Timer(SILENCE, self._speak)
        self._timer.daemon = True
        if not self._has_spoken:
            self._timer.start()

    def _speak(self) -> None:
        self._has_spoken = True
        self._write(self.line())

    def _write(self, line: str, level: int = logging.INFO) -> None:
        with suppress(OSError):  # a closed pipe or a full disk must not stop the work
            log_line(printable(line), PROGRESS, level)

    def line(self) -> str:
        return self.title


class Preparation(Work):
    """What a command does before its first other work; silent from then on."""

    def wait_for_inner(self) -> None:
        super().wait_for_inner()
        self._has_spoken = True


class ProgressDisplay(Work, Generic[T]):
    """Counts the steps of long work, and shows steps, facts such as the loss, and the time left.

    >>> display = ProgressDisplay([3, 4], title="epoch 3 of 9", unit="step", shown=False)
    >>> for step in display:
    ...     display.facts = ["loss 0.5"]
    >>> display.line()
    'epoch 3 of 9: step 2 of 2, loss 0.5'

    After :data:`SILENCE`, a bar is shown on a terminal; elsewhere, a line is printed, then others at
    intervals of :data:`SECONDS`.

    Attributes:
        facts: texts to show, the most important first, because a narrow terminal cuts off the last.
        later_steps: steps in later epochs, included in the time left.
        later_seconds: seconds of other work after the last step, included in the time left.

    Args:
        steps: items that the display yields.
        total: number of all steps; by default ``len(steps)``.
        start: number of steps that were done before.
        shown: false for a display that only counts, as in other processes than the first.
        leave: whether the bar stays at the end.
        advice: how to shorten the work, or empty; printed after the first update, with the expected
            time, if that is more than ten seconds. None for no such line.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(title, shown=shown)
        self.steps = steps
        self.unit = unit
        self.clock = clock
        self.total = len(steps) if total is None and isinstance(steps, Sized) else total
        self.later_steps = 0  # after these, for the estimate of the time left
        self.later_seconds = 0.0  # seconds that need no steps
        self.done = start
        self.facts = list[str]()
        self._first: tuple[float, int] | None = None  # (time of the first step, number of steps done at this time)
        self._begun = clock()
        self._advice = advice
        self._due = self._begun + min(self._seconds, _FIRST)
        self.bar = tqdm(  # type: ignore[call-overload]  # a list as `postfix` is one of its documented forms
            total=self.total,
            initial=start,
            desc=title,
            leave=leave,
            delay=SILENCE,
            dynamic_ncols=True,
            bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {postfix[0]}",
            postfix=[""],
            disable=None if self.shown else True,  # with None, there is no bar if standard error is not a terminal
        )

    def __iter__(self) -> Iterator[T]:
        """Yield the steps; each is counted when the next one is asked for."""
        with self:
            for step in self.steps:
                yield step
                self.update()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.bar.close()

    def _speak(self) -> None:
        if self.bar.disable:
            super()._speak()
        else:
            self.bar.update(0)  # shows the bar

    def update(self, steps: int = 1) -> None:
        """Count ``steps`` more, update the bar, and log a line if it is due."""
        now = self.clock()
        self.done += steps
        if self._first is None:
            self._first = now, self.done
            if self._advice is not None and self._seconds and self.total and steps:
                expected = (now - self._begun) / steps * self.total
                if expected > _FIRST:
                    work = f"{self.title}: about {readable_duration(expected)} for {pluralise(self.total, self.unit)}"
                    self._write("; ".join(filter(None, [work, self._advice])))
        if not self.bar.disable:
            self.bar.total = self.total
            self.bar.postfix = [", ".join([*self.time_left(), *self.facts])]
        self.bar.update(steps)
        if self._seconds and now >= self._due:
            self._due = now + self._seconds
            # A bar shows the line already.
            self._write(self.line(), logging.INFO if self.bar.disable else logging.DEBUG)

    def line(self) -> str:
        """Write title, steps, facts and time left in one line."""
        counts = f"{self.unit} {self.done}" + (f" of {self.total}" if self.total else "")
        return ", ".join([f"{self.title}: {counts}", *self.facts, *self.time_left()])

    def time_left(self) -> list[str]:
        """Estimate the time to the end of later steps, and to the end of these; empty if unknown.

        The first step, which includes preparations, does not count.
        """
        if self._first is None or not self.total or self.done >= self.total:
            return []
        first_time, first_done = self._first
        if self.done <= first_done:
            return []
        per_step = (self.clock() - first_time) / (self.done - first_done)
        seconds_left = (self.total - self.done) * per_step
        later = self.later_seconds + self.later_steps * per_step
        part = f" ({self.title.split()[0]} {readable_duration(seconds_left)})" if later else ""
        return [f"{readable_duration(seconds_left + later)} left{part}"]


def bootstrap_progress(draws: Iterable[T], total: int) -> Iterable[T]:
    """Yield the ``draws`` of a bootstrap, with progress in the first process."""
    return ProgressDisplay(draws, title="bootstrap", unit="draw", total=total)
