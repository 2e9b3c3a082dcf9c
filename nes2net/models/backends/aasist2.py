"""AASIST2: AASIST with Res2Net blocks."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, PartOption, UpTo64, UpTo1024
from nes2net.models.backends.aasist import Aasist
from nes2net.models.backends.mpif_res2net import ChannelGates, Res2NetLayers
from nes2net.models.registry import create_head


class EncoderBlock(Res2NetLayers):
    """A Res2Net block of 3×3 convolutions with squeeze-excitation and a skip: B×C×F×T → B×C'×F×T.

    Args:
        width: channels of a group.
        scale: number of groups. The first is not convolved; from the third on, the previous output
            is added before the convolution.
        se_ratio: C' divided by the hidden size of the squeeze-excitation.
        first: omit the normalisation of the input.
    """

    activation = staticmethod(F.selu)

    def __init__(
        self, in_channels: int, out_channels: int, width: int, scale: int, se_ratio: int, first: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, width, scale)
        self.bn_in: nn.Module = nn.Identity()
        if not first:
            self.bn_in = nn.Sequential(nn.BatchNorm2d(in_channels), nn.SELU())
        self.se = ChannelGates(out_channels, max(out_channels // se_ratio, 1))
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, *splits = F.selu(self.bn1(self.conv1(self.bn_in(x)))).chunk(self.scale, dim=1)  # B×width×F×T
        y = self.bn3(self.conv3(torch.cat([first, *self.convolve(splits)], dim=1)))
        return self.se(y) + self.skip(x)


class Aasist2(Aasist):
    """AASIST2: AASIST with Res2Net blocks in its encoder and a cosine head.

    Features B×T×D → cosines B×2, trained with additive-margin softmax. No code is published.
    Assumptions: the order of operations in a block, and, from other authors' code, width, scale and
    squeeze-excitation.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        width: channels of each group of a Res2Net block.
        scale: number of groups of a Res2Net block.
        se_ratio: the hidden layer of the squeeze-excitation is this many times narrower than the
            block.
        num_logits: n.
        head: last layer: a name, or a mapping of ``name`` and its options.

    >>> Aasist2()(torch.randn(2, 50, 1024)).shape
    torch.Size([2, 2])
    """

    source = 'Y. Zhang et al., "Improving short utterance anti-spoofing with AASIST2", ICASSP 2024 (arXiv 2309.08279).'

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        width: UpTo1024 = 14,
        scale: Annotated[int, Field(ge=2, le=64)] = 8,
        se_ratio: UpTo64 = 16,
        num_logits: Logits = 2,
        head: PartOption = "cosine",
    ) -> None:
        super().__init__(feature_dim=feature_dim, num_logits=num_logits)
        channels = (1, 32, 32, 64, 64, 64, 64)  # of AASIST's encoder
        self.encoder = nn.Sequential(
            *(
                EncoderBlock(before, after, width, scale, se_ratio, first=index == 0)
                for index, (before, after) in enumerate(pairwise(channels))
            )
        )
        last = create_head(head, self.out_layer.in_features, num_logits)  # in place of Aasist's
        self.replace_last_layer(last)
        self.score_rule = last.score_rule
