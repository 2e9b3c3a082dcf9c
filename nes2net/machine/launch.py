"""What ``torchrun`` tells a process that it started: how many there are, and whether it reports."""

from __future__ import annotations

import os


def process_count() -> int:
    """The number of processes that were started together; 1 for a process alone."""
    # All four must be set, because schedulers set some of them too.
    started = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return int(os.environ["WORLD_SIZE"]) if started else 1


def is_first() -> bool:
    """Tell whether this process is the one that reports: number 0, or alone."""
    return process_count() == 1 or os.environ["RANK"] == "0"
