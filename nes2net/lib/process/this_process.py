"""Facts about this process: its share of the processors, its memory, its number among ``torchrun``'s processes."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nes2net.lib.errors import InputError


def usable_processors() -> int:
    """Count the processors of this process: an equal share for each process of ``torchrun``."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # torchrun and accelerate set LOCAL_WORLD_SIZE.
    return max(1, processors // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def processor_name() -> str:
    """Name the processor as the system does."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def process_count() -> int:
    """Count the processes that ``torchrun`` started together; 1 for a single process."""
    # Only torchrun sets all four variables; schedulers set some of them.
    started = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return int(os.environ["WORLD_SIZE"]) if started else 1


def is_first() -> bool:
    """Whether this process prints the messages: it is single, or the first."""
    return process_count() == 1 or os.environ["RANK"] == "0"


def is_first_to_fail() -> bool:
    """Whether this process is the first of ``torchrun``'s processes on this machine that calls this function."""
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")  # in a folder of the process, in a folder of all
    try:
        if error_file:
            Path(error_file).parents[1].joinpath("nes2net").touch(exist_ok=False)
    except OSError as error:
        return not isinstance(error, FileExistsError)
    return True


if sys.platform != "win32":
    import resource

# Words by which PyTorch on CPU and CUDA, cuBLAS, cuDNN, onnxruntime, the operating system and nes2net's kernel report a
# lack of memory.
_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "_alloc_failed",
    "fit into the memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error``, from PyTorch, onnxruntime or the system, means that memory ran out.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    """
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS)


@contextmanager
def enough_memory(problem: Callable[[], str]) -> Iterator[None]:
    """Within this context, raise an :class:`InputError` with the message ``problem()`` if memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(problem()) from error


def most_open_files() -> int:
    """Read how many files and connections may be open at once; a large number without a limit."""
    if sys.platform == "win32":
        return 1 << 20
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] % (1 << 62)  # no limit is −1, which becomes 2⁶² − 1


def peak_bytes() -> int | None:
    """Read the largest memory in bytes that this process has held; None if the system does not count it.

    From ``/proc/self/status`` on Linux, because ``ru_maxrss`` may include memory of the parent
    process.

    >>> peak = peak_bytes()
    >>> peak is None or peak > 2**20
    True
    """
    if sys.platform == "win32":
        return None
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024  # in kB
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
