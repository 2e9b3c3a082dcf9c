"""Aggregation: the hidden states of a front-end's layers (L tensors B×T×D) become one feature map B×T×D.

Each class takes ``(num_layers, feature_dim)`` and says by ``wants_layers`` whether the front-end must give ``"all"`` layers or
only the ``"last"``. Layers are added up one at a time: an L×B×T×D copy of the hidden states is never made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.errors import InputError


def gated_sum(hidden_states: Sequence[Tensor], gates: Iterable[Tensor]) -> Tensor:
    """Σ gate·layer over L layers B×T×D; a gate is one number (no axes) or one per utterance (B×1×1)."""
    total: Tensor | None = None
    for layer, gate in zip(hidden_states, gates):
        total = layer * gate if total is None else torch.addcmul(total, layer, gate)
    return total


class Last(nn.Module):
    """The last hidden state alone (after the final layer norm), as with XLS-R and in the ASVspoof 5 recipe.

    >>> states = [torch.zeros(2, 5, 16), torch.ones(2, 5, 16)]
    >>> Last(2, 16)(states) is states[-1]
    True
    """

    wants_layers = "last"

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        return hidden_states[-1]


class _AllLayers(nn.Module):
    wants_layers = "all"

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.feature_dim = feature_dim

    def check(self, hidden_states: Sequence[Tensor]) -> None:
        if len(hidden_states) != self.num_layers:
            raise InputError(
                f"this aggregation was built for {self.num_layers} layers, got {len(hidden_states)}; "
                "ask the front-end for layers='all' and build with its num_layers"
            )
        if hidden_states[0].shape[-1] != self.feature_dim:
            raise InputError(
                f"this aggregation was built for feature_dim {self.feature_dim}, got hidden states of "
                f"{hidden_states[0].shape[-1]}; build it with the front-end's out_dim"
            )


class WeightedSum(_AllLayers):
    """Σ softmax(``weight_hidd``)_l · h_l, with one learned number per layer, at first all equal.

    >>> WeightedSum(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        self.weight_hidd = nn.Parameter(torch.ones(num_layers))

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check(hidden_states)
        return gated_sum(hidden_states, torch.softmax(self.weight_hidd, dim=0).unbind())


class SqueezeExcitationAggregation(_AllLayers):
    """SEA: a gate per layer and utterance from the layers' means over time and channels, then the sum of the gated layers.

    >>> SqueezeExcitationAggregation(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        if num_layers < 3:
            raise InputError(f"aggregation 'sea' squeezes the layers to a third and needs at least 3, got {num_layers}")
        self.fc_att_merge = nn.Sequential(
            nn.Linear(num_layers, num_layers // 3, bias=False),
            nn.ReLU(),
            nn.Linear(num_layers // 3, num_layers, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check(hidden_states)
        means = torch.stack([layer.mean(dim=(1, 2)) for layer in hidden_states], dim=1)  # B×L
        return gated_sum(hidden_states, self.fc_att_merge(means)[:, :, None, None].unbind(dim=1))


class AttentiveMerging(_AllLayers):
    """AttM: a gate per layer and utterance from the layers' means over time; the gated layers are merged by one linear map.

    Pan et al., "Attentive merging of hidden embeddings from pre-trained speech model for anti-spoofing detection", Interspeech 2024.
    The published map D·L → D reads the layers interleaved, channel d of layer l at d·L + l. It is a sum of L maps
    D → D, and is computed as that, so that the interleaved copy is not needed.

    >>> AttentiveMerging(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        if num_layers < 2:
            raise InputError(f"aggregation 'attm' squeezes the layers to a half and needs at least 2, got {num_layers}")
        self.W = nn.Parameter(torch.empty(feature_dim, 1))
        self.W1 = nn.Parameter(torch.empty(num_layers, num_layers // 2))
        self.W2 = nn.Parameter(torch.empty(num_layers // 2, num_layers))
        for weight in (self.W, self.W1, self.W2):  # as nn.Linear does; they are stored in × out
            bound = 1 / math.sqrt(weight.shape[0])
            nn.init.uniform_(weight, -bound, bound)
        self.linear_proj = nn.Linear(feature_dim * num_layers, feature_dim)

    def gates(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """One number in (0, 1) per utterance and layer, B×L."""
        means = torch.stack([layer.mean(dim=1) for layer in hidden_states], dim=1)  # B×L×D
        scores = F.silu(means @ self.W).squeeze(2)
        return torch.sigmoid(F.silu(scores @ self.W1) @ self.W2)

    def maps(self) -> Tensor:
        """The linear map sorted by layer, L×D×D: read layer by layer where it lies, every read would touch all of it."""
        return self.linear_proj.weight.unflatten(1, (self.feature_dim, self.num_layers)).movedim(2, 0).contiguous()

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check(hidden_states)
        gates = self.gates(hidden_states)[:, :, None, None].unbind(dim=1)
        merged = self.linear_proj.bias
        for layer, gate, weight in zip(hidden_states, gates, self.maps().unbind()):
            merged = merged + F.linear(layer * gate, weight)
        return merged
