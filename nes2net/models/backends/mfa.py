"""MFA: attentive statistics pooling over time and layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Size, at_most_states
from nes2net.models.backends.base import Backend, HiddenStates, LogitLayer
from nes2net.models.backends.pooling import AttentiveStatisticsPooling, Pooling


class AttentionWeights(nn.Module):
    """Attention weights of frames, B×T×D → B×T×1, with the sum 1 over time."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.lin_proj = nn.Linear(feature_dim, feature_dim)
        self.v = nn.Parameter(torch.rand(feature_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Compute softmax over time of tanh(v·(W x + b)) for ``x`` B×T×D."""
        return torch.softmax(torch.tanh(self.lin_proj(x) @ self.v), dim=1).unsqueeze(2)


class ThirdPartyPooling(Pooling):
    """Attentive pooling as in the public code of other authors: B×D×T → B×2D.

    The weighted mean μ is divided by T, although the weights w add up to 1. The second half is not
    the standard deviation, but Σ w·x² − (μ/T)².
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.out_dim = 2 * feature_dim
        self.attention = AttentionWeights(feature_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # B×T×D
        weights = self.attention(x)  # B×T×1
        mean = (weights * x).mean(dim=1)  # μ/T, B×D, as in that code
        second = (weights * x.square()).sum(dim=1) - mean.square()
        return torch.cat([mean, second], dim=1)


class MultiFusion(nn.Module):
    """L tensors B×T×D → B×D: pool each layer over time, then pool over the layers."""

    def __init__(self, poolings: Sequence[Pooling], feature_dim: int) -> None:
        super().__init__()
        *over_time, over_layers = poolings
        self.t_asp = nn.ModuleList(over_time)
        self.l_asp = over_layers
        self.lin_proj1 = nn.Linear(2 * feature_dim, feature_dim)
        self.lin_proj2 = nn.Linear(2 * feature_dim, feature_dim)
        self.batch_norm = nn.BatchNorm1d(feature_dim)

    def forward(self, layers: HiddenStates) -> Tensor:
        pooled = [pool(layer.transpose(1, 2)) for pool, layer in zip(self.t_asp, layers)]  # L tensors B×2D
        over_layers = self.l_asp(self.lin_proj1(torch.stack(pooled, dim=1)).transpose(1, 2))  # B×L×D → B×2D
        return self.batch_norm(self.lin_proj2(over_layers))


class MFA(Backend):
    """MFA: attentive statistics pooling over time in each layer, then over the layers.

    Hidden states, at least L + 1 tensors B×T×``feature_dim`` → logits B×``num_logits``. The
    published system fine-tunes WavLM-Large; its code is not public. Assumptions of the ``paper``
    variant: mean and standard deviation with a bottleneck of 128
    (:class:`~nes2net.models.backends.pooling.AttentiveStatisticsPooling`); hidden states 1 to L; a
    linear map 2D → D after the pooling over time, the same for all layers, and another after the
    pooling over layers.

    The ``third_party`` variant equals public code of other authors: hidden states 0 to L − 1 and
    :class:`ThirdPartyPooling`.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_layers: L, number of layers that are read.
        variant: ``paper`` or ``third_party``.
        bottleneck_dim: hidden size of the attention in the ``paper`` variant.
        num_logits: n.

    >>> MFA(feature_dim=16, num_layers=4)([torch.randn(2, 50, 16)] * 5).shape
    torch.Size([2, 2])
    """

    source = (
        'Y. Guo, H. Huang, X. Chen, H. Zhao, Y. Wang, "Audio deepfake detection with self-supervised WavLM '
        'and multi-fusion attentive classifier", ICASSP 2024, arXiv 2312.08089.'
    )
    wants_layers = "all"
    last_layer_name = "fc"

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        num_layers: Annotated[int, Field(ge=1, le=128), at_most_states(unread=1)] = 24,
        variant: Literal["paper", "third_party"] = "paper",
        bottleneck_dim: Size = 128,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.first = 1 if variant == "paper" else 0
        self.num_states = self.first + num_layers
        poolings: list[Pooling] = []
        for _ in range(num_layers + 1):  # one pooling for each layer, and one over the layers
            if variant == "paper":
                poolings.append(AttentiveStatisticsPooling(feature_dim, bottleneck_dim))
            else:
                poolings.append(ThirdPartyPooling(feature_dim))
        self.MFA = MultiFusion(poolings, feature_dim)
        self.fc = LogitLayer(feature_dim, num_logits)

    def embed(self, hidden_states: HiddenStates) -> Tensor:
        self.check_hidden_states(hidden_states)
        return self.MFA(list(hidden_states)[self.first : self.num_states])  # B×E
