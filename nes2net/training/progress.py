"""Show the progress of a pass: loss, speed, learning rate, time left, and waiting for data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from nes2net.lib.errors import pluralise
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.process.this_process import usable_processors

#: Largest fraction of a pass that may be spent waiting for data before :func:`advice` gives advice.
WAIT_LIMIT = 0.2

T = TypeVar("T")


class Meter(ProgressDisplay[T]):
    """Iterates over batches, measures speed and waiting, and shows both.

    >>> meter = Meter([3, 4], title="epoch 1 of 9", unit="step", shown=False)
    >>> for batch in meter:
    ...     meter.update(utterances=batch, loss=0.5)
    >>> 0 <= meter.wait_share <= 1
    True

    Measuring begins after the first batch, whose time includes the start of the workers. A GPU may
    compute during the waiting, unless each step waits for its result.

    Attributes:
        waited: seconds spent waiting for batches.
    """

    def __init__(self, batches: Iterable[T], **options: Any) -> None:
        super().__init__(batches, **options)
        self._began: float | None = None  # time at the end of the first batch
        self._utterances = 0  # since that time
        self.waited = self._elapsed = 0.0

    def __iter__(self) -> Iterator[T]:
        asked_at = self.clock()
        with self:
            for batch in self.steps:
                if self._began is not None:
                    self.waited += self.clock() - asked_at
                yield batch
                asked_at = self.clock()
                if self._began is None:
                    self._began = asked_at

    def update(self, utterances: int = 1, *, loss: float | None = None, lr: float | None = None) -> None:
        if self._began is not None:
            self._utterances += utterances
            self._elapsed = self.clock() - self._began
        facts = []
        if loss is not None:
            facts.append(f"loss {loss:.4f}")
        if self._elapsed:
            facts.append(f"{self._utterances / self._elapsed:.1f} utterances/s")
            facts.append(f"data wait {100 * self.wait_share:.0f} %")
        if lr is not None:
            facts.append(f"lr {lr:.2e}")
        self.facts = facts
        super().update()

    @property
    def wait_share(self) -> float:
        """Fraction of the time spent waiting for batches, 0 to 1, up to the last :meth:`update`."""
        return self.waited / self._elapsed if self._elapsed else 0.0


def advice(
    wait_share: float,
    num_workers: int,
    *,
    waited: float = math.inf,
    cached: bool = False,
    most: int | None = None,
) -> str | None:
    """Advise in a line how to wait less for data; None if ``wait_share`` is at most :data:`WAIT_LIMIT`.

    Args:
        wait_share: fraction of the time spent waiting for data, 0 to 1.
        num_workers: number of workers of each training process.
        waited: seconds spent waiting for data; below 1 s, the result is None.
        cached: whether decoded audio is cached.
        most: largest number of workers that can run; by default
            :func:`nes2net.lib.process.this_process.usable_processors`.

    >>> advice(0.3, 1, most=4)
    'training waits for data for more than 20 % of its time with 1 worker: try `data.num_workers=2`'
    >>> advice(0.1, 1)
    """
    if wait_share <= WAIT_LIMIT or waited < 1:
        return None
    most_workers = usable_processors() if most is None else most
    num_workers = min(num_workers, most_workers)  # the loader starts at most `most_workers` workers
    workers = pluralise(num_workers, "worker")
    waiting = f"training waits for data for more than {100 * WAIT_LIMIT:.0f} % of its time with {workers}"
    if num_workers < most_workers:
        return f"{waiting}: try `data.num_workers={min(most_workers, 2 * num_workers or 1)}`"
    if not cached:
        return f"{waiting}, the most that can be used: keep decoded audio with `data.cache=DIR`"
    return (
        f"{waiting}, the most that can be used, and decoded audio is cached: the disk or the augmentation is the limit"
    )
