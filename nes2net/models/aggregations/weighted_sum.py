"""A weighted sum of the layers, as in SUPERB."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nes2net.models.aggregations.base import Aggregation, gated_sum


class WeightedSum(Aggregation):
    """A weighted sum of the layers with learned weights, as in SUPERB.

    Σ_l softmax(``weight_hidd``)_l · h_l, with one learned number per layer.

    >>> WeightedSum(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    source = 'Yang et al., "SUPERB: speech processing universal performance benchmark", Interspeech 2021.'
    uses_all_weights = True

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        self.weight_hidd = nn.Parameter(torch.ones(num_layers))

    def layer_weights(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Compute the softmax of the learned numbers, the same for each of B utterances: B×L."""
        return torch.softmax(self.weight_hidd, dim=0).expand(len(hidden_states[0]), -1)

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check_hidden_states(hidden_states)
        return gated_sum(hidden_states, torch.softmax(self.weight_hidd, dim=0).unbind())
