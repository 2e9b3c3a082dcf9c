"""Linear layers on oneDNN in float32 on the CPU, in inference and in training.

PyTorch's float32 products by MKL use only AVX2 on other processors than Intel's. On an AMD EPYC
with AVX-512, oneDNN takes at most half of the time.

``torch.compile``, ``torch.export``, ``torch.jit.trace``, autocast, ``torch.func`` and forward-mode
differentiation cannot use, differentiate or batch oneDNN's operator, and use PyTorch's own product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.utils.flop_counter import register_flop_formula

# oneDNN's product; None for PyTorch's own: without AVX-512, MKL is as fast.
_product: Callable[..., Tensor] | None = None
if torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512":
    _test_matrix = torch.ones(3, 4)
    with suppress(AttributeError, RuntimeError):  # this build of PyTorch may lack the operator
        _operator = torch.ops.mkldnn._linear_pointwise
        if torch.equal(  # the operator is not public: check that it computes x Wᵀ + b, which is 5 here
            _operator(_test_matrix, _test_matrix, _test_matrix[:, 0], "none", [], ""), torch.full((3, 3), 5.0)
        ):
            _product = _operator


class _Linear(torch.autograd.Function):
    """x Wᵀ + b by oneDNN; the gradients, too, so that second derivatives exist."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        assert _product is not None  # OneDNNLinear.forward() has checked that oneDNN can be used
        return _product(x, weight, bias, "none", [], "")  # "none": no activation follows the product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])  # N×D'
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad_x = grad_weight = grad_bias = None
        if needs_x:
            grad_x = _Linear.apply(gradient, weight.t(), None)
        if needs_weight:
            grad_weight = _Linear.apply(rows.t(), x.reshape(-1, x.shape[-1]).t(), None)
        if needs_bias:
            grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias


class OneDNNLinear(nn.Linear):
    """A linear layer …×D → …×D' on oneDNN; outputs equal those of :class:`torch.nn.Linear` up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        cannot_use_onednn = (
            _product is None
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or x.device.type != "cpu"
            or not x.dtype == self.weight.dtype == torch.float32
            or x.numel() == 0
            or torch.is_autocast_enabled("cpu")
            or torch._C._are_functorch_transforms_active()
            # in forward-mode differentiation, at least one tensor has a tangent
            or any(t is not None and unpack_dual(t).tangent is not None for t in (x, self.weight, self.bias))
        )
        if cannot_use_onednn:
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias)


def with_onednn(model: nn.Module) -> nn.Module:
    """Make each linear layer in ``model`` an :class:`OneDNNLinear`, in place."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDNNLinear
    return model


if _product is not None:  # tell PyTorch's counter of operations how many operations oneDNN's product takes
    register_flop_formula(_product)(lambda x, weight, *_, **__: 2 * math.prod(x) * weight[0])
