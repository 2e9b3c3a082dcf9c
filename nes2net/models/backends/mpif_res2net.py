"""MPIF-Res2Net: a Res2Net on spectrograms with gated groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import (
    FeatureDim,
    Logits,
    PartOption,
    Takes,
    UpTo64,
    UpTo4096,
    check_at_most,
    odd_or_zero,
)
from nes2net.models.backends.base import Backend
from nes2net.models.registry import create_head

#: Perspective → axes of an image B×C×T×F. The input of the perspective's gate is averaged over these axes.
_POOLED = {"channel": (2, 3), "time": (3,), "frequency": (2,)}
_MAX_NUMBERS = 5 * 10**8  # largest number of elements of a feature map; 479 million with XLS-R 2B and the defaults
_ASSUMED_FRAMES = 600  # number of frames for the check of _MAX_NUMBERS if utterances keep their lengths


Channels = UpTo4096
Blocks = UpTo64
Stages = Field(min_length=1, max_length=8)


class PerspectiveFusion(nn.Module):
    """Fuse a group's split x and the previous output p, both B×C×T×F: g ⊙ x + (1 − g) ⊙ p.

    g is the mean of the perspectives' gates: x + p averaged over the axes in ``_POOLED``, a
    bottleneck of C / ``reduction``, at least 4, units and a sigmoid (Dai et al., WACV 2021). The
    bottleneck has SiLU, because its few units could all die with ReLU.
    """

    def __init__(self, channels: int, perspectives: Sequence[str], reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.gates = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.SiLU(), nn.Conv2d(hidden, channels, 1))
                for name in perspectives
            }
        )

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        both = x + previous
        gates = [
            torch.sigmoid(gate(both.mean(_POOLED[name], keepdim=True))) for name, gate in self.gates.items()
        ]  # axes averaged differ
        return previous + sum(gates) / len(gates) * (x - previous)


class LocalChannelAttention(nn.Module):
    """ECA (Wang et al., CVPR 2020): gates from the means of a channel and its neighbours."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.conv(x.mean((2, 3)).unsqueeze(1))).squeeze(1)  # B×C
        return x * gate[:, :, None, None]


class ChannelGates(nn.Sequential):
    """Squeeze-excitation: multiply B×C×T×F by gates from the means of all channels."""

    def __init__(self, channels: int, hidden: int, bias: bool = True) -> None:
        narrow = nn.Linear(channels, hidden, bias)
        super().__init__(narrow, nn.ReLU(), nn.Linear(hidden, channels, bias), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        gates = super().forward(x.mean((2, 3)))  # B×C
        return x * gates[:, :, None, None]


class Res2NetLayers(nn.Module):
    """The layers of a Res2Net bottleneck for images (Gao et al., TPAMI 2021).

    Args:
        width: channels of a group.
        scale: number of groups; all but one are convolved.
        bias: whether the convolutions have a bias.
    """

    activation = staticmethod(F.relu)

    def __init__(
        self, in_channels: int, out_channels: int, width: int, scale: int, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(in_channels, width * scale, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(width * scale)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, stride, padding=1, bias=bias) for _ in range(scale - 1))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(scale - 1))
        self.conv3 = nn.Conv2d(width * scale, out_channels, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.opens_stage = False
        self.joins: nn.ModuleList | None = None

    def convolve(self, splits: Sequence[Tensor]) -> list[Tensor]:
        """Convolve ``splits`` B×width×T×F, from the second on joined with the previous output."""
        outputs: list[Tensor] = []
        for index, (split, conv, bn) in enumerate(zip(splits, self.convs, self.bns)):
            if outputs and not self.opens_stage:
                join = torch.add if self.joins is None else self.joins[index - 1]  # the first group joins nothing
                split = join(split, outputs[-1])
            outputs.append(self.activation(bn(conv(split))))
        return outputs


class Res2NetBottleneck(Res2NetLayers):
    """A Res2Net bottleneck, B×C×T×F → B×C'×T'×F' (Gao et al., TPAMI 2021).

    The first block of a stage has a ``stride`` (others None) and independent groups (type "stage"),
    because the previous output has a lower resolution than a split; its last group and shortcut are
    average-pooled. Other blocks join a split with the previous output.

    Args:
        joins: modules that join split and previous output, from the second group to the last but
            one; None to add them.
        attention_kernel: channels that the local channel attention reads; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        scale: int,
        stride: int | None,
        joins: Sequence[nn.Module] | None,
        attention_kernel: int,
    ) -> None:
        super().__init__(in_channels, out_channels, width, scale, stride or 1, bias=False)
        self.opens_stage = stride is not None
        if joins:
            self.joins = nn.ModuleList(joins)
        self.attention: nn.Module = nn.Identity()
        if attention_kernel:
            self.attention = LocalChannelAttention(attention_kernel)
        # The first block of a stage reduces the image, so the last group and the shortcut must be
        # pooled.
        self.pool: nn.Module = nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride is not None:
            self.pool = nn.AvgPool2d(3, stride, padding=1)
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        splits = F.relu(self.bn1(self.conv1(x))).chunk(self.scale, dim=1)  # B×width×T×F each
        y = self.bn3(self.conv3(torch.cat([*self.convolve(splits), self.pool(splits[-1])], dim=1)))
        return F.relu(self.attention(y) + self.shortcut(x))


def convolution_stem(channels: int, num_convolutions: int) -> nn.Sequential:
    stem = nn.Sequential()
    for number in range(num_convolutions):
        convolution = nn.Conv2d(channels if number else 1, channels, 3, padding=1, bias=False)
        stem.extend([convolution, nn.BatchNorm2d(channels), nn.ReLU()])
    return stem


class MpifRes2Net(Backend):
    """MPIF-Res2Net: a Res2Net on spectrograms that fuses its groups by gates over channel, time and frequency.

    Features B×T×D → logits B×n. The paper reports 3.29 % EER and 0.2557 min t-DCF on ASVspoof 2021
    LA, without details; nothing could be compared. Assumptions, mostly from the same group's code of
    SR-LA Res2Net with F0 sub-band (Neural Networks 2024):

    1. Input: the F0 sub-band of ``lps``, ``num_bins=45``.
    2. Stem: 3×3 convolutions with BatchNorm and ReLU. Blocks have ``scale`` groups of
       ⌊planes·``base_width``/64⌋ channels. Global average pooling. Kaiming initialisation (fan out)
       outside the gates.
    3. The first block of a stage has independent groups (Res2Net's type "stage"), others
       :class:`PerspectiveFusion`, or as in Res2Net addition.
    4. Blocks end with local channel attention.
    5. ``head``: ``"angular"`` is scored by the difference of the cosine logits, ``"linear"`` (for
       cross-entropy) by the logit of bona fide.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_frames: T, to which utterances are cut or repeated; None for no change of length.
        stem_channels: channels of the convolutions of the stem.
        stem_convolutions: number of the convolutions of the stem.
        planes: planes of each stage, which determine the numbers of channels.
        blocks: number of blocks of each stage.
        strides: stride of each stage.
        expansion: a block has ``expansion``·planes output channels.
        base_width: channels of a group per 64 planes.
        scale: number of groups of a block.
        fusion: fuse the groups through gates; if false, add the groups.
        perspectives: the axes along which the values of gates differ.
        fusion_reduction: the bottleneck of a gate is this many times narrower than the group.
        attention_kernel: number of channels that the local channel attention reads; 0 for none.
        head: last layer, see point 5; ``"linear"`` or any head of
            :mod:`nes2net.models.backends.heads`.
        num_logits: n.

    Raises:
        InputError: if an option is out of its range.

    >>> backend = MpifRes2Net()
    >>> backend(torch.randn(2, 600, 45)).shape
    torch.Size([2, 2])
    """

    source = (
        'S. Dong, J. Xue, C. Fan, K. Zhu, Y. Chen, Z. Lv, "Multi-perspective information fusion Res2Net with '
        'random Specmix for fake speech detection", DADA 2023 (arXiv 2306.15389).'
    )
    last_layer_name = "head"

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 45,
        num_frames: Annotated[int, Field(ge=1, le=10_000)] | None = 600,
        stem_channels: Channels = 16,
        stem_convolutions: Blocks = 3,
        planes: Annotated[Sequence[Channels], Stages] = (16, 32, 64, 128),
        blocks: Annotated[Sequence[Blocks], Stages] = (2, 2, 2, 2),
        strides: Annotated[Sequence[Annotated[int, Field(ge=1, le=8)]], Stages] = (1, 2, 2, 2),
        expansion: UpTo64 = 2,
        base_width: Channels = 26,
        scale: Annotated[int, Field(ge=2, le=64)] = 8,
        fusion: bool = True,
        perspectives: Annotated[
            Sequence[Literal["channel", "time", "frequency"]],
            Field(min_length=1, max_length=3),
            Takes("one or more of channel, time, frequency"),
        ] = ("channel", "time", "frequency"),
        fusion_reduction: Channels = 4,
        attention_kernel: Annotated[
            int, Field(ge=0, le=255), AfterValidator(odd_or_zero), Takes("an odd number up to 255, or 0 for none")
        ] = 3,
        head: PartOption = "angular",
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        if not len(planes) == len(blocks) == len(strides):
            raise InputError(
                "planes, blocks and strides must be lists of one length, one number per stage, not of "
                f"{len(planes)}, {len(blocks)} and {len(strides)}"
            )
        widths = [max(stage_planes * base_width // 64, 1) for stage_planes in planes]
        max_channels = max(stem_channels, scale * max(widths), expansion * max(planes))
        numbers = (num_frames or _ASSUMED_FRAMES) * feature_dim * max_channels
        check_at_most("num_frames · feature_dim · the channels of a block", numbers, _MAX_NUMBERS)
        self.num_frames = num_frames

        self.stem = convolution_stem(stem_channels, stem_convolutions)
        channels = stem_channels
        # The first block of a stage has the stride; all other blocks have the fusion.
        self.blocks = nn.ModuleList()
        for stage_planes, width, number, stride in zip(planes, widths, blocks, strides):
            for index in range(number):
                joins = [PerspectiveFusion(width, perspectives, fusion_reduction) for _ in range(scale - 2)]
                block = Res2NetBottleneck(
                    channels,
                    stage_planes * expansion,
                    width,
                    scale,
                    stride=None if index else stride,
                    joins=joins if fusion and index else None,
                    attention_kernel=attention_kernel,
                )
                self.blocks.append(block)
                channels = stage_planes * expansion
        self.head = create_head(head, channels, num_logits)
        for name, module in self.named_modules():
            # The gates keep PyTorch's smaller initial weights, so that they are near one half before training.
            if isinstance(module, nn.Conv2d) and ".gates." not in name:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×E from ``features`` B×T×D; E is ``expansion``·``planes[-1]``."""
        self.check_features(features)
        if self.num_frames is not None:  # repeat shorter utterances, cut longer ones
            frames = torch.arange(self.num_frames, device=features.device) % features.shape[1]
            features = features.index_select(1, frames)
        x = self.stem(features.unsqueeze(1))  # B×C×T×D
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))
