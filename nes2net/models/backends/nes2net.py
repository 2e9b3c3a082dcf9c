"""Nes2Net, Nes2Net-X, Nes2Net-X SeLU, Nes2Net-LA: nested Res2Nets without dimensionality reduction.

In reading order: ``Res2NetBlock`` and ``Res2NetXBlock``, the inner levels; ``Nes2Net``, the outer
level and back-end.

The variants of this paper differ only in inner block and activation. In the paper the first group
of channels is not changed; in the published code, and here, the last.

A feature map is an image of height 1, B×C×1×T, because only PyTorch's 2-D convolutions support the
channels-last memory layout. Transposed features B×T×D have this layout without a copy, and all
operations then read and write contiguous channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from nes2net.lib.parts.options import (
    FeatureDim,
    Logits,
    Preset,
    Size,
    Takes,
    UpTo1000,
    check_divides,
    multiple_of,
    odd_or_zero,
)
from nes2net.models.backends.base import LogitLayer
from nes2net.models.backends.frame_backend import FrameBackend, Utterance

Split = Annotated[int, Field(ge=2, le=64)]
SplitDim = Annotated[FeatureDim, multiple_of(lambda options: prod(options["nes_ratio"]), usual=64)]


class Conv(nn.Conv1d):
    """A convolution over time, with weights in their published shape C'×C×K: B×C×1×T → B×C'×1×T."""

    padding: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            x, self.weight.unsqueeze(2), self.bias, padding=(0, *self.padding), dilation=(1, *self.dilation)
        )


class ColumnConv(nn.Conv2d):
    """A convolution over time, with weights in their published shape C'×C×3×1: B×C×1×T → B×C'×1×T.

    Time is the first image axis in the published code, and the second here.
    """

    padding: tuple[int, ...]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.mT, self.bias, padding=self.padding[::-1], dilation=self.dilation[::-1])


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation; :func:`count_batch` counts its batches, or itself if ``momentum`` is None."""

    num_batches_tracked: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.momentum is None:
            return super().forward(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )


def count_batch(module: nn.Module) -> None:
    """Count a batch in each training :class:`BatchNorm` of ``module`` by a single kernel."""
    norms = [norm for norm in module.modules() if isinstance(norm, BatchNorm)]
    counters = [norm.num_batches_tracked for norm in norms if norm.training and norm.momentum is not None]
    if counters:
        torch._foreach_add_(counters, 1)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate from the means over time (Hu et al., CVPR 2018): B×C×1×T → B×C×1×T."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), Conv(channels, hidden, 1), nn.ReLU(), Conv(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.se(x)  # gates are B×C×1×1


class Res2NetBlock(nn.Module):
    """The inner level: a Res2Net bottleneck (Gao et al., TPAMI 2021), B×C×1×T → B×C×1×T.

    Activation and then batch normalisation follow every convolution.

    Args:
        channels: C.
    """

    def __init__(self, channels: int, scale: int, dilation: int, activation: nn.Module, se_channels: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = Conv(channels, channels, 1)
        self.bn1 = BatchNorm(channels)
        self._build_hierarchy(channels // scale, dilation)
        self.conv3 = Conv(channels, channels, 1)
        self.bn3 = BatchNorm(channels)
        self.se = SqueezeExcitation(channels, se_channels)
        self.activation = activation  # shared by all blocks, in place

    def _build_hierarchy(self, width: int, dilation: int) -> None:
        steps = range(self.scale - 1)
        self.convs = nn.ModuleList(Conv(width, width, 3, padding=dilation, dilation=dilation) for _ in steps)
        self.bns = nn.ModuleList(BatchNorm(width) for _ in steps)

    def hierarchy(self, splits: Sequence[Tensor]) -> list[Tensor]:
        """Compute the output of each of the ``splits`` B×C/scale×1×T except the last.

        The previous output is added to a split before its convolution.
        """
        outputs: list[Tensor] = []
        for split, conv, bn in zip(splits, self.convs, self.bns):
            if outputs:
                split = split + outputs[-1]
            outputs.append(bn(self.activation(conv(split))))
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.bottleneck(x) + x

    def bottleneck(self, x: Tensor) -> Tensor:
        """Compute the residual branch B×C×1×T of ``x`` B×C×1×T."""
        splits = self.bn1(self.activation(self.conv1(x))).chunk(self.scale, dim=1)  # B×C/scale×1×T each
        y = torch.cat([*self.hierarchy(splits), splits[-1]], dim=1)  # B×C×1×T
        return self.se(self.bn3(self.activation(self.conv3(y))))


class Res2NetXBlock(Res2NetBlock):
    """The inner level of Nes2Net-X. Splits are kept side by side as columns, and are not added.

    At first, the only column is the last split. Step i appends split i, convolves all columns with
    the same kernel, and outputs their weighted sum. The N columns lie in the batch axis, N·B×C×1×T
    (published: B×C×T×N), so they are never copied.
    """

    def _build_hierarchy(self, width: int, dilation: int) -> None:
        """Step i of :meth:`hierarchy` has i + 2 columns, whose weights are equal before training."""
        steps = range(self.scale - 1)
        self.weighted_sum = nn.ParameterList(torch.full((1, 1, 1, step + 2), 1 / (step + 2)) for step in steps)
        self.convs = nn.ModuleList(
            ColumnConv(width, width, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)) for _ in steps
        )
        self.bns = nn.ModuleList(BatchNorm(width) for _ in steps)

    def hierarchy(self, splits: Sequence[Tensor]) -> list[Tensor]:
        """Convolve each split together with all earlier results: B×C/scale×1×T for each split but the last."""
        outputs = []
        columns = splits[-1]  # N·B×C/scale×1×T, N = 1; each step adds a column
        for split, conv, bn, weight in zip(splits, self.convs, self.bns, self.weighted_sum):
            columns = bn(self.activation(conv(torch.cat([columns, split]))))  # N·B×C/scale×1×T
            by_column = columns.unflatten(0, (weight.numel(), -1))  # N×B×C/scale×1×T
            weighted = by_column * weight.view(-1, 1, 1, 1, 1)
            outputs.append(weighted.sum(dim=0, dtype=weighted.dtype))  # autocast would convert to float32 and back
        return outputs


class DropoutBlock(Res2NetXBlock):
    """The inner level of Nes2Net-LA: Nes2Net-X with dropout at the end of the residual branch."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.dropout = nn.Dropout(0.2)

    def bottleneck(self, x: Tensor) -> Tensor:
        return self.dropout(super().bottleneck(x))


class LocalBlockAttention(nn.Module):
    """Attention between the groups: J maps B×C×1×T → J maps B×C×1×T.

    The mean of a group over time is a token, which attends to itself and its neighbours; the first
    or last group stands in for missing ones. The output is added to the group's frames; learned
    positions are added to queries, keys and values.

    Args:
        groups: J.
        channels: C.
        window: number of tokens that a token attends to, an odd number.
    """

    def __init__(self, groups: int, channels: int, window: int) -> None:
        super().__init__()
        # Published checkpoints have these names.
        self.pos_emb = nn.Parameter(nn.init.trunc_normal_(torch.empty(groups, channels), std=0.02))
        self.proj_q = nn.Linear(channels, channels, bias=False)
        self.proj_k = nn.Linear(channels, channels, bias=False)
        self.proj_v = nn.Linear(channels, channels, bias=False)
        self.proj_out = nn.Linear(channels, channels, bias=False)
        self.dropout = nn.Dropout(0.1)
        steps = range(-(window // 2), window // 2 + 1)
        # window×J: the index of each group's neighbour at a distance of ``step`` groups.
        self.neighbours = [[min(max(j + step, 0), groups - 1) for j in range(groups)] for step in steps]

    def forward(self, groups: Sequence[Tensor]) -> list[Tensor]:
        tokens = torch.stack([group.mean(dim=(2, 3)) for group in groups], dim=1)  # B×J×C
        query, key, value = (proj(tokens) + self.pos_emb for proj in (self.proj_q, self.proj_k, self.proj_v))
        near_keys = self._gather_neighbours(key)
        near_values = self._gather_neighbours(value)
        scores = (near_keys @ query.unsqueeze(3)) / query.shape[2] ** 0.5  # B×J×window×1
        context = self.proj_out((self.dropout(torch.softmax(scores, dim=2)) * near_values).sum(dim=2))  # B×J×C
        return [group + context[:, j, :, None, None] for j, group in enumerate(groups)]

    def _gather_neighbours(self, x: Tensor) -> Tensor:
        # Not x[:, indices]: on CUDA, its backward pass adds gradients in any order.
        by_step = [torch.stack([x[:, j] for j in indices], dim=1) for indices in self.neighbours]  # B×J×C each
        return torch.stack(by_step, dim=2)  # B×J×window×C


class Nes2Net(FrameBackend):
    """The outer level: features B×T×``feature_dim`` → logits B×``num_logits``.

    The published variants are at the end of this file. A group, plus the previous group's output,
    passes through an inner block, except the last group.

    Args:
        block, activation: classes of the block and of the activation of the inner level.
        feature_dim: D, the front-end's ``out_dim``.
        nes_ratio: the number of outer groups, which must divide ``feature_dim`` into groups of C
            channels, and the number of inner splits, which must divide C.
        window: number of groups that a group attends to, with itself in the middle.
        dilation: dilation of the inner convolutions of three frames. The dilation is 2 in the
            ASVspoof 2019 and 2021 recipes, and 1 in the CtrSVDD and ASVspoof 5 recipes.
        pool: ``"mean"`` or ``"astp"`` (:mod:`nes2net.models.backends.pooling`). None gives the
            logits of each frame, B×T×``num_logits``; the weights are the same as for ``"mean"``.
        utterance: with ``pool=None``, how the utterance is scored from its frames: ``"mean"``,
            ``"min"`` or ``"attentive"`` (:class:`nes2net.models.backends.frame_backend.FrameBackend`).
        se_ratio, se_floor: the hidden layer of the squeeze-excitation has max(C // ``se_ratio``,
            ``se_floor``) channels. ``se_floor`` is 2 in the published code for ASVspoof 5 and in the
            code of Nes2Net-X SeLU; 1 means no lower limit.
        num_logits: n, 1 or more.

    Raises:
        InputError: if a number of ``nes_ratio`` does not divide the channels.

    >>> nes2net(num_logits=1)(torch.randn(2, 201, 1024)).shape
    torch.Size([2, 1])
    >>> sum(p.numel() for p in nes2net_x().parameters())
    512039
    """

    source = (
        'T. Liu, D.-T. Truong, R. K. Das, K. A. Lee, H. Li, "Nes2Net: a lightweight nested architecture for '
        'foundation model driven speech anti-spoofing", IEEE T-IFS 20, 2025 (arXiv 2504.05657). Nes2Net-LA: X. '
        "Zhang et al., 2025 (arXiv 2512.07352)."
    )
    checkpoint_prefix = "Nested_Res2Net_TDNN."
    last_layer_name = "fc"
    uses_all_weights = True

    def __init__(
        self,
        block: type[Res2NetBlock],
        activation: type[nn.Module],
        *,
        feature_dim: SplitDim = 1024,
        nes_ratio: Annotated[Sequence[Split], Field(min_length=2, max_length=2)] = (8, 8),
        window: Annotated[
            int, Field(ge=0, le=63), AfterValidator(odd_or_zero), Takes("an odd number up to 63, or 0 for none")
        ] = 0,
        dilation: UpTo1000 = 2,
        pool: Literal["mean", "astp"] | None = "mean",
        utterance: Utterance = "mean",
        se_ratio: Size = 1,
        se_floor: Size = 1,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        groups, scale = nes_ratio
        channels = feature_dim // groups
        check_divides("nes_ratio[0]", groups, "feature_dim", feature_dim)
        check_divides("nes_ratio[1]", scale, "feature_dim / nes_ratio[0]", channels)
        se_channels = max(channels // se_ratio, se_floor)
        # This is the receptive field of the convolutions alone; the squeeze-excitation reads all
        # frames.
        self.receptive_field = 1 + 2 * dilation * (scale - 1) * (groups - 1)
        self.groups = groups
        self.activation = activation(inplace=True)
        # Published checkpoints have these names.
        self.Build_in_Res2Nets = nn.ModuleList(
            block(channels, scale, dilation, self.activation, se_channels) for _ in range(groups - 1)
        )
        self.bns = nn.ModuleList(BatchNorm(channels) for _ in range(groups - 1))
        self.bn = BatchNorm(feature_dim)
        self.fc = LogitLayer(self.build_pooling(pool, utterance, feature_dim), num_logits)
        self.local_block_attn: nn.Module = nn.Identity()
        if window:
            self.local_block_attn = LocalBlockAttention(groups, channels, window)
            # The published files contain this attention, but their code never calls it. Its number of heads is
            # unknown, and does not change the shapes of the tensors.
            self.global_attn = nn.MultiheadAttention(feature_dim, 1).requires_grad_(False)

    def frames(self, features: Tensor) -> Tensor:
        return self.join(self.local_block_attn(self.group_outputs(features)))

    def group_outputs(self, features: Tensor) -> list[Tensor]:
        """Apply the inner blocks to ``features`` B×T×D: one output B×C×1×T for each group."""
        self.check_features(features)
        if self.training:
            count_batch(self)
        groups = features.transpose(1, 2).unsqueeze(2).chunk(self.groups, dim=1)  # B×C×1×T each
        outputs: list[Tensor] = []
        for group, block, bn in zip(groups, self.Build_in_Res2Nets, self.bns):
            if outputs:
                group = group + outputs[-1]
            outputs.append(bn(self.activation(block(group))))
        return [*outputs, groups[-1]]

    def join(self, groups: Sequence[Tensor]) -> Tensor:
        """Concatenate, normalise and activate ``groups`` B×C×1×T: embeddings of frames, B×T×D."""
        y = torch.cat([*groups], dim=1)  # B×D×1×T
        return self.activation(self.bn(y)).squeeze(2).transpose(1, 2)


nes2net = Preset(
    Nes2Net,
    Res2NetBlock,
    nn.ReLU,
    without=("window",),
    summary="Nes2Net: a nested Res2Net without dimensionality reduction.",
)
nes2net_x = Preset(
    Nes2Net,
    Res2NetXBlock,
    nn.ReLU,
    without=("window",),
    summary="Nes2Net-X: Nes2Net with learned weighted sums in the inner block.",
)
nes2net_x_selu = Preset(
    Nes2Net,
    Res2NetXBlock,
    nn.SELU,
    without=("window",),
    se_floor=2,
    summary="Nes2Net-X SeLU: Nes2Net-X with SELU in place of ReLU, except in the squeeze-excitation.",
)
nes2net_la = Preset(
    Nes2Net,
    DropoutBlock,
    nn.ReLU,
    window=3,
    summary="Nes2Net-LA: Nes2Net-X with attention between the outer groups, and dropout in the inner blocks.",
)
