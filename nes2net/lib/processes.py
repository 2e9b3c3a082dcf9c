"""Processes of ``torchrun`` that score together: numbering, waiting, and exchanging results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from nes2net.lib.errors import InputError
from nes2net.lib.this_process import process_count

# Long enough to wait for the slowest process; when one dies, torchrun ends the others.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """This process, number ``rank`` of ``count``; alone it is 0 of 1, and no method waits."""

    rank: int = 0
    count: int = 1
    group: Any = None
    """The group of torch.distributed; None is the default one."""

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.count > 1:
            with _one_has_ended():
                dist.barrier(self.group)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's ``value``, in order, to process 0, and to the others their own."""
        if self.count == 1:
            return [value]
        values = [None] * self.count if self.rank == 0 else None
        with _one_has_ended():
            dist.gather_object(value, values, group=self.group)
        return [value] if values is None else values

    def broadcast(self, value: Any) -> Any:
        """Return process 0's ``value`` to every process."""
        if self.count == 1:
            return value
        values = [value]
        with _one_has_ended():
            dist.broadcast_object_list(values, group=self.group)
        return values[0]


#: A process by itself.
ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Connect the processes that ``torchrun`` started, if it did, over TCP (gloo).

    Training in the same process may have connected them already, but less patiently.
    """
    if process_count() == 1:
        yield Processes()
        return
    group = None
    with _one_has_ended():
        if dist.is_initialized():
            group = dist.new_group(timeout=_PATIENCE, backend="gloo")
        else:
            dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), group)
    finally:
        dist.destroy_process_group(group)


@contextmanager
def _one_has_ended() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise InputError(
            "the processes of torchrun lost contact, most likely because one of them ended; its own message says why. "
            f"The same command resumes from the work done ({str(error).splitlines()[0][:120]})"
        ) from error
