"""Transformer layers whose residual sums are kept in float32 while a network trains in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PreNormLayer(nn.Module):
    """A transformer layer with layer norms first, B×T×D → B×T×D, on the modules of a ``layer`` of transformers."""

    attention: nn.Module
    layer_norm: nn.LayerNorm
    dropout: nn.Dropout
    feed_forward: nn.Module
    final_layer_norm: nn.LayerNorm

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name, module in layer.named_children():
            self.add_module(name, module)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, exact: Tensor | None = None, **_: Any) -> Any:
        """Apply the layer.

        Args:
            exact: ``x`` in float32, before it was rounded.

        Returns:
            The output; with ``exact``, also the output before it was rounded.
        """
        attended = self.dropout(self.attention(self.layer_norm(x), attention_mask=attention_mask)[0])
        if exact is None:
            x = x + attended
            return x + self.feed_forward(self.final_layer_norm(x))
        x, exact = _Sum.apply(x, exact, attended)
        return _Sum.apply(x, exact, self.feed_forward(self.final_layer_norm(x)))


class _Sum(torch.autograd.Function):
    """x + y, rounded from exact + y; the gradient is that of x + y, so that it stays in bfloat16.

    Rounding all 48 sums of XLS-R 300M raises the error of its output from 1.1 to 1.5 %.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, exact: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        exact = exact + y
        ctx.mark_non_differentiable(exact)
        ctx.set_materialize_grads(False)  # no zeros for ``exact``
        return exact.to(x.dtype), exact

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, None, Tensor | None]:
        return gradient, None, gradient
