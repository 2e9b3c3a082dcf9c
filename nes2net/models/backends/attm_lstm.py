"""AttM + LSTM: attentive merging and an LSTM."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Size, at_most_states
from nes2net.models.aggregations.attm import AttentiveMerging
from nes2net.models.aggregations.base import gates_of_layers
from nes2net.models.backends.base import Backend, HiddenStates, LogitLayer


class SiLU(nn.Module):
    """SiLU, with a linear layer that is never used.

    By mistake, the published code passes an ``nn.Linear`` to SiLU as the flag ``inplace``. The
    layer is in the checkpoints, so it is kept here; it gets no gradient.
    """

    def __init__(self, unused_dim: int) -> None:
        super().__init__()
        self.inplace = nn.Linear(unused_dim, unused_dim)  # in published checkpoints

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Merging(AttentiveMerging):
    """Attentive merging with two linear layers after the gates: L tensors B×T×D → B×T×D."""

    linear_proj: nn.Sequential  # type: ignore[assignment]  # replaces the base class's linear map; the gates stay

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        hidden = num_layers * feature_dim // 4  # as published
        self.linear_proj = nn.Sequential(
            nn.Linear(num_layers * feature_dim, hidden), SiLU(hidden), nn.Linear(hidden, feature_dim)
        )

    def forward(self, hidden_states: HiddenStates) -> Tensor:
        self.check_hidden_states(hidden_states)
        gates = gates_of_layers(self.layer_weights(hidden_states))
        gated = torch.stack([layer * gate for layer, gate in zip(hidden_states, gates)], dim=3)  # B×T×D×L
        return self.linear_proj(gated.flatten(2))  # B×T×D·L → B×T×D


class Decoder(nn.Module):
    """One LSTM layer and the mean of its outputs over time, B×T×D → B×H, and the last layer, ``LL``."""

    def __init__(self, feature_dim: int, lstm_dim: int, num_logits: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, lstm_dim, batch_first=True)
        self.LL = LogitLayer(lstm_dim, num_logits)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.lstm(x)  # B×T×H
        return outputs.mean(dim=1)


class AttMLSTM(Backend):
    """AttM + LSTM: attentive merging of the hidden states, one LSTM layer, mean over time.

    Hidden states, at least L + 1 tensors B×T×``feature_dim`` → logits B×``num_logits``. Two linear
    layers, L·D → L·D/4 → D, follow the gates; the aggregation ``attm`` has only one. States 1 to L
    = ``num_layers``, the outputs of the first L layers, are merged; one of the paper's systems
    merges 12 of WavLM-Large's 24. As published, the last layer's output is read before the final
    layer norm.

    No complete checkpoint is published; with the same random weights, the published code gives the
    same outputs. A graph of ``torch.export`` has a fixed number of frames, because of ``nn.LSTM``;
    an ONNX file does not.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_layers: L, number of layers that are merged.
        lstm_dim: hidden size of the LSTM.
        num_logits: n.

    >>> backend = AttMLSTM(feature_dim=16, num_layers=4)
    >>> backend([torch.randn(2, 50, 16)] * 5).shape
    torch.Size([2, 2])
    """

    source = (
        'Z. Pan, T. Liu, H. B. Sailor, Q. Wang, "Attentive merging of hidden embeddings from pre-trained '
        'speech model for anti-spoofing detection", Interspeech 2024.'
    )
    wants_layers = "all"
    wants_final_norm = False
    last_layer_name = "decoder.LL"
    untrained = r".*\.inplace\..*"  # passed as a flag in the published code

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        num_layers: Annotated[int, Field(ge=2, le=128), at_most_states(unread=1, minimum=2)] = 12,
        lstm_dim: Size = 192,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.num_layers = num_layers
        self.num_states = num_layers + 1
        self.feat_merge = Merging(num_layers, feature_dim)
        self.decoder = Decoder(feature_dim, lstm_dim, num_logits)

    def layer_weights(self, hidden_states: HiddenStates) -> Tensor:
        merged_states = hidden_states[1 : self.num_layers + 1]
        # B×(number of states); those before and after the merged ones have the weight 0.
        return F.pad(self.feat_merge.layer_weights(merged_states), (1, len(hidden_states) - 1 - self.num_layers))

    def embed(self, hidden_states: HiddenStates) -> Tensor:
        """Compute embeddings B×H from ``hidden_states``, at least L + 1 tensors B×T×D."""
        self.check_hidden_states(hidden_states)
        # Omit the first state, the transformer's input.
        return self.decoder(self.feat_merge(list(hidden_states)[1 : self.num_layers + 1]))
