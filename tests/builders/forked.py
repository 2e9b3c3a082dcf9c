"""Processes of the command line for tests that kill them, forked from one that has imported the package."""

from __future__ import annotations

import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from builders.hostile import PRELOADED
from builders.hostile.limits import started
from nes2net.cli.main import main


def started_command(arguments: list[str], log: Path) -> ForkServerProcess:
    """A process of `nes2net` with ``arguments``, which prints to ``log``."""
    return started([PRELOADED], _run, arguments, log, torch.get_num_threads())


def _run(arguments: list[str], log: Path, num_threads: int) -> None:
    """Use as many threads as the test, because the last bits depend on them."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(num_threads)
    sys.exit(main(arguments))
