"""Linear layers on oneDNN for inference in float32 on the CPU.

PyTorch gives float32 products to MKL, which keeps to AVX2 on processors that are not Intel's: on an AMD EPYC with AVX-512 oneDNN
takes less than half the time. Lower precisions go to oneDNN anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

# PyTorch's compiler calls it; where a build has none, the layers are the plain ones.
_product = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


class OneDNNLinear(nn.Linear):
    """``linear`` with the same parameters and, up to rounding, the same outputs."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        plain = (
            _product is None
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or x.device.type != "cpu"
            or not x.dtype == self.weight.dtype == torch.float32
            or torch.is_autocast_enabled("cpu")
        )
        return super().forward(x) if plain else _product(x, self.weight, self.bias, "none", [], "")


def with_onednn(model: nn.Module) -> nn.Module:
    """``model`` with every linear layer replaced by an :class:`OneDNNLinear`."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, OneDNNLinear(child))
    return model


if _product is not None:

    @register_flop_formula(_product)
    def _flops(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
        return 2 * math.prod(x) * weight[0]
