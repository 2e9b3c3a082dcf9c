"""The back-end of Spectra-0."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Size, Takes
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.backends.nes2net import Res2NetBlock, count_batch
from nes2net.models.backends.pooling import weighted_statistics
from nes2net.models.backends.spectra_aasist import Bridge

_LAYERS = range(1, 5)
_SCALE = 8  # number of groups of channels in a block
_MIN_VARIANCE = 1e-4  # lower limit of variances over time, before the square root


class EcapaTdnn(nn.Module):
    """The layers after the bridge: frames B×T×R → embeddings B×2M, and the last layer, ``fc6``.

    Each of four blocks reads the sum of all earlier outputs; all are pooled.
    """

    def __init__(
        self, bridge_dim: int, channels: int, mfa_dim: int, attention_dim: int, se_dim: int, num_logits: int
    ) -> None:
        super().__init__()
        # Published checkpoints have these names.
        self.conv1 = nn.Conv1d(bridge_dim, channels, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(channels)
        activation = nn.ReLU(inplace=True)
        for number in _LAYERS:
            self.add_module(f"layer{number}", Res2NetBlock(channels, _SCALE, number + 1, activation, se_dim))
        self.layer5 = nn.Conv1d(4 * channels, mfa_dim, 1)
        self.attention = nn.Sequential(
            nn.Conv1d(3 * mfa_dim, attention_dim, 1),
            nn.ReLU(),
            nn.BatchNorm1d(attention_dim),
            nn.Tanh(),
            nn.Conv1d(attention_dim, mfa_dim, 1),
            nn.Softmax(dim=2),
        )
        self.bn5 = nn.BatchNorm1d(2 * mfa_dim)
        self.fc6 = LogitLayer(2 * mfa_dim, num_logits)

    def forward(self, frames: Tensor) -> Tensor:
        if self.training:
            count_batch(self)
        x = self.bn1(self.conv1(frames.transpose(1, 2)).relu()).unsqueeze(2)  # B×C×1×T
        outputs: list[Tensor] = []
        total = x
        for number in _LAYERS:
            outputs.append(self.get_submodule(f"layer{number}")(total))
            total = total + outputs[-1]
        h = self.layer5(torch.cat(outputs, dim=1).squeeze(2)).relu()  # B×M×T
        deviation = h.var(dim=2, keepdim=True).clamp_min(_MIN_VARIANCE).sqrt()  # unbiased, B×M×1
        # Each frame, and mean and deviation over time.
        context = torch.cat([h, h.mean(2, keepdim=True).expand_as(h), deviation.expand_as(h)], dim=1)
        weights = self.attention(context)  # B×M×T
        return self.bn5(weighted_statistics(h, weights, _MIN_VARIANCE))


class SpectraEcapa(Backend):
    """The back-end of Spectra-0: an ECAPA-TDNN in which ReLU comes before batch normalisation.

    Features B×T×``feature_dim`` → logits B×``num_logits``; T is at least 2.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        bridge_dim: R, size of a frame after the bridge.
        channels: C, channels of the four blocks.
        mfa_dim: M, channels of the layer that joins the outputs of the blocks.
        attention_dim: channels of the hidden layer of the attention over time.
        se_dim: channels of the hidden layer of the squeeze-excitation.
        num_logits: n.

    >>> SpectraEcapa(feature_dim=16, bridge_dim=12, channels=16, mfa_dim=24)(torch.zeros(2, 30, 16)).shape
    torch.Size([2, 2])
    """

    source = (
        "Published by lab260 in the hub repository lab260/spectra_0 (2026); there is no paper. ECAPA-TDNN: "
        "Desplanques et al., Interspeech 2020 (arXiv 2005.07143)."
    )
    last_layer_name = "ecapa_tdnn.fc6"
    min_frames = 2  # a single frame has no unbiased variance over time

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        bridge_dim: Size = 128,
        channels: Annotated[Size, Field(multiple_of=_SCALE), Takes("a multiple of 8 up to 65536")] = 128,
        mfa_dim: Size = 1536,
        attention_dim: Size = 256,
        se_dim: Size = 128,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.bridge = Bridge(feature_dim, bridge_dim)
        self.ecapa_tdnn = EcapaTdnn(bridge_dim, channels, mfa_dim, attention_dim, se_dim, num_logits)

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×2·``mfa_dim`` from ``features`` B×T×D."""
        self.check_features(features)
        return self.ecapa_tdnn(self.bridge(features))
