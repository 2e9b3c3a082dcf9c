"""AttM + LSTM: attentive merging of the hidden states, one LSTM layer, mean over time.

Z. Pan, T. Liu, H. B. Sailor, Q. Wang, "Attentive merging of hidden embeddings from pre-trained speech model for anti-spoofing
detection", Interspeech 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.aggregations.attm import AttentiveMerging
from nes2net.backends.base import Backend, check_positive
from nes2net.errors import InputError


class SiLU(nn.Module):
    """SiLU, with a linear layer that is never used.

    The published code passes ``nn.Linear`` where SiLU expects its ``inplace`` flag. The layer is in the published checkpoints, is
    kept so that they load and are written back whole, and gets no gradient.
    """

    def __init__(self, unused_dim: int) -> None:
        super().__init__()
        self.inplace = nn.Linear(unused_dim, unused_dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Merging(AttentiveMerging):
    """Attentive merging whose last map is two layers deep: L tensors B×T×D → B×T×D."""

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__(num_layers, feature_dim)
        hidden = num_layers * feature_dim // 4
        self.linear_proj = nn.Sequential(
            nn.Linear(num_layers * feature_dim, hidden), SiLU(hidden), nn.Linear(hidden, feature_dim)
        )

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        self.check_hidden_states(hidden_states)
        gates = self.gates(hidden_states)[:, :, None, None].unbind(dim=1)
        gated = torch.stack([layer * gate for layer, gate in zip(hidden_states, gates)], dim=3)  # B×T×D×L
        return self.linear_proj(gated.flatten(2))


class Decoder(nn.Module):
    """One LSTM layer, the mean of its outputs over time, one linear layer: B×T×D → B×n."""

    def __init__(self, feature_dim: int, lstm_dim: int, num_logits: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, lstm_dim, batch_first=True)
        self.LL = nn.Linear(lstm_dim, num_logits)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.lstm(x)
        return self.LL(outputs.mean(dim=1))


class AttMLSTM(Backend):
    """Hidden states (at least L + 1) × (B×T×``feature_dim``) → logits B×``num_logits``.

    It merges the layers itself (with a map of its own, which is not the ``attm`` aggregation's), so it wants all of them and no
    aggregation before it. State 0, the input of the first layer, is dropped and states 1 to L = ``num_layers`` are merged: the
    outputs of the first L layers, whatever the front-end's depth. 12 of WavLM-Large's 24 layers is the paper's system that
    needs half of the front-end. As in the published code, the last layer is taken before the final layer norm, which
    ``wants_final_norm`` asks of the front-end. ``torch.export`` fixes the number of frames (a limit of ``nn.LSTM``), an ONNX file does not.
    The projection is L·D → L·D/4 → D. There is no whole published checkpoint of this system to compare with; the published
    code's numbers with random weights are reproduced.
    Raises :class:`InputError` where options or input do not fit.

    >>> backend = AttMLSTM(feature_dim=16, num_layers=4)
    >>> backend([torch.randn(2, 50, 16)] * 5).shape
    torch.Size([2, 2])
    """

    wants_layers = "all"
    wants_final_norm = False

    def __init__(
        self, *, feature_dim: int = 1024, num_layers: int = 12, lstm_dim: int = 192, num_logits: int = 2
    ) -> None:
        super().__init__()
        check_positive(feature_dim=feature_dim, num_layers=num_layers, lstm_dim=lstm_dim, num_logits=num_logits)
        if num_layers < 2 or num_layers * feature_dim < 4:
            raise InputError(
                f"attm_lstm needs num_layers of at least 2 and num_layers · feature_dim of at least 4, got {num_layers} and {feature_dim}"
            )
        self.feature_dim = feature_dim
        self.num_layers, self.num_states = num_layers, num_layers + 1
        self.feat_merge = Merging(num_layers, feature_dim)
        self.decoder = Decoder(feature_dim, lstm_dim, num_logits)

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """``hidden_states``: at least ``num_layers`` + 1 tensors B×T×D → B×n."""
        self.check_hidden_states(hidden_states)
        return self.decoder(self.feat_merge(list(hidden_states)[1 : self.num_layers + 1]))
