"""Processes of ``torchrun`` that score together: numbering, waiting, and exchanging results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from nes2net.lib.errors import as_input_error
from nes2net.lib.process.this_process import process_count

_PATIENCE = timedelta(days=30)  # longest wait for the slowest process; if one process dies, torchrun ends the others


@dataclass(frozen=True)
class Processes:
    """The ``count`` processes that score together; ``rank`` is the index of this one, from 0.

    A single process (rank 0, count 1) never waits.
    """

    rank: int = 0
    count: int = 1
    group: Any = None
    """Group of torch.distributed; None for the default."""

    def wait(self) -> None:
        if self.count > 1:
            with _explain_lost_contact():
                dist.barrier(self.group)

    def gather(self, value: Any) -> list[Any]:
        """List the ``value`` of each process in order on process 0; on others, only their own."""
        if self.count == 1:
            return [value]
        values = [None] * self.count if self.rank == 0 else None
        with _explain_lost_contact():
            dist.gather_object(value, values, group=self.group)
        return [value] if values is None else values

    def broadcast(self, value: Any) -> Any:
        """Return the ``value`` of process 0 in all processes."""
        if self.count == 1:
            return value
        values = [value]
        with _explain_lost_contact():
            dist.broadcast_object_list(values, group=self.group)
        return values[0]


#: A process that scores alone.
ALONE = Processes()


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Within this context, connect the processes of ``torchrun`` over TCP (gloo).

    If training has connected them, a new group is made, because training's time-out is too short
    for scoring.
    """
    if process_count() == 1:
        yield Processes()
        return
    group = None
    with _explain_lost_contact():
        if dist.is_initialized():
            group = dist.new_group(timeout=_PATIENCE, backend="gloo")
        else:
            dist.init_process_group("gloo", timeout=_PATIENCE)
    yield Processes(dist.get_rank(), dist.get_world_size(), group)
    # After an error, the processes stay connected until this process ends, so that its message comes first.
    dist.destroy_process_group(group)


def _explain_lost_contact() -> AbstractContextManager[None]:
    return as_input_error(
        "the processes of torchrun lost contact, most likely because one of them ended; its own message says why",
        RuntimeError,
        remedy="the same command resumes from the work done",
    )
