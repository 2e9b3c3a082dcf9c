"""AttM: attentive merging of the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.models.aggregations.base import Aggregation, gates_of_layers


class AttentiveMerging(Aggregation):
    """AttM: attentive merging of the layers into one feature map.

    Each layer is multiplied by a gate, and one linear map merges the layers. The published map L·D
    → D reads channel d of layer l as its input d·L + l; here it is a sum of L maps D → D, which
    needs no interleaved copy.

    >>> AttentiveMerging(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    source = (
        'Pan et al., "Attentive merging of hidden embeddings from pre-trained speech model for anti-spoofing '
        'detection", Interspeech 2024.'
    )
    uses_all_weights = True

    min_layers = 2  # the gates' hidden layer has L // 2 units

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        # Published checkpoints have these names. min_layers keeps L // 2 above 0.
        self.W = nn.Parameter(torch.empty(feature_dim, 1))
        self.W1 = nn.Parameter(torch.empty(num_layers, num_layers // 2))
        self.W2 = nn.Parameter(torch.empty(num_layers // 2, num_layers))
        for weight in (self.W, self.W1, self.W2):  # initial values as in nn.Linear; the shape is inputs × outputs
            bound = 1 / math.sqrt(weight.shape[0])
            nn.init.uniform_(weight, -bound, bound)
        self.linear_proj = nn.Linear(feature_dim * num_layers, feature_dim)

    def layer_weights(self, hidden_states: Sequence[Tensor]) -> Tensor:
        means = torch.stack([layer.mean(dim=1) for layer in hidden_states], dim=1)  # B×L×D
        scores = F.silu(means @ self.W).squeeze(2)  # B×L
        return torch.sigmoid(F.silu(scores @ self.W1) @ self.W2)  # B×L

    def layer_maps(self) -> Tensor:
        """Split the weight of the linear map by layers: L×D×D, a contiguous copy."""
        return (
            self.linear_proj.weight.unflatten(1, (self.feature_dim, self.num_layers)).movedim(2, 0).contiguous()
        )  # index d·L + l

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check_hidden_states(hidden_states)
        gates = gates_of_layers(self.layer_weights(hidden_states))
        # The linear map of all layers, layer by layer, to save a tensor B×T×D·L.
        merged: Tensor = self.linear_proj.bias
        for layer, gate, weight in zip(hidden_states, gates, self.layer_maps().unbind()):
            merged = merged + F.linear(layer * gate, weight)
        return merged
