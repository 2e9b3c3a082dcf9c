"""Residual sums in float32 beside a bfloat16 network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2EncoderLayerStableLayerNorm


class PreNormLayer(Wav2Vec2EncoderLayerStableLayerNorm):
    """The library's transformer layer with layer norms first, B×T×D → B×T×D; a layer becomes one by its ``__class__``."""

    def forward(  # type: ignore[override]  # the library gives other arguments by name
        self, x: Tensor, attention_mask: Tensor | None = None, exact: Tensor | None = None, **_: Any
    ) -> Any:
        # ``exact`` is ``x`` in float32, before it was rounded. With it, the output before rounding is returned, too.
        attended = self.dropout(self.attention(self.layer_norm(x), attention_mask=attention_mask)[0])
        if exact is None:
            x = x + attended
            return x + self.feed_forward(self.final_layer_norm(x))
        x, exact = _Sum.apply(x, exact, attended)
        return _Sum.apply(x, exact, self.feed_forward(self.final_layer_norm(x)))


# x + y, rounded from exact + y; the gradient is that of x + y, in bfloat16, so that nothing is stored for it. Rounding all
# 48 sums of XLS-R 300M would raise the error of its output from 1.1 to 1.5 %.
class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, exact: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # ``x`` is an input only for its gradient; ``exact``, float32, has none.
        exact = exact + y
        ctx.mark_non_differentiable(exact)
        ctx.set_materialize_grads(False)  # no zeros for ``exact``
        return exact.to(x.dtype), exact

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, None, Tensor | None]:
        return gradient, None, gradient
