"""The global random generators: dropout, layer drop and initialisation draw from them."""

from __future__ import annotations

import random

import numpy as np
import torch

_STEP_STREAM = 0x57E9  # keeps these seeds apart from other streams of the same (seed, epoch, step)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators, those of the GPUs too."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_step(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Seed for an optimisation step of process ``rank``: what a step draws does not depend on what came before, so that a run can go on
    from any step.

    >>> seed_step(1, 0, 7)
    >>> first = torch.rand(2)
    >>> seed_step(1, 0, 7)
    >>> torch.equal(first, torch.rand(2))
    True
    """
    stream = np.random.SeedSequence([seed, epoch, step, rank, _STEP_STREAM])
    seed_everything(int(stream.generate_state(1, np.uint64)[0]))
