"""Reproducibility: seeds of the global generators, for dropout, and algorithms on CUDA."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from nes2net.training.sampling import stream_of_epoch

_STEP_STREAM = 0x57E9  # keeps these seeds apart from other streams of the same (seed, epoch, step)


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, on GPUs too."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_step(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Seed an optimisation step of process ``rank``, so that a resumed step draws the same numbers.

    >>> seed_step(1, epoch=1, step=7)
    >>> first = torch.rand(2)
    >>> seed_step(1, epoch=1, step=7)
    >>> torch.equal(first, torch.rand(2))
    True
    """
    stream = np.random.SeedSequence(stream_of_epoch(seed, epoch, step, rank, _STEP_STREAM))
    seed_everything(int(stream.generate_state(1, np.uint64)[0]))


@contextmanager
def cuda_algorithms(deterministic: bool, benchmark: bool) -> Iterator[None]:
    """Choose the algorithms of CUDA within this context; the CPU is not affected.

    Args:
        deterministic: whether cuDNN and cuBLAS take algorithms that always sum in the same order.
            cuBLAS reads this setting when it is first used in the process.
        benchmark: whether cuDNN times its algorithms and takes the fastest.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = deterministic, benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
