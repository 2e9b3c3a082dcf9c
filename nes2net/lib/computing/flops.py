"""Count the operations of a network's forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_flops(module: nn.Module, *inputs: Any) -> int:
    """Count the operations of products and convolutions in a forward pass; a multiply-add is two.

    >>> count_flops(nn.Linear(10, 5), torch.zeros(2, 10))
    200
    """
    module.eval()  # stays in this mode
    trained = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in trained:  # with gradients, the counter would use hooks of autograd
            parameter.requires_grad_(False)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*inputs)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return counter.get_total_flops()
