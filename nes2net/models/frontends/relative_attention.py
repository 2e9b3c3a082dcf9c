"""Self-attention with relative positions: WavLM's gated bias, and w2v-BERT 2.0's embeddings of distances.

A module of the transformers library becomes one of these by its ``__class__``. Importing this takes
seconds, because it imports the library.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from nes2net.models.frontends.attention import attend


class GatedRelativeAttention(WavLMAttention):
    """Self-attention with a bias that depends on the distance of two frames and is gated by the query: B×T×D → B×T×D.

    S. Chen et al., "WavLM", arXiv 2110.13900, Sec. III-A.

    Computes ``WavLMAttention`` of the transformers library by the faster scaled dot-product
    attention, without a padding mask. The first layer's module contains ``rel_attn_embed``, the
    position bias that all layers share.
    """

    def position_bias(self, frames: int) -> Tensor:
        """Compute the position bias 1×H×T×T, before gating; only the first layer's module can."""
        position = torch.arange(frames, device=self.rel_attn_embed.weight.device)
        buckets = self._relative_positions_bucket(position - position[:, None])
        return self.rel_attn_embed(buckets).permute(2, 0, 1).contiguous()[None]  # T×T×H → 1×H×T×T

    def forward(  # type: ignore[override]  # the library's layer gives the other arguments by name
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


class RelativeKeyAttention(Wav2Vec2BertSelfAttention):
    """Self-attention that adds to each key an embedding of its distance from the query: B×T×D → B×T×D.

    P. Shaw, J. Uszkoreit, A. Vaswani, "Self-attention with relative position representations"
    (NAACL 2018), Sec. 3.2, only for keys, not for values.

    Computes ``Wav2Vec2BertSelfAttention`` of the transformers library without a padding mask.
    Queries are multiplied by the embeddings of the few distances, instead of T×T×D/H numbers.
    """

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:  # type: ignore[override]  # as above
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
        left = self.left_max_position_embeddings
        position = torch.arange(query.shape[2], device=query.device)
        distance = (position - position[:, None]).clamp(-left, self.right_max_position_embeddings)
        return products.gather(3, (distance + left).expand(*query.shape[:2], -1, -1))  # index for query×key
