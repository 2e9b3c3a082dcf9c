"""Linear layers on oneDNN in float32 on the CPU, in inference and in training.

PyTorch computes float32 products by MKL, which uses only AVX2 on processors of other makers than
Intel. On an AMD EPYC with AVX-512, oneDNN takes half the time or less, forward and backward. Lower
precisions need no change: PyTorch computes them by oneDNN.

oneDNN's operator is not used in modes that do not know it or lack a rule for its derivative or
batching: ``torch.compile``, ``torch.export``, ``torch.jit.trace``, autocast, ``torch.func`` (vmap,
gradients per sample, jvp) and forward-mode differentiation. There PyTorch's own product takes its
place.
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

# oneDNN's product, an operator that PyTorch's compiler uses; None for PyTorch's own product. Without AVX-512, MKL is as
# fast as oneDNN on any processor.
_product: Callable[..., Tensor] | None = None
if torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512":
    _test_matrix = torch.ones(3, 4)
    with suppress(AttributeError, RuntimeError):  # a build of PyTorch without oneDNN
        _operator = torch.ops.mkldnn._linear_pointwise
        if torch.equal(  # the operator is not public, so check that it computes x Wᵀ + b: 4 + 1
            _operator(_test_matrix, _test_matrix, _test_matrix[:, 0], "none", [], ""), torch.full((3, 3), 5.0)
        ):
            _product = _operator


class _Linear(torch.autograd.Function):
    """x Wᵀ + b. Its gradients are computed by the same function, so that second derivatives exist."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute x Wᵀ + b, …×D → …×D'."""
        assert _product is not None  # OneDNNLinear checks it
        return _product(x, weight, bias, "none", [], "")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        """Keep what the gradients depend on."""
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, W and b, as far as they are needed."""
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        for_x, for_weight, for_bias = ctx.needs_input_grad
        grad_x = grad_weight = grad_bias = None
        if for_x:
            grad_x = _Linear.apply(gradient, weight.t(), None)
        if for_weight:
            grad_weight = _Linear.apply(rows.t(), x.reshape(-1, x.shape[-1]).t(), None)
        if for_bias:
            grad_bias = rows.sum(0)
        return grad_x, grad_weight, grad_bias


class OneDNNLinear(nn.Linear):
    """A linear layer on oneDNN, with the parameters of ``linear`` and, up to rounding, its outputs and gradients."""

    def __init__(self, linear: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Compute x Wᵀ + b, …×D → …×D'."""
        plain = (
            _product is None
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or x.device.type != "cpu"
            or not x.dtype == self.weight.dtype == torch.float32
            or x.numel() == 0
            or torch.is_autocast_enabled("cpu")
            or torch._C._are_functorch_transforms_active()
            # in forward-mode differentiation, a tensor carries a tangent
            or any(t is not None and unpack_dual(t).tangent is not None for t in (x, self.weight, self.bias))
        )
        if plain:
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias)


def with_onednn(model: nn.Module) -> nn.Module:
    """Replace each linear layer of ``model`` by an :class:`OneDNNLinear`, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, OneDNNLinear(child))
    return model


if _product is not None:  # let PyTorch's counter of operations count oneDNN's product
    register_flop_formula(_product)(lambda x, weight, *_, **__: 2 * math.prod(x) * weight[0])
