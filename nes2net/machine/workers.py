"""Processes that read data beside the one that computes."""

from __future__ import annotations

import os
import signal
from multiprocessing.util import Finalize
from typing import Any

import torch

from nes2net.machine.processors import usable_processors


def worker_options(num_workers: int) -> dict[str, Any]:
    """Options of a ``DataLoader`` for at most ``num_workers`` reading processes, and no more than there are processors."""
    workers = max(0, min(num_workers, usable_processors()))
    # A generator of its own, so that starting workers draws nothing from the global one, which initialises and drops out.
    generator = torch.Generator().manual_seed(0)
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _Shield() if workers else None,
        "generator": generator,
    }


class _Shield:
    """``worker_init_fn``: a signal to all processes at once leaves it to the main one to finish its step and stop its workers.

    When the main process ends amid a pass, multiprocessing sends SIGTERM to those that still read and waits for them: that one is obeyed.
    """

    def __init__(self) -> None:
        self._down = torch.zeros(1, dtype=torch.uint8).share_memory_()
        # Also at the end of the program; with a priority, before multiprocessing ends its processes.
        Finalize(self, self._down.fill_, args=(1,), exitpriority=0)

    def __call__(self, _worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, *_: object) -> None:
        if self._down[0]:
            os._exit(0)  # not by an exception, which would first hand over what was read, to nobody
