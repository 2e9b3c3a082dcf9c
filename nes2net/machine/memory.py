"""Running out of memory, told apart from other errors and reported in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nes2net.errors import InputError

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
