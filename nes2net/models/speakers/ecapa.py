"""SpeechBrain's encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nes2net.models.speakers.network import NetworkEncoder, mel_decibels

_NUM_BANDS = 80
_CHANNELS = 1024
_SCALE = 8  # number of groups of channels in a block
_DIMENSION = 192
# Pattern of the published name of a tensor → the name here.
_NAMES = {
    r"res2net_block\.blocks": "groups",
    r"se_block\.conv1\.conv": "gates.0",
    r"se_block\.conv2\.conv": "gates.2",
    r"^asp\.tdnn": "asp.0",
    r"^asp\.conv\.conv": "asp.2",
    r"^asp_bn\.norm": "asp_bn",
    r"^fc\.conv": "fc",
    r"\.conv\.conv": ".0",
    r"\.norm\.norm": ".2",
}


def _frame_layer(in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv1d(
        in_channels, out_channels, kernel_size, dilation=dilation, padding="same", padding_mode="reflect"
    )
    return nn.Sequential(convolution, nn.ReLU(), nn.BatchNorm1d(out_channels))


def _statistics(x: Tensor, weights: Tensor) -> Tensor:
    """Compute weighted means and standard deviations over time: B×D×T → B×2D×1."""
    mean = (weights * x).sum(2, keepdim=True)
    variance = (weights * (x - mean).square()).sum(2, keepdim=True)
    return torch.cat([mean, variance.clamp_min(1e-12).sqrt()], dim=1)


class EcapaBlock(nn.Module):
    """Groups of channels, each added to the next but the first, and squeeze-excitation: B×C×T → B×C×T."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        width = _CHANNELS // _SCALE
        self.tdnn1 = _frame_layer(_CHANNELS, _CHANNELS)
        self.groups = nn.ModuleList(_frame_layer(width, width, 3, dilation) for _ in range(_SCALE - 1))
        self.tdnn2 = _frame_layer(_CHANNELS, _CHANNELS)
        self.gates = nn.Sequential(nn.Conv1d(_CHANNELS, 128, 1), nn.ReLU(), nn.Conv1d(128, _CHANNELS, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        first, *splits = self.tdnn1(x).chunk(_SCALE, dim=1)
        outputs = [first]
        previous = torch.zeros_like(first)
        for split, layer in zip(splits, self.groups):
            previous = layer(split + previous)
            outputs.append(previous)
        y = self.tdnn2(torch.cat(outputs, dim=1))
        return x + y * self.gates(y.mean(2, keepdim=True))


class EcapaNetwork(nn.Module):
    """Waveform (N,) → vector (192,)."""

    def __init__(self) -> None:
        super().__init__()
        joined = 3 * _CHANNELS
        blocks = [EcapaBlock(dilation) for dilation in (2, 3, 4)]
        self.blocks = nn.Sequential(_frame_layer(_NUM_BANDS, _CHANNELS, 5), *blocks)
        self.mfa = _frame_layer(joined, joined)
        self.asp = nn.Sequential(_frame_layer(3 * joined, 128), nn.Tanh(), nn.Conv1d(128, joined, 1))
        self.asp_bn = nn.BatchNorm1d(2 * joined)
        self.fc = nn.Conv1d(2 * joined, _DIMENSION, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        decibels = mel_decibels(waveform, _NUM_BANDS)
        x = (decibels - decibels.mean(0)).T[None]  # 1×80×T
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = self.mfa(torch.cat(outputs[1:], dim=1))
        context = _statistics(x, torch.full_like(x, 1 / x.shape[2])).expand(-1, -1, x.shape[2])
        weights = self.asp(torch.cat([x, context], dim=1)).softmax(2)
        return self.fc(self.asp_bn(_statistics(x, weights))).flatten()


class Ecapa(NetworkEncoder):
    """ECAPA-TDNN of SpeechBrain.

    Args:
        checkpoint: its ``embedding_model.ckpt``, or its name on the hub; None for the published one.
        device: where the network computes.
    """

    source = 'B. Desplanques et al., "ECAPA-TDNN", Interspeech 2020 (arXiv 2005.07143).'
    name = "ecapa"
    dimension = _DIMENSION
    published = "hub:speechbrain/spkrec-ecapa-voxceleb/embedding_model.ckpt"
    network_class = EcapaNetwork
    names = _NAMES
