"""Optimisers and learning-rate schedules of the published recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from nes2net.recipes.recipe import TrainConfig

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def create_optimizer(parameters: Iterable[nn.Parameter], train: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimiser of ``train`` over ``parameters``.

    Weight decay is an L2 term of the gradient with ``adam`` (ASVspoof recipes) and separate from
    the gradient with ``adamw`` (Loshchilov and Hutter, ICLR 2019; CtrSVDD recipe), so the same
    number acts differently. On CUDA a step is a single kernel (``fused``).

    >>> create_optimizer([nn.Parameter(torch.zeros(2))], TrainConfig(optimizer="adamw", lr=1e-6)).defaults["weight_decay"]
    0.0001
    """
    parameters = list(parameters)
    return _OPTIMIZERS[train.optimizer](
        parameters,
        lr=train.lr,
        weight_decay=train.weight_decay,
        betas=tuple(train.adam_betas),
        eps=train.adam_eps,
        amsgrad=train.amsgrad,
        fused=all(parameter.is_cuda for parameter in parameters) or None,  # None: as PyTorch does by default
    )


def learning_rate(train: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Make the function from an optimisation step to its learning rate.

    Steps count from 0 over all epochs, and a step that changed no weight counts too. The rate is
    ``lr`` times one of these, with r = ``min_lr``/``lr``, T steps in the run, and e the epoch of
    the step, counted from 0:

    - ``constant``: 1;
    - ``cosine``: r + (1 − r)·½(1 + cos(π·step/T)) (ASVspoof 5: 0.1 + 0.45·(1 + cos …));
    - ``cosine_epochs``: the same with (e − W)/(``t_max`` − W) for step/T, W = ``warmup_epochs``;
      beyond ``t_max`` it rises and falls again without a restart (CtrSVDD, with W = 0). In the
      first W epochs it is (e + 1)/(W + 1), or e/W with ``warmup_from_zero`` (MoE, with W = 3);
    - ``inverse_sqrt``: min((step + 1)/W, √(W/(step + 1))) with W = ``warmup_steps`` (Vaswani et
      al., 2017; MPIF-Res2Net);
    - ``step``: ``decay_factor``^⌊e/``decay_epochs``⌋ (GF, LGF and LLGF: 0.5^⌊e/5⌋).

    In their first ``warmup_steps`` steps all but ``inverse_sqrt`` are multiplied by a factor that
    rises linearly to 1, (step + 1)/(``warmup_steps`` + 1).

    >>> rate = learning_rate(TrainConfig(schedule="cosine_epochs", lr=1.0, t_max=2), steps_per_epoch=10)
    >>> [round(rate(step), 3) for step in (0, 9, 10, 20, 30, 40)]
    [1.0, 1.0, 0.5, 0.0, 0.5, 1.0]
    """
    floor, steps = train.min_lr / train.lr, max(1, train.epochs * steps_per_epoch)

    def cosine(turns: float) -> float:
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * turns))

    if train.schedule == "inverse_sqrt":
        peak = max(1, train.warmup_steps)
        return lambda step: train.lr * min((step + 1) / peak, (peak / (step + 1)) ** 0.5)

    def cosine_epochs(epoch: int) -> float:
        warmup = train.warmup_epochs
        if epoch < warmup:
            return epoch / warmup if train.warmup_from_zero else (epoch + 1) / (warmup + 1)
        return cosine((epoch - warmup) / (train.t_max - warmup))

    shapes: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: cosine(step / steps),
        "cosine_epochs": lambda step: cosine_epochs(step // steps_per_epoch),
        "step": lambda step: train.decay_factor ** (step // steps_per_epoch // train.decay_epochs),
    }
    shape = shapes[train.schedule]
    return lambda step: train.lr * (min(1.0, (step + 1) / (train.warmup_steps + 1)) * shape(step))
