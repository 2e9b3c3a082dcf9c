"""Self-attention with relative positions: WavLM's gated bias, and w2v-BERT 2.0's embeddings of distances."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nes2net.models.frontends.attention import attend


class GatedRelativeAttention(nn.Module):
    """Self-attention with a bias per distance, gated by the query: B×T×D → B×T×D.

    S. Chen et al., "WavLM", arXiv 2110.13900, Sec. III-A. It computes with torch's
    scaled-dot-product attention.

    It replaces ``WavLMAttention`` of the transformers library in a layer and keeps that module's
    parameters and their names. The library has only the eager form, which computes the H×T×T
    weights and averages them over the heads. There is no padding mask.

    Args:
        attention: the library's module. In the first layer it also holds ``rel_attn_embed``, whose
            bias all layers share.
    """

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    out_proj: nn.Linear
    gru_rel_pos_linear: nn.Linear
    gru_rel_pos_const: nn.Parameter
    rel_attn_embed: nn.Embedding
    num_heads: int
    num_buckets: int
    max_distance: int
    dropout: float

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.dropout = attention.dropout
        self.num_buckets = attention.num_buckets
        self.max_distance = attention.max_distance
        for name, module in attention.named_children():
            self.add_module(name, module)
        self.gru_rel_pos_const = attention.gru_rel_pos_const

    def position_bias(self, frames: int) -> Tensor:
        """Bias 1×H×T×T of T ``frames``, before the gate; only for the module with the embedding."""
        position = torch.arange(frames, device=self.rel_attn_embed.weight.device)
        buckets = relative_position_bucket(position - position[:, None], self.num_buckets, self.max_distance)
        return self.rel_attn_embed(buckets).permute(2, 0, 1).contiguous()[None]  # T×T×H → 1×H×T×T

    def forward(
        self, hidden_states: Tensor, position_bias: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None, Tensor]:
        """Attend over ``hidden_states`` B×T×D.

        Returns:
            The outputs that the library's layers expect: B×T×D, None in place of the attention
            weights, and the bias 1×H×T×T.
        """
        if position_bias is None:  # the library's own encoder lets its first layer make it
            position_bias = self.position_bias(hidden_states.shape[1])
        query, key, value = (self._heads(proj(hidden_states)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        bias = self.gated_bias(hidden_states, position_bias)
        dropout = self.dropout if self.training else 0.0
        out = attend(query, key, value, bias.to(query.dtype), dropout)
        return self.out_proj(out.transpose(1, 2).flatten(2)), None, position_bias

    def gated_bias(self, hidden_states: Tensor, position_bias: Tensor) -> Tensor:
        """Bias B×H×T×T of the attention over ``hidden_states`` B×T×D."""
        # Each of the two gates is the sum of four outputs of a linear layer: it is computed with summed weights.
        weight, bias = (p.unflatten(0, (2, 4)).sum(1) for p in self.gru_rel_pos_linear.parameters())
        heads = self._heads(hidden_states)
        update, reset = functional.linear(heads, weight, bias).sigmoid().chunk(2, dim=-1)  # B×H×T×1 each
        return (update * (reset * self.gru_rel_pos_const - 1) + 2) * position_bias

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # B×T×D → B×H×T×D/H


def relative_position_bucket(distance: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Bucket of each ``distance`` (key − query, in frames); one half of the buckets for each sign.

    In each half, the first half of the buckets holds one distance each. The others grow
    logarithmically up to ``max_distance``, and all further distances share the last bucket.

    >>> relative_position_bucket(torch.tensor([0, -1, -79, -80, -5000, 1, 5000]), 320, 800).tolist()
    [0, 1, 79, 80, 159, 161, 319]
    """
    half = num_buckets // 2
    exact = half // 2
    size = distance.abs()
    logarithmic = torch.log(size.clamp(min=exact).float() / exact) / math.log(max_distance / exact) * (half - exact)
    bucket = torch.where(size < exact, size, (exact + logarithmic).long().clamp(max=half - 1))
    return bucket + (distance > 0) * half


class RelativeKeyAttention(nn.Module):
    """Self-attention whose keys get an embedding of their distance from the query: B×T×D → B×T×D.

    P. Shaw, J. Uszkoreit, A. Vaswani, "Self-attention with relative position representations"
    (NAACL 2018), Sec. 3.2, for keys alone.

    It replaces ``Wav2Vec2BertSelfAttention`` of the transformers library in a layer and keeps that
    module's parameters and their names. The library looks up an embedding for each pair of frames,
    T×T×D/H numbers. Here each query is multiplied by the few embeddings, and the products are
    looked up. There is no padding mask.

    Args:
        attention: the library's module.
    """

    linear_q: nn.Linear
    linear_k: nn.Linear
    linear_v: nn.Linear
    linear_out: nn.Linear
    dropout: nn.Dropout
    distance_embedding: nn.Embedding

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.left = attention.left_max_position_embeddings
        self.right = attention.right_max_position_embeddings
        for name, module in attention.named_children():
            self.add_module(name, module)

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        """Attend over ``hidden_states`` B×T×D; return None instead of the weights, which no layer reads."""
        projections = (self.linear_q, self.linear_k, self.linear_v)
        query, key, value = (
            projection(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for projection in projections
        )  # B×H×T×D/H
        dropout = self.dropout.p if self.training else 0.0
        out = attend(query, key, value, self.position_bias(query), dropout)
        return self.linear_out(out.transpose(1, 2).flatten(2)), None

    def position_bias(self, query: Tensor) -> Tensor:
        """Bias B×H×T×T of the attention of ``query`` B×H×T×D/H."""
        products = query @ self.distance_embedding.weight.T.to(query.dtype) * query.shape[-1] ** -0.5
        position = torch.arange(query.shape[2], device=query.device)
        distance = (position - position[:, None]).clamp(-self.left, self.right) + self.left  # query×key
        return products.gather(3, distance.expand(*query.shape[:2], -1, -1))
