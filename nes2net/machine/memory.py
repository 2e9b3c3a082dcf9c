"""The memory of this process: its peak, and running out of it, reported in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nes2net.errors import InputError

if sys.platform != "win32":
    import resource

# Of torch on the CPU and on CUDA, cuBLAS, cuDNN, onnxruntime and the operating system.
_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether ``error`` of torch, onnxruntime or the system means that memory ran out.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    """
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS)


@contextmanager
def enough_memory(problem: Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory in this context into an :class:`InputError`.

    Args:
        problem: gives the message; it is called when memory has run out.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(problem()) from error


def peak_bytes() -> int | None:
    """The most memory, in bytes, that this process has held so far; None if the system keeps no count.

    Linux counts it in ``/proc/self/status``; there ``ru_maxrss`` is that of the parent, too, if that
    was more when this process was started.

    >>> peak = peak_bytes()
    >>> peak is None or peak > 2**20
    True
    """
    if sys.platform == "win32":
        return None
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
