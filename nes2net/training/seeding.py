"""Seed the global random generators, and choose deterministic algorithms."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.utils.deterministic

from nes2net.lib.errors import InputError, first_line
from nes2net.training.sampling import seed_of_stream

# Arbitrary numbers that distinguish the random streams of steps and of validation from other streams of the same (seed,
# epoch, step).
_STEP_STREAM = 0x57E9
_VALIDATION_STREAM = 0xDE7A
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
# Values of this environment variable for which cuBLAS repeats its results exactly (NVIDIA's cuBLAS manual, 2.1.4).
_REPEATABLE_WORKSPACES = (":4096:8", ":16:8")


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, on GPUs too."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_step(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Seed the global generators for a step of process ``rank``, so that a resumed run draws the same.

    >>> seed_step(1, epoch=1, step=7)
    >>> first = torch.rand(2)
    >>> seed_step(1, epoch=1, step=7)
    >>> torch.equal(first, torch.rand(2))
    True
    """
    _seed_by(seed_of_stream(seed, epoch, step, rank, _STEP_STREAM))


def seed_validation(seed: int, epoch: int, batch: int, number: int) -> None:
    """Seed the global generators for one development batch; in train mode, dropout draws from them.

    Args:
        number: index of the pass over the development set.
    """
    _seed_by(seed_of_stream(seed, epoch, batch, number, _VALIDATION_STREAM))


def _seed_by(stream: list[int]) -> None:
    seed_everything(int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0]))


@contextmanager
def cuda_algorithms(deterministic: bool) -> Iterator[None]:
    """Switch deterministic algorithms on or off within this context, mainly on CUDA.

    ``torch.backends.cudnn.benchmark`` is not changed.

    Args:
        deterministic: give the same bits each time, as in the strict mode of
            ``torch.use_deterministic_algorithms``; no effect on the CPU.

    Raises:
        InputError: if an operation has no deterministic algorithm on its device, or if cuBLAS
            cannot repeat its results with the workspace that the environment sets.
    """
    cudnn = torch.backends.cudnn
    settings = torch.utils.deterministic
    cudnn_and_fill = cudnn.deterministic, settings.fill_uninitialized_memory  # type: ignore[attr-defined]
    mode = torch.get_deterministic_debug_mode()
    workspace = os.environ.get(_CUBLAS)
    if deterministic and workspace not in (None, *_REPEATABLE_WORKSPACES):
        raise InputError(
            f"with {_CUBLAS}={workspace} in the environment, cuBLAS does not repeat itself: remove it, set it to "
            f"{' or '.join(_REPEATABLE_WORKSPACES)}, or use `train.deterministic=false`"
        )
    if deterministic:
        os.environ[_CUBLAS] = workspace or _REPEATABLE_WORKSPACES[0]  # cuBLAS reads the variable at its first use
    cudnn.deterministic = deterministic
    # By default, strict mode fills new tensors with values, which takes time and is not needed.
    settings.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        remedy = "use `train.deterministic=false`"
        if "CuBLAS" in str(error) and workspace is None:  # cuBLAS had read the variable before this context set it
            remedy = f"start Python with {_CUBLAS}={_REPEATABLE_WORKSPACES[0]} in the environment, or {remedy}"
        raise InputError(f"training cannot repeat itself bit for bit here ({first_line(error)}): {remedy}") from error
    finally:
        torch.set_deterministic_debug_mode(mode)
        cudnn.deterministic, settings.fill_uninitialized_memory = cudnn_and_fill  # type: ignore[attr-defined]
        if deterministic and workspace is None:
            del os.environ[_CUBLAS]
