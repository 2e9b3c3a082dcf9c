"""SEA: squeeze-and-excitation aggregation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nes2net.models.aggregations.base import Aggregation, gated_sum, gates_of_layers


class SqueezeExcitationAggregation(Aggregation):
    """SEA: squeeze-and-excitation aggregation, one gate per layer and utterance.

    Squeeze-and-excitation (Hu et al., CVPR 2018) with layers in place of channels: the mean of each
    layer over time and channels passes through two linear layers, L → L/3 → L, and a sigmoid; the
    layers, multiplied by these gates, are added up. Used by the published CtrSVDD systems.

    >>> SqueezeExcitationAggregation(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    source = "Hu et al., CVPR 2018, with layers in place of channels."
    uses_all_weights = True

    min_layers = 3  # the gates' hidden layer has L // 3 units

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        self.fc_att_merge = nn.Sequential(
            nn.Linear(num_layers, num_layers // 3, bias=False),
            nn.ReLU(),
            nn.Linear(num_layers // 3, num_layers, bias=False),
            nn.Sigmoid(),
        )

    def layer_weights(self, hidden_states: Sequence[Tensor]) -> Tensor:
        means = torch.stack([layer.mean(dim=(1, 2)) for layer in hidden_states], dim=1)  # B×L
        return self.fc_att_merge(means)

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check_hidden_states(hidden_states)
        return gated_sum(hidden_states, gates_of_layers(self.layer_weights(hidden_states)))
