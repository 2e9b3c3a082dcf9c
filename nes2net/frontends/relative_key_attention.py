"""w2v-BERT 2.0's self-attention with embeddings of relative positions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class RelativeKeyAttention(nn.Module):
    """Self-attention whose keys get an embedding of their distance from the query: B×T×D → B×T×D.

    P. Shaw, J. Uszkoreit, A. Vaswani, "Self-attention with relative position representations"
    (NAACL 2018), Sec. 3.2, for keys alone.

    It replaces ``Wav2Vec2BertSelfAttention`` of the transformers library in a layer and keeps that
    module's parameters and their names. The library looks up an embedding for each pair of frames,
    T×T×D/H numbers. Here each query is multiplied by the few embeddings that there are, and the
    products are looked up. There is no padding mask.

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
        """Attend over ``hidden_states`` B×T×D; None stands for the weights, which no layer reads."""
        projections = (self.linear_q, self.linear_k, self.linear_v)
        query, key, value = (
            projection(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for projection in projections
        )  # B×H×T×D/H
        dropout = self.dropout.p if self.training else 0.0
        out = functional.scaled_dot_product_attention(query, key, value, self.position_bias(query), dropout_p=dropout)
        return self.linear_out(out.transpose(1, 2).flatten(2)), None

    def position_bias(self, query: Tensor) -> Tensor:
        """Bias B×H×T×T of the attention of ``query`` B×H×T×D/H."""
        products = query @ self.distance_embedding.weight.T.to(query.dtype) * query.shape[-1] ** -0.5
        position = torch.arange(query.shape[2], device=query.device)
        distance = (position - position[:, None]).clamp(-self.left, self.right) + self.left  # query×key
        return products.gather(3, distance.expand(*query.shape[:2], -1, -1))
