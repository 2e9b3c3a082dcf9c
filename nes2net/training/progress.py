"""What a person sees of a pass: a bar with loss, learning rate, speed, the share of time spent waiting for data, and time left."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from nes2net.machine.processors import usable_processors

#: A larger share of a pass spent waiting for data is worth a word, if it is seconds.
WAIT_LIMIT = 0.2
_SHORT_WAIT = 1.0  # seconds

T = TypeVar("T")


class Meter(Generic[T]):
    """Iterates over ``batches`` and measures, in a progress bar that is shown on a terminal.

    >>> meter = Meter([3, 4], title="epoch 1/9 train")
    >>> for batch in meter:
    ...     meter.update(utterances=batch, loss=0.5)
    >>> meter.utterances
    7

    The first batch, for which the reading processes start, counts neither as time nor as waiting. On a GPU the waiting is that of the
    process which feeds it, so that it tells of an idle GPU only where each step waits for its result, as reading the loss does.

    ``utterances`` is how many were done, ``waited`` the seconds in which a batch was waited for.

    Args:
        title: stands before the bar.
        total: batches of the whole pass; ``len(batches)`` when not given.
        start: batches of it that were done before, by a run that this one goes on from.
        shown: False on processes other than the main one.
        clock: seconds.
    """

    def __init__(
        self,
        batches: Iterable[T],
        *,
        title: str = "",
        total: int | None = None,
        start: int = 0,
        shown: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        from tqdm import tqdm

        self.batches, self.clock = batches, clock
        self.utterances = 0
        self._began: float | None = None  # when the first batch was done
        self._utterances = 0  # since then
        self.waited = self._elapsed = 0.0
        self.bar = tqdm(
            total=len(batches) if total is None else total,  # type: ignore[arg-type]
            initial=start,
            desc=title,
            unit="batch",
            leave=False,
            dynamic_ncols=True,
            mininterval=0.5,
            disable=None if shown else True,  # None: where the output is no terminal
        )

    def __iter__(self) -> Iterator[T]:
        iterator = iter(self.batches)
        try:
            for number in itertools.count():
                asked = self.clock()
                if number == 1:
                    self._began = asked
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                if number > 0:
                    self.waited += self.clock() - asked
                yield batch
        finally:
            self.bar.close()

    def update(self, utterances: int, **values: float) -> None:
        """A step with ``utterances`` is done; ``values``, such as ``loss`` and ``lr``, are shown."""
        self.utterances += utterances
        if self._began is not None:
            self._utterances += utterances
            self._elapsed = self.clock() - self._began
        shown = {name: f"{value:.2e}" if name == "lr" else f"{value:.4f}" for name, value in values.items()}
        shown["utterances/s"] = f"{self.utterances_per_second:.1f}"
        shown["data wait"] = f"{self.wait_share:.0%}"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    @property
    def wait_share(self) -> float:
        """Share of the time up to the last :meth:`update` in which a batch was waited for, 0 to 1."""
        return self.waited / self._elapsed if self._elapsed else 0.0

    @property
    def utterances_per_second(self) -> float:
        return self._utterances / self._elapsed if self._elapsed else 0.0


def advice(
    wait_share: float, num_workers: int, *, waited: float = math.inf, cached: bool = False, most: int | None = None
) -> str | None:
    """What to do where a pass waited for data longer than :data:`WAIT_LIMIT` of its time, one line; None where it did not.

    Args:
        num_workers: processes that were to read in each training process; never more than ``most`` do.
        waited: seconds of waiting; where they are next to nothing, so is the advice.
        cached: whether there is a cache of decoded audio.
        most: the most processes that can read; by default :func:`nes2net.training.dataset.usable_processors`.

    >>> advice(0.3, 1, most=4)
    'training waits for data for more than 20 % of its time with 1 reading process: try `data.num_workers=2`'
    >>> advice(0.1, 1)
    """
    if wait_share <= WAIT_LIMIT or waited < _SHORT_WAIT:
        return None
    most = usable_processors() if most is None else most
    num_workers = min(num_workers, most)  # see worker_options
    processes = "1 reading process" if num_workers == 1 else f"{num_workers} reading processes"
    said = f"training waits for data for more than {100 * WAIT_LIMIT:.0f} % of its time with {processes}"
    if num_workers < most:
        workers = min(most, _workers_needed(wait_share, num_workers))
        return f"{said}: try `data.num_workers={workers}`"
    if not cached:
        return f"{said}, the most that can be used: keep decoded audio with `data.cache=DIR`"
    return f"{said}, the most that can be used, and decoded audio is cached: the disk or the augmentation is the limit"


def _workers_needed(wait_share: float, num_workers: int) -> int:
    """Processes that would read as fast as the rest of a step takes, if reading went as many times faster."""
    if num_workers == 0:  # the waiting is the reading
        return max(1, math.ceil(wait_share / max(1 - wait_share, 1e-6)))
    return max(num_workers + 1, math.ceil(num_workers / max(1 - wait_share, 1e-6)))
