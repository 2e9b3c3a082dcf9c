"""Compute with bfloat16 copies of the weights, made once a step; weights and optimiser stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.stateless import _reparametrize_module

from nes2net.models.network import Network


def half_weights(network: Network, precision: str) -> Callable[[], AbstractContextManager[None]]:
    """Make the context in which ``network`` computes in ``precision``: :class:`HalfWeights` for bf16 on a GPU."""
    if precision == "bf16" and network.device.type == "cuda":
        return HalfWeights(network).in_place
    return nullcontext


class HalfWeights:
    """Gives a network copies of its weights in bfloat16 for a training step on a GPU.

    Autocast converts each weight and its gradient separately: some 1,500 short kernels for XLS-R
    300M, instead of two here. The front-end then computes in bfloat16, as in scoring
    (:meth:`Network.hidden_states`), the rest under autocast. Batch normalisation, recurrent layers,
    whose weights cuDNN wants in one block, and the last layer, which computes in float32, keep
    their weights.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        last_layer = network.backend.last_layer if network.backend.last_layer_name else None
        #: the weights to copy, by name
        self.weights: dict[str, nn.Parameter] = {}
        for prefix, module in network.named_modules():
            if module is not last_layer and not isinstance(module, (_BatchNorm, nn.RNNBase)):
                self.weights.update(module.named_parameters(prefix, recurse=False))

    def in_place(self) -> AbstractContextManager[None]:
        """Use copies in the returned context; a gradient of a copy becomes one of its float32 weight."""
        copies = _Convert.apply(*self.weights.values()) if self.weights else ()
        return _reparametrize_module(self.network, dict(zip(self.weights, copies)))


class _Convert(torch.autograd.Function):
    """Converts weights to bfloat16, and in the backward pass gradients to float32."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # a weight that was not used has no gradient
        copies = [torch.empty_like(weight, dtype=torch.bfloat16) for weight in weights]
        torch._foreach_copy_(copies, weights)
        frozen = [copy for copy, is_trained in zip(copies, ctx.needs_input_grad) if not is_trained]
        ctx.mark_non_differentiable(*frozen)
        return tuple(copies)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        defined = [gradient for gradient in gradients if gradient is not None]
        converted = [torch.empty_like(gradient, dtype=torch.float32) for gradient in defined]
        if defined:
            torch._foreach_copy_(converted, defined)
        next_converted = iter(converted)
        return tuple(gradient if gradient is None else next(next_converted) for gradient in gradients)
