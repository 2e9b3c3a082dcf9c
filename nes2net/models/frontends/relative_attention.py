"""Self-attention with relative positions: WavLM's gated bias, and w2v-BERT 2.0's embeddings of distances."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nes2net.models.frontends.attention import attend


class GatedRelativeAttention(nn.Module):
    """Self-attention with a bias that depends on the distance of two frames and is gated by the query: B×T×D → B×T×D.

    S. Chen et al., "WavLM", arXiv 2110.13900, Sec. III-A.

    Replaces ``WavLMAttention`` of the transformers library by the faster scaled dot-product
    attention, with the same parameters, without a padding mask.

    Args:
        attention: the library's module; that of the first layer contains ``rel_attn_embed``, the
            position bias that all layers share.
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
        # Take over the layers and parameters of ``attention`` under the same names.
        for name, module in attention.named_children():
            self.add_module(name, module)
        self.gru_rel_pos_const = attention.gru_rel_pos_const

    def position_bias(self, frames: int) -> Tensor:
        """Compute the position bias 1×H×T×T, before gating; only the first layer's module can."""
        position = torch.arange(frames, device=self.rel_attn_embed.weight.device)
        buckets = relative_position_bucket(position - position[:, None], self.num_buckets, self.max_distance)
        return self.rel_attn_embed(buckets).permute(2, 0, 1).contiguous()[None]  # T×T×H → 1×H×T×T

    def forward(
        self, hidden_states: Tensor, position_bias: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None, Tensor]:
        """Attend over ``hidden_states`` B×T×D; the first layer computes the position bias for all.

        Returns:
            The output B×T×D, None, and the position bias 1×H×T×T before gating.
        """
        if position_bias is None:  # the library's own encoder passes no bias to the first layer
            position_bias = self.position_bias(hidden_states.shape[1])
        query, key, value = (self._heads(proj(hidden_states)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        bias = self.gated_bias(hidden_states, position_bias)
        dropout = self.dropout if self.training else 0.0
        out = attend(query, key, value, bias.to(query.dtype), dropout)
        return self.out_proj(out.transpose(1, 2).flatten(2)), None, position_bias

    def gated_bias(self, hidden_states: Tensor, position_bias: Tensor) -> Tensor:
        """Multiply ``position_bias`` 1×H×T×T by the queries' gates: B×H×T×T."""
        # A gate is the sum of four outputs of a linear layer: add up their weights first.
        weight, bias = (p.unflatten(0, (2, 4)).sum(1) for p in self.gru_rel_pos_linear.parameters())
        heads = self._heads(hidden_states)
        update, reset = functional.linear(heads, weight, bias).sigmoid().chunk(2, dim=-1)  # B×H×T×1 each
        return (update * (reset * self.gru_rel_pos_const - 1) + 2) * position_bias  # as in WavLM's code

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # B×T×D → B×H×T×D/H


def relative_position_bucket(distance: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Return the bucket, 0 to ``num_buckets`` − 1, of each ``distance`` (key − query, in frames), as in T5.

    Half of the buckets are for keys after the query. In each half, buckets hold one distance each
    at first, then grow logarithmically up to ``max_distance``; larger distances share the last.

    >>> relative_position_bucket(torch.tensor([0, -1, -79, -80, -5000, 1, 5000]), 320, 800).tolist()
    [0, 1, 79, 80, 159, 161, 319]
    """
    half = num_buckets // 2
    exact = half // 2  # number of buckets that hold one distance each
    size = distance.abs()
    logarithmic = torch.log(size.clamp(min=exact).float() / exact) / math.log(max_distance / exact) * (half - exact)
    bucket = torch.where(size < exact, size, (exact + logarithmic).long().clamp(max=half - 1))
    return bucket + (distance > 0) * half


class RelativeKeyAttention(nn.Module):
    """Self-attention that adds to each key an embedding of its distance from the query: B×T×D → B×T×D.

    P. Shaw, J. Uszkoreit, A. Vaswani, "Self-attention with relative position representations"
    (NAACL 2018), Sec. 3.2, only for keys, not for values.

    Replaces ``Wav2Vec2BertSelfAttention`` of the transformers library, with the same parameters,
    without a padding mask. Queries are multiplied by the embeddings of the few distances, instead
    of T×T×D/H numbers.
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
        # Take over the layers of ``attention`` under the same names.
        for name, module in attention.named_children():
            self.add_module(name, module)

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        """Attend over ``hidden_states`` B×T×D; return the output B×T×D and None for the weights."""
        projections = (self.linear_q, self.linear_k, self.linear_v)
        query, key, value = (
            projection(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for projection in projections
        )  # B×H×T×D/H
        dropout = self.dropout.p if self.training else 0.0
        out = attend(query, key, value, self.position_bias(query), dropout)
        return self.linear_out(out.transpose(1, 2).flatten(2)), None

    def position_bias(self, query: Tensor) -> Tensor:
        """Compute the bias B×H×T×T: scaled products of ``query`` B×H×T×D/H and embeddings of distances."""
        products = query @ self.distance_embedding.weight.T.to(query.dtype) * query.shape[-1] ** -0.5
        position = torch.arange(query.shape[2], device=query.device)
        distance = (position - position[:, None]).clamp(-self.left, self.right) + self.left  # index for query×key
        return products.gather(3, distance.expand(*query.shape[:2], -1, -1))
