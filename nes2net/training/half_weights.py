"""Compute with bfloat16 copies of the weights, made once a step; weights and optimiser stay in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

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
        last_layer = network.backend.last_layer if network.backend.last_layer_name else None
        #: each weight to copy: (module, name in the module, weight)
        self.places: list[tuple[nn.Module, str, nn.Parameter]] = []
        for module in network.modules():
            if module is not last_layer and not isinstance(module, (_BatchNorm, nn.RNNBase)):
                self.places += [(module, name, weight) for name, weight in module.named_parameters(recurse=False)]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the copies within this context; a gradient of a copy becomes one of its float32 weight."""
        weights = [weight for _, _, weight in self.places]
        try:
            for (module, name, _), copy in zip(self.places, _Convert.apply(*weights) if weights else ()):
                module._parameters[name] = copy
            yield
        finally:
            for module, name, weight in self.places:
                module._parameters[name] = weight


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
