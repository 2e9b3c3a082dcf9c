"""The processors of this machine: how many this process may use, and their name."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path


def usable_processors() -> int:
    """Count the processors for this process: its share among the processes on this machine."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Set by torchrun and accelerate.
    return max(1, processors // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def processor_name() -> str:
    """Name the processor as the system does."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
