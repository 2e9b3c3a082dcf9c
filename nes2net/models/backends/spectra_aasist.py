"""The back-ends of Spectra-AASIST and Spectra-AASIST3."""

from __future__ import annotations

from functools import reduce
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Size
from nes2net.models.backends.aasist import (
    GraphAttention,
    GraphPool,
    HeterogeneousGraphAttention,
    Linear,
    ResidualBlock,
    image_attention,
    nodes_of_image,
    pooled_nodes,
    residual_encoder,
)
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.backends.kan import KanLinear, KanLogits

_CHANNELS = 64  # number of output channels of the encoder; it is also the size of a node before attention


class Bridge(nn.Module):
    """Two linear layers that are applied to each frame, B×T×``in_dim`` → B×T×``out_dim``."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_dim, out_dim), nn.SELU(), nn.Dropout(0.1), nn.Linear(out_dim, out_dim), nn.Dropout(0.1)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.mlp(features)


class PreActivatedBlock(ResidualBlock):
    """A residual block that normalises and activates before its first convolution."""

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.first else F.selu(self.bn1(x))
        y = self.conv2(F.selu(self.bn2(self.conv1(y))))
        return y + self.conv_downsample(x)


class ImageEncoder(nn.Module):
    """Six residual blocks over an image of features: B×1×F×T → B×64×F/3×T/3."""

    def __init__(self) -> None:
        super().__init__()
        self.first_bn = nn.BatchNorm2d(1)
        self.first_bn1 = nn.BatchNorm2d(_CHANNELS)
        self.enc = residual_encoder((32, 32, _CHANNELS, _CHANNELS, _CHANNELS, _CHANNELS), block=PreActivatedBlock)

    def forward(self, image: Tensor) -> Tensor:
        pooled = F.max_pool2d(image.abs(), 3)  # B×1×F/3×T/3, as published
        return F.selu(self.first_bn1(self.enc(F.selu(self.first_bn(pooled)))))


class Branch(nn.Module):
    """One of four parallel branches: a master node, and two heterogeneous attentions around a pooling.

    Args:
        gat_dims: sizes of a node before and after the attentions.
    """

    def __init__(self, gat_dims: tuple[int, int], linear: Linear) -> None:
        super().__init__()
        dim, mixed_dim = gat_dims
        # Published checkpoints have these names.
        self.master = nn.Parameter(torch.randn(1, 1, dim))
        self.HtrgGAT_layer_ST1 = HeterogeneousGraphAttention(dim, mixed_dim, linear=linear, activated=False)
        self.HtrgGAT_layer_ST2 = HeterogeneousGraphAttention(mixed_dim, mixed_dim, linear=linear, activated=False)
        self.pool_hS = GraphPool(0.5, mixed_dim, linear=linear)
        self.pool_hT = GraphPool(0.5, mixed_dim, linear=linear)
        self.drop_way = nn.Dropout(0.2)

    def forward(self, temporal: Tensor, spectral: Tensor) -> list[Tensor]:
        """Update the nodes ``temporal`` B×N_T×D and ``spectral`` B×N_S×D; return both, pooled, and the master node."""
        master = self.master.expand(len(temporal), -1, -1)
        temporal, spectral, master = self.HtrgGAT_layer_ST1(temporal, spectral, master)
        nodes = self.pool_hT(temporal), self.pool_hS(spectral), master
        return [self.drop_way(node + update) for node, update in zip(nodes, self.HtrgGAT_layer_ST2(*nodes))]


class SpectraGraph(nn.Module):
    """Frames B×T×R → embeddings B×5·``gat_dims[1]``, and the last layer, ``out_layer``."""

    def __init__(
        self,
        bridge_dim: int,
        gat_dims: tuple[int, int],
        max_frames: int,
        num_logits: int,
        layer: Literal["linear", "kan"],
    ) -> None:
        super().__init__()
        linear: Linear = KanLinear if layer == "kan" else nn.Linear
        last_layer: Linear = KanLogits if layer == "kan" else LogitLayer
        dim, mixed_dim = gat_dims
        # Published checkpoints have these names.
        self.pos_T = nn.Parameter(torch.randn(1, max_frames, bridge_dim))
        self.pos_S = nn.Parameter(torch.randn(1, bridge_dim // 3, _CHANNELS))
        self.enc = ImageEncoder()
        self.attention = image_attention(_CHANNELS)
        self.GAT_layer_S = GraphAttention(_CHANNELS, dim, linear=linear)
        self.GAT_layer_T = GraphAttention(_CHANNELS, dim, linear=linear)
        self.pool_S = GraphPool(0.5, dim, linear=linear)
        self.pool_T = GraphPool(0.5, dim, linear=linear)
        self.branch1 = Branch(gat_dims, linear)
        self.branch2 = Branch(gat_dims, linear)
        self.branch3 = Branch(gat_dims, linear)
        self.branch4 = Branch(gat_dims, linear)
        self.drop = nn.Dropout(0.5)
        self.out_layer = last_layer(5 * mixed_dim, num_logits)

    def forward(self, frames: Tensor) -> Tensor:
        frames = frames + self.pos_T[:, : frames.shape[1]]
        x = self.enc(frames.transpose(1, 2).unsqueeze(1))  # B×64×R/3×T/3
        spectral, temporal = nodes_of_image(x, self.attention(x))  # B×R/3×64, B×T/3×64
        spectral = self.pool_S(self.GAT_layer_S(spectral + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        branches = [branch(temporal, spectral) for branch in (self.branch1, self.branch2, self.branch3, self.branch4)]
        temporal, spectral, master = (reduce(torch.maximum, nodes) for nodes in zip(*branches))
        return self.drop(pooled_nodes(temporal, spectral, master))


class SpectraAasist(Backend):
    """The back-ends of Spectra-AASIST and Spectra-AASIST3: AASIST with positions in time, four branches, and KAN layers.

    Features B×T×``feature_dim`` → logits B×``num_logits``; T is from 3 to ``max_frames``.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        bridge_dim: R, size of a frame after the bridge.
        layer: kind of all linear layers after the bridge: ``"linear"`` (Spectra-AASIST), or
            ``"kan"`` for Kolmogorov-Arnold layers (Spectra-AASIST3).
        gat_dims: sizes of a node after the first attention and after the heterogeneous attention.
        max_frames: largest T, for which there are learned positions; 400 frames of 20 ms are 8 s.
        num_logits: n.

    >>> SpectraAasist(feature_dim=16, bridge_dim=12)(torch.zeros(2, 30, 16)).shape
    torch.Size([2, 2])
    """

    source = (
        "Published by lab260 in the hub repositories lab260/Spectra-AASIST and lab260/Spectra-AASIST3 (2026); "
        "there is no paper."
    )
    last_layer_name = "aasist.out_layer"
    min_frames = 3  # the max-pooling by 3 makes one temporal node from three frames

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        bridge_dim: Annotated[Size, Field(ge=3)] = 128,
        layer: Literal["linear", "kan"] = "linear",
        gat_dims: tuple[Size, Size] = (64, 32),
        max_frames: Annotated[Size, Field(ge=3)] = 400,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.max_frames = max_frames
        self.bridge = Bridge(feature_dim, bridge_dim)
        self.aasist = SpectraGraph(bridge_dim, gat_dims, max_frames, num_logits, layer)

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×5·``gat_dims[1]`` from ``features`` B×T×D, with dropout in training."""
        self.check_features(features)
        return self.aasist(self.bridge(features))
