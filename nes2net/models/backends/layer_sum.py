"""The common start of ``asp_cosine`` and ``ensemble``.

J. M. Martín-Doñas, A. Álvarez, "The Vicomtech audio deepfake detection system based on wav2vec2 for
the 2022 ADD challenge", ICASSP 2022 (arXiv 2203.01573); parameter names come from the published
code of E. Rosello et al., Interspeech 2024.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.models.backends.base import Backend, HiddenStates

LayerWeights = Literal["sum", "softmax", "plain"]
"""How the weights of the layers are normalised: divided by their sum, by a softmax, or not at all."""


class LayerSum(Backend):
    """The first layers of ``asp_cosine`` and ``ensemble``: hidden states B×T×``feature_dim`` → B×T×``projection_dim``.

    1. Each layer of each utterance is normalised over time and features together, to mean 0 and
       (biased) variance 1, in at least float32.
    2. The layers, without the input of the first, are multiplied by learned weights and added up.
    3. A linear layer, batch normalisation over the whole map, and SELU follow.

    Args:
        num_layers: L, number of layers of the front-end, which gives L + 1 hidden states.
    """

    wants_layers = "all"

    def __init__(self, feature_dim: int, num_layers: int, projection_dim: int, layer_weights: LayerWeights) -> None:
        super().__init__(feature_dim)
        self.num_states = num_layers + 1
        self._normalisation = layer_weights
        # A softmax of zeros gives all layers the same weight at first.
        draw_weights = torch.zeros if layer_weights == "softmax" else torch.rand
        # The published name.
        self.pesos_capas_W2V = nn.Parameter(draw_weights(1, num_layers, 1, 1))
        self.LL = nn.Linear(feature_dim, projection_dim)
        self.first_bn = nn.BatchNorm2d(1)

    def project_layer_sum(self, hidden_states: HiddenStates) -> Tensor:
        """Map at least L + 1 ``hidden_states`` B×T×D to B×T×``projection_dim``."""
        self.check_hidden_states(hidden_states)
        weights = self.normalised_weights()
        total = torch.zeros_like(hidden_states[0], dtype=weights.dtype)
        with without_autocast(total.device):
            for weight, state in zip(weights, hidden_states[1 : self.num_states]):
                x = at_least_float32(state)
                variance, mean = torch.var_mean(x, dim=(1, 2), correction=0, keepdim=True)
                total = total + weight * ((x - mean) * torch.rsqrt(variance + 1e-5))  # instance norm over T and D
        x = self.LL(total.to(self.LL.weight.dtype))
        return F.selu(self.first_bn(x.unsqueeze(1))).squeeze(1)

    def layer_weights(self, hidden_states: HiddenStates) -> Tensor:
        # B×(number of states): the first state, and those after the last layer, have the weight
        # 0.
        weights = F.pad(self.normalised_weights(), (1, len(hidden_states) - self.num_states))
        return weights.expand(len(hidden_states[0]), -1)

    def normalised_weights(self) -> Tensor:
        """Compute the weights (L,) of the layers, in at least float32."""
        weights = at_least_float32(self.pesos_capas_W2V).flatten()
        if self._normalisation == "softmax":
            return torch.softmax(weights, dim=0)
        if self._normalisation == "sum":
            return weights / weights.sum()
        return weights
