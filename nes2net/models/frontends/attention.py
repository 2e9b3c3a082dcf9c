"""Scaled dot-product attention that is fast for a few seconds of speech on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_SHORT = 512  # largest T for whole T×T matrices of weights; larger matrices take much memory


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Compute scaled dot-product attention; ``query``, ``key``, ``value`` and the output are B×H×T×D/H.

    For few frames in bfloat16 on the CPU, without gradients, whole T×T matrices of weights take two
    thirds of the time of PyTorch's kernel, which computes blocks (``scripts/bench scoring``).

    Args:
        bias: …×T×T, added to the attention scores before the softmax.

    >>> query, key, value = torch.randn(3, 1, 2, 50, 8, dtype=torch.bfloat16)
    >>> bias = torch.randn(1, 2, 50, 50, dtype=torch.bfloat16)
    >>> exact = functional.scaled_dot_product_attention(query.double(), key.double(), value.double(), bias.double())
    >>> with torch.no_grad():
    ...     bool((attend(query, key, value, bias) - exact).abs().max() < 0.05)
    True
    """
    whole_matrices = (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and query.shape[2] <= _SHORT
        and not dropout
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )
    if not whole_matrices:
        return functional.scaled_dot_product_attention(query, key, value, bias, dropout_p=dropout)
    # Join the axes of batch and heads. Then softmax(query · keyᵀ · scale + bias) · value takes two batched products.
    queries, keys, values = (x.flatten(0, 1) for x in (query, key, value))
    scale = query.shape[3] ** -0.5
    if bias is None:
        weights = torch.baddbmm(query.new_zeros(1), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    else:
        biases = bias.expand(*query.shape[:3], -1).flatten(0, 1)
        weights = torch.baddbmm(biases, queries, keys.transpose(1, 2), alpha=scale)
    return torch.bmm(weights.softmax(-1), values).view(query.shape)


def for_transformers(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, dropout: float = 0.0, **_: Any
) -> tuple[Tensor, None]:
    """Call :func:`attend` for the transformers library: return the output B×T×H×D/H, and None for the weights.

    ``mask`` is added to the attention scores.
    """
    return attend(query, key, value, mask, dropout).transpose(1, 2), None
