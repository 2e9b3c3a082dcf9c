"""The processors of this machine: how many this process may use, and what they are."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def usable_processors() -> int:
    """Count the processors that this process may use, of those that the processes on this machine share."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Set by torchrun and accelerate.
    return max(1, processors // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def processor_name() -> str:
    """Name of the processor, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
