"""The back-end of Spectra-0."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Size
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.backends.spectra_aasist import Bridge

_SCALE = 8  # number of groups of channels in a block
_MIN_VARIANCE = 1e-4  # lower limit of variances over time, before the square root


class SqueezeExcitation1d(nn.Module):
    """Multiply each channel by a gate from the means of all channels over time: B×C×T → B×C×T."""

    def __init__(self, channels: int, hidden_dim: int) -> None:
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool1d(1),
            nn.Conv1d(channels, hidden_dim, 1),
            nn.ReLU(),
            nn.Conv1d(hidden_dim, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.se(x)


class EcapaBlock(nn.Module):
    """A Res2Net block of eight groups with squeeze-excitation and a skip, B×C×T → B×C×T."""

    def __init__(self, channels: int, dilation: int, se_dim: int) -> None:
        super().__init__()
        width = channels // _SCALE
        self.conv1 = nn.Conv1d(channels, width * _SCALE, 1)
        self.bn1 = nn.BatchNorm1d(width * _SCALE)
        groups = range(_SCALE - 1)  # the last group is not convolved
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in groups)
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in groups)
        self.conv3 = nn.Conv1d(width * _SCALE, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se = SqueezeExcitation1d(channels, se_dim)

    def forward(self, x: Tensor) -> Tensor:
        *groups, last_group = self.bn1(self.conv1(x).relu()).chunk(_SCALE, dim=1)  # each B×C/8×T
        outputs: list[Tensor] = []
        for group, conv, bn in zip(groups, self.convs, self.bns):
            if outputs:
                group = group + outputs[-1]
            outputs.append(bn(conv(group).relu()))
        mixed = torch.cat([*outputs, last_group], dim=1)
        return x + self.se(self.bn3(self.conv3(mixed).relu()))


class EcapaTdnn(nn.Module):
    """The layers after the bridge: frames B×T×R → embeddings B×2M, and the last layer, ``fc6``.

    A convolution and four blocks; each reads the sum of all earlier outputs. Attentive means and
    standard deviations of all outputs are pooled; M is ``mfa_dim``.
    """

    def __init__(
        self, bridge_dim: int, channels: int, mfa_dim: int, attention_dim: int, se_dim: int, num_logits: int
    ) -> None:
        super().__init__()
        # Published checkpoints have these names.
        self.conv1 = nn.Conv1d(bridge_dim, channels, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(channels)
        self.layer1 = EcapaBlock(channels, 2, se_dim)
        self.layer2 = EcapaBlock(channels, 3, se_dim)
        self.layer3 = EcapaBlock(channels, 4, se_dim)
        self.layer4 = EcapaBlock(channels, 5, se_dim)
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
        x = self.bn1(self.conv1(frames.transpose(1, 2)).relu())  # B×C×T
        outputs: list[Tensor] = []
        total = x
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            outputs.append(layer(total))
            total = total + outputs[-1]
        h = self.layer5(torch.cat(outputs, dim=1)).relu()  # B×M×T
        deviation = h.var(dim=2, keepdim=True).clamp_min(_MIN_VARIANCE).sqrt()  # unbiased, B×M×1
        # Each frame, and mean and deviation over time.
        context = torch.cat([h, h.mean(2, keepdim=True).expand_as(h), deviation.expand_as(h)], dim=1)
        weights = self.attention(context)  # B×M×T
        mean = (h * weights).sum(dim=2)
        weighted_deviation = ((h.square() * weights).sum(dim=2) - mean.square()).clamp_min(_MIN_VARIANCE).sqrt()
        return self.bn5(torch.cat([mean, weighted_deviation], dim=1))


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
        channels: Annotated[Size, Field(ge=_SCALE)] = 128,
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
