"""Processes that read data for the process that computes."""

from __future__ import annotations

import os
import signal
from multiprocessing.util import Finalize
from typing import Any

import torch

from nes2net.machine.processors import usable_processors


def worker_options(num_workers: int) -> dict[str, Any]:
    """Make a ``DataLoader``'s options for ``num_workers`` processes, at most one per processor."""
    workers = max(0, min(num_workers, usable_processors()))
    # So that starting workers draws nothing from the global generator, which dropout uses.
    generator = torch.Generator().manual_seed(0)
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _Shield() if workers else None,
        "generator": generator,
    }


class _Shield:
    """``worker_init_fn`` that lets workers ignore a signal to all processes.

    The main process then finishes its step and stops its workers. If it ends amid a pass,
    multiprocessing sends SIGTERM to the workers and waits for them; that signal they obey.
    """

    def __init__(self) -> None:
        self._down = torch.zeros(1, dtype=torch.uint8).share_memory_()
        # With a priority, this also runs at the program's end, before multiprocessing ends workers.
        Finalize(self, self._down.fill_, args=(1,), exitpriority=0)

    def __call__(self, _worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, *_: object) -> None:
        if self._down[0]:
            os._exit(0)  # an exception would first wait to hand over the data read, which nobody takes
