"""Optimisers and learning-rate schedules of the published recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nes2net.detector import Detector
from nes2net.training.recipes.train import TrainConfig

# With `logistic`, Adam takes no steps: the loop needs an optimiser, but scikit-learn fits the last layer
# (nes2net.training.tasks.logistic).
_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "logistic": torch.optim.Adam}


class ParameterGroup(TypedDict):
    """Parameters of an optimiser with the same learning rate: the schedule's times ``factor``."""

    params: list[nn.Parameter]
    factor: float


def create_optimizer(
    parameters: Iterable[nn.Parameter] | list[ParameterGroup], train: TrainConfig
) -> torch.optim.Optimizer:
    """Make the optimiser of ``train`` for ``parameters``, or for the result of :func:`parameter_groups`.

    With ``adam`` (ASVspoof recipes), weight decay is an L2 term of the gradient; with ``adamw``
    (Loshchilov and Hutter, ICLR 2019; CtrSVDD recipe), it is separate, so that the same value has a
    different effect. On CUDA a step is a single kernel (``fused``), which reads the learning rate
    on the GPU, so that a CUDA graph can repeat it.

    >>> create_optimizer([nn.Parameter(torch.zeros(2))], TrainConfig(optimizer="adamw", lr=1e-6)).defaults["weight_decay"]
    0.0001
    """
    groups: list[Any] = list(parameters)
    trained = [leaf for leaf in tree_leaves(groups) if isinstance(leaf, nn.Parameter)]
    on_gpu = all(parameter.is_cuda for parameter in trained)
    optimizer = _OPTIMIZERS[train.optimizer](
        groups,
        lr=train.lr,
        weight_decay=train.weight_decay,
        betas=tuple(train.adam_betas),
        eps=train.adam_eps,
        amsgrad=train.amsgrad,
        fused=on_gpu or None,  # with None, PyTorch chooses the kernel
        capturable=on_gpu,
    )
    if on_gpu:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(train.lr, device=trained[0].device)
    return optimizer


def parameter_groups(detector: Detector, trained: Iterable[nn.Parameter], layer_decay: float) -> list[ParameterGroup]:
    """Group the ``trained`` parameters of ``detector`` and its objective by their learning-rate factor.

    With x = ``layer_decay``, the factor is x^(L + 1 − l) for the l-th of L transformer layers, x^(L
    + 1) before these layers, and 1 for the rest, as in the code of BEiT (Bao et al., arXiv
    2106.08254). The idea comes from ELECTRA (Clark et al., arXiv 2003.10555), whose code multiplies
    every factor except the final head's by another x.

    Returns:
        Parameter groups with the keys ``params`` and ``factor``, from the lowest layer to the
        highest.
    """
    frontend = detector.frontend
    layers = frontend.transformer_layers
    depths = {id(p): 0 for p in frontend.parameters()}
    for depth, layer in enumerate(layers, 1):
        depths |= {id(p): depth for p in layer.parameters()}
    top = len(layers) + 1
    for module in frontend.after_layers:
        depths |= {id(p): top for p in module.parameters()}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in trained:
        factor = layer_decay ** (top - depths.get(id(parameter), top))
        groups.setdefault(factor, []).append(parameter)
    return [{"params": groups[factor], "factor": factor} for factor in sorted(groups)]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each parameter group to ``rate`` times the group's factor, if any."""
    for group in optimizer.param_groups:
        rate_of_group = rate * group.get("factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate_of_group)  # in place, because a recorded CUDA graph reads it there
        else:
            group["lr"] = rate_of_group


def count_plateaus(losses: Iterable[float], patience: int | None) -> int:
    """Count the plateaus: ``patience`` losses in a row that are not below the lowest loss before them.

    Counting starts again after each plateau. Without ``patience`` there are none.

    >>> count_plateaus([3.0, 2.0, 2.0, 2.5, 2.1, 2.2], patience=2)
    2
    """
    best = math.inf
    waited = 0
    count = 0
    for loss in losses:
        waited += 1
        if loss < best:
            best = loss
            waited = 0
        if waited == patience:
            count += 1
            waited = 0
    return count


def learning_rate_schedule(train: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Make the function from an optimisation step to its learning rate.

    Steps count from 0 over all epochs, including those that changed no weight. The rate is ``lr``
    times a factor. With r = ``min_lr``/``lr``, T steps in the run, and the epoch e from 0:

    - ``constant``: 1;
    - ``cosine``: r + (1 − r)·½(1 + cos(π·step/T)) (ASVspoof 5: 0.1 + 0.45·(1 + cos …));
    - ``cosine_epochs``: the same with (e − W)/(``t_max`` − W) in place of step/T, W =
      ``warmup_epochs``; beyond ``t_max`` the factor rises and falls again without a restart
      (CtrSVDD, with W = 0). In the first W epochs the factor is (e + 1)/(W + 1), or e/W with
      ``warmup_from_zero`` (MoE, with W = 3);
    - ``inverse_sqrt``: min((step + 1)/W, √(W/(step + 1))) with W = ``warmup_steps`` (Vaswani et
      al., 2017; MPIF-Res2Net);
    - ``step``: ``decay_factor``^⌊e/``decay_epochs``⌋ (GF, LGF and LLGF: 0.5^⌊e/5⌋).

    In the first ``warmup_steps`` steps, every factor except ``inverse_sqrt`` is multiplied by (step
    + 1)/(``warmup_steps`` + 1).

    >>> rate = learning_rate_schedule(TrainConfig(schedule="cosine_epochs", lr=1.0, t_max=2), steps_per_epoch=10)
    >>> [round(rate(step), 3) for step in (0, 9, 10, 20, 30, 40)]
    [1.0, 1.0, 0.5, 0.0, 0.5, 1.0]
    """
    floor = train.min_lr / train.lr
    warmup = train.warmup_epochs

    def cosine(half_turns: float) -> float:
        """The factor is 1 after 0 half turns, ``floor`` after 1, and 1 again after 2."""
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * half_turns))

    def rate(step: int) -> float:
        epoch = step // steps_per_epoch
        if train.schedule == "inverse_sqrt":
            peak = max(1, train.warmup_steps)
            return train.lr * min((step + 1) / peak, (peak / (step + 1)) ** 0.5)
        factor = 1.0
        if train.schedule == "step":
            factor = train.decay_factor ** (epoch // train.decay_epochs)
        elif train.schedule == "cosine":
            factor = cosine(step / (train.epochs * steps_per_epoch))
        elif train.schedule == "cosine_epochs":
            if epoch >= warmup:
                factor = cosine((epoch - warmup) / (train.t_max - warmup))
            elif train.warmup_from_zero:
                factor = epoch / warmup
            else:
                factor = (epoch + 1) / (warmup + 1)
        return train.lr * (min(1.0, (step + 1) / (train.warmup_steps + 1)) * factor)

    return rate
