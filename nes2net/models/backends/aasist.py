"""AASIST on self-supervised features.

"Sec." below refers to J.-w. Jung et al., ICASSP 2022 (:attr:`Aasist.source`). The detector on the
waveform is in :mod:`nes2net.models.backends.raw_aasist`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits
from nes2net.models.backends.base import Backend, LogitLayer

#: A class of linear layers, or of layers that replace them. The arguments are the numbers of inputs and of outputs.
Linear = Callable[[int, int], nn.Module]
PoolRatio = Annotated[float, Field(gt=0, le=1)]


class ResidualBlock(nn.Module):
    """Two convolutions of size 2×3 and a skip connection: B×C×F×T → B×C'×F×T.

    Args:
        in_channels, out_channels: C and C'.
        first: whether to omit ``bn1``, as in the encoder's first block.
    """

    def __init__(self, in_channels: int, out_channels: int, first: bool = False) -> None:
        super().__init__()
        if not first:
            self.bn1 = nn.BatchNorm2d(in_channels)  # of published checkpoints; its output is never used
        self.conv1 = nn.Conv2d(in_channels, out_channels, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, (2, 3), padding=(0, 1))
        self.conv_downsample: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.conv_downsample = nn.Conv2d(in_channels, out_channels, (1, 3), padding=(0, 1))
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.first:
            self.bn1(x)  # as in the published code, this call only updates the running statistics
        y = F.selu(self.bn2(self.conv1(x)), inplace=True)  # conv1 gives F + 1 rows
        y = self.conv2(y)  # F rows
        return y.add_(self.conv_downsample(x))


def residual_encoder(
    channels: Sequence[int], after_block: Sequence[nn.Module] = (), block: type[ResidualBlock] = ResidualBlock
) -> nn.Sequential:
    """Build a chain of residual blocks, B×1×F×T → B×C×F×T.

    Args:
        channels: output channels of the blocks; the last is C.
        after_block: modules, without weights, that follow each block.
        block: class of the blocks.
    """
    encoder = nn.Sequential()
    for in_channels, out_channels in pairwise((1, *channels)):
        residual = block(in_channels, out_channels, first=in_channels == 1)
        encoder.append(nn.Sequential(residual, *after_block))
    return encoder


def _attention_vector(size: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(size, 1)))


def _pairs(x: Tensor) -> Tensor:
    """Products x_i ⊙ x_j of all nodes i, j: B×N×D → B×N×N×D."""
    return x.unsqueeze(2) * x.unsqueeze(1)


def _normalise_nodes(bn: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Apply ``bn`` to nodes B×N×D as if each were an example of the batch."""
    return bn(x.flatten(0, 1)).view_as(x)


class GraphAttention(nn.Module):
    """Graph attention over one type of nodes, B×N×D → B×N×D' (Sec. 2.2).

    The new node is the sum of linear maps of the old node and of the attention-weighted mean of all
    nodes; batch normalisation and SELU follow.

    Args:
        in_dim, out_dim: D and D'.
    """

    temperature = 2.0  # divides the attention scores before the softmax

    def __init__(self, in_dim: int, out_dim: int, linear: Linear = nn.Linear) -> None:
        super().__init__()
        # Published checkpoints have these names.
        self.att_weight = _attention_vector(out_dim)
        self.att_proj = linear(in_dim, out_dim)
        self.proj_with_att = linear(in_dim, out_dim)
        self.proj_without_att = linear(in_dim, out_dim)
        self.bn = nn.BatchNorm1d(out_dim)
        self.input_drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_drop(x)
        scores = (torch.tanh(self.att_proj(_pairs(x))) @ self.att_weight).squeeze(3)  # B×N×N
        x = self.proj_with_att(torch.softmax(scores / self.temperature, dim=2) @ x) + self.proj_without_att(x)  # B×N×D'
        return F.selu(_normalise_nodes(self.bn, x))


class HeterogeneousGraphAttention(nn.Module):
    """Graph attention over two types of nodes and a master node (HS-GAL, Sec. 2.3).

    Args:
        in_dim, out_dim: D and D', sizes of a node before and after the attention.
        activated: whether SELU follows the batch normalisation.
    """

    temperature = 100.0  # divides the attention scores before the softmax

    def __init__(self, in_dim: int, out_dim: int, linear: Linear = nn.Linear, activated: bool = True) -> None:
        super().__init__()
        # Published checkpoints have these names. 1 and 2 are the types of nodes, M is the master.
        self.att_weight11 = _attention_vector(out_dim)
        self.att_weight22 = _attention_vector(out_dim)
        self.att_weight12 = _attention_vector(out_dim)
        self.att_weightM = _attention_vector(out_dim)
        self.proj_type1 = linear(in_dim, in_dim)
        self.proj_type2 = linear(in_dim, in_dim)
        self.att_proj = linear(in_dim, out_dim)
        self.att_projM = linear(in_dim, out_dim)
        self.proj_with_att = linear(in_dim, out_dim)
        self.proj_without_att = linear(in_dim, out_dim)
        self.proj_with_attM = linear(in_dim, out_dim)
        self.proj_without_attM = linear(in_dim, out_dim)
        self.bn = nn.BatchNorm1d(out_dim)
        self.input_drop = nn.Dropout(0.2)
        self.activated = activated

    def forward(self, type1: Tensor, type2: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Update the nodes ``type1`` B×N₁×D, ``type2`` B×N₂×D and ``master`` B×1×D; their size becomes D'."""
        n1 = type1.shape[1]
        n2 = type2.shape[1]
        # The master node attends to the nodes of both types.
        x = self.input_drop(torch.cat([self.proj_type1(type1), self.proj_type2(type2)], dim=1))  # B×(N₁+N₂)×D
        scores = torch.tanh(self.att_projM(x * master)) @ self.att_weightM  # B×(N₁+N₂)×1
        gathered = torch.softmax(scores / self.temperature, dim=1).transpose(1, 2) @ x
        master = self.proj_with_attM(gathered) + self.proj_without_attM(master)

        # All nodes attend to all nodes. Each pair of node types has an attention vector. N = N₁ + N₂.
        h = torch.tanh(self.att_proj(_pairs(x)))  # B×N×N×D'
        from_type1 = torch.cat([h[:, :n1, :n1] @ self.att_weight11, h[:, :n1, n1:] @ self.att_weight12], dim=2)
        from_type2 = torch.cat([h[:, n1:, :n1] @ self.att_weight12, h[:, n1:, n1:] @ self.att_weight22], dim=2)
        scores = torch.cat([from_type1, from_type2], dim=1).squeeze(3)
        x = self.proj_with_att(torch.softmax(scores / self.temperature, dim=2) @ x) + self.proj_without_att(x)
        x = _normalise_nodes(self.bn, x)
        if self.activated:
            x = F.selu(x)
        type1, type2 = x.split([n1, n2], dim=1)
        return type1, type2, master


class GraphPool(nn.Module):
    """Keep the nodes with the highest scores, and multiply each by its score (Sec. 2.2).

    B×N×D → B×max(⌊N·ratio⌋, 1)×D.

    Args:
        ratio: share of the nodes that are kept.
    """

    def __init__(self, ratio: float, dim: int, linear: Linear = nn.Linear) -> None:
        super().__init__()
        self.proj = linear(dim, 1)
        self.drop = nn.Dropout(0.3)
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.sigmoid(self.proj(self.drop(x)))  # B×N×1

        # As published, ⌊N·ratio⌋ is computed in floating point: ⌊90·0.7⌋ is then 62, not 63; so does sym_int() if N is
        # traced. For the ratio 0.5, integer division gives the same, and is traced several times faster.
        nodes = x.shape[1]
        num_kept = nodes // 2 if self.ratio == 0.5 else torch.sym_int(nodes * self.ratio)
        kept = scores.topk(max(num_kept, 1), dim=1).indices  # B×K×1
        return (x * scores).gather(1, kept.expand(-1, -1, x.shape[2]))


def image_attention(channels: int) -> nn.Sequential:
    """Build the layers that weigh an image B×C×F×T for :func:`nodes_of_image`; C is ``channels``."""
    return nn.Sequential(nn.Conv2d(channels, 128, 1), nn.SELU(), nn.BatchNorm2d(128), nn.Conv2d(128, channels, 1))


def nodes_of_image(image: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Compute spectral nodes B×F×C and temporal nodes B×T×C from ``image`` B×C×F×T.

    They are sums over T and F, weighted by a softmax of ``weights`` B×C×F×T.
    """
    spectral = (image * torch.softmax(weights, dim=3)).sum(dim=3).transpose(1, 2)
    temporal = (image * torch.softmax(weights, dim=2)).sum(dim=2).transpose(1, 2)
    return spectral, temporal


def pooled_nodes(temporal: Tensor, spectral: Tensor, master: Tensor) -> Tensor:
    """Compute an embedding B×5D: largest magnitudes and means of both types of nodes B×N×D, and the master node B×1×D."""
    # The last layer's weights assume this order.
    pooled = [temporal.abs().amax(1), temporal.mean(1), spectral.abs().amax(1), spectral.mean(1), master.squeeze(1)]
    return torch.cat(pooled, dim=1)


class SpectroTemporalGraph(Backend):
    """The graph layers that all AASIST back-ends share, from nodes to logits (Sec. 2.3 and 2.4).

    Args:
        feature_dim: D; 1 for a waveform.
        channels: C, size of a node.
        spectral_nodes: N_S, number of spectral nodes.
        gat_dims: sizes of a node after the first and the heterogeneous attention.
        pool_ratios: shares of nodes kept in the spectral, temporal and heterogeneous graphs; a
            fourth, as published, is not used.
    """

    last_layer_name = "out_layer"
    untrained = r"encoder\.\d\.0\.bn1\..*"  # the published code does not use the result

    def __init__(
        self,
        feature_dim: int,
        channels: int,
        spectral_nodes: int,
        num_logits: int,
        gat_dims: tuple[int, int],
        pool_ratios: Sequence[float],
    ) -> None:
        super().__init__(feature_dim)
        dim, mixed_dim = gat_dims
        # Published checkpoints have these names; dropout as published, too.
        self.pos_S = nn.Parameter(torch.randn(1, spectral_nodes, channels))
        self.master1 = nn.Parameter(torch.randn(1, 1, dim))
        self.master2 = nn.Parameter(torch.randn(1, 1, dim))
        self.GAT_layer_S = GraphAttention(channels, dim)
        self.GAT_layer_T = GraphAttention(channels, dim)
        self.HtrgGAT_layer_ST11 = HeterogeneousGraphAttention(dim, mixed_dim)
        self.HtrgGAT_layer_ST12 = HeterogeneousGraphAttention(mixed_dim, mixed_dim)
        self.HtrgGAT_layer_ST21 = HeterogeneousGraphAttention(dim, mixed_dim)
        self.HtrgGAT_layer_ST22 = HeterogeneousGraphAttention(mixed_dim, mixed_dim)
        self.pool_S = GraphPool(pool_ratios[0], dim)
        self.pool_T = GraphPool(pool_ratios[1], dim)
        self.pool_hS1 = GraphPool(pool_ratios[2], mixed_dim)
        self.pool_hT1 = GraphPool(pool_ratios[2], mixed_dim)
        self.pool_hS2 = GraphPool(pool_ratios[2], mixed_dim)
        self.pool_hT2 = GraphPool(pool_ratios[2], mixed_dim)
        self.drop_way = nn.Dropout(0.2)
        self.drop = nn.Dropout(0.5)
        self.out_layer = LogitLayer(5 * mixed_dim, num_logits)

    def readout(self, spectral: Tensor, temporal: Tensor) -> Tensor:
        """Apply all graph layers to the nodes ``spectral`` B×N_S×C and ``temporal`` B×N_T×C.

        Learned positions are added to ``spectral``. The element-wise maximum of two branches, each
        with its own weights and master node, is pooled to embeddings B×5·``gat_dims[1]``.
        """
        spectral = self.pool_S(self.GAT_layer_S(spectral + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(temporal))
        branches = []
        for initial_master, first_attention, pool_temporal, pool_spectral, second_attention in (
            (self.master1, self.HtrgGAT_layer_ST11, self.pool_hT1, self.pool_hS1, self.HtrgGAT_layer_ST12),
            (self.master2, self.HtrgGAT_layer_ST21, self.pool_hT2, self.pool_hS2, self.HtrgGAT_layer_ST22),
        ):
            master = initial_master.expand(temporal.shape[0], -1, -1)
            mixed_temporal, mixed_spectral, master = first_attention(temporal, spectral, master)
            nodes = pool_temporal(mixed_temporal), pool_spectral(mixed_spectral), master
            branches.append([x + update for x, update in zip(nodes, second_attention(*nodes))])
        temporal, spectral, master = (torch.maximum(self.drop_way(a), self.drop_way(b)) for a, b in zip(*branches))
        return pooled_nodes(temporal, spectral, master)


class Aasist(SpectroTemporalGraph):
    """AASIST on self-supervised features: a residual encoder, then graph attention.

    Features B×T×``feature_dim`` → logits B×``num_logits``. T is at least 3; in a graph of
    ``torch.export`` 24, because two temporal nodes must be left after all pooling.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_logits: n.
        pool_ratios: shares of nodes that are kept in the spectral, in the temporal and in the
            heterogeneous graphs; a fourth ratio is not used. DeepFense keeps 0.7 of the temporal nodes.

    >>> sum(p.numel() for p in Aasist().parameters())
    447242
    """

    source = (
        'J.-w. Jung et al., "AASIST: audio anti-spoofing using integrated spectro-temporal graph attention '
        'networks", ICASSP 2022 (arXiv 2110.01200). H. Tak et al., "Automatic speaker verification spoofing '
        'and deepfake detection using wav2vec 2.0 and data augmentation", Odyssey 2022 (arXiv 2202.12233), '
        "put AASIST after XLS-R."
    )
    min_frames = 3  # 3×3 max-pooling makes one temporal node from three frames

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        num_logits: Logits = 2,
        pool_ratios: Annotated[Sequence[PoolRatio], Field(min_length=3, max_length=4)] = (0.5, 0.5, 0.5),
    ) -> None:
        reduced = 128  # size of a frame after the first linear layer
        channels = 64  # of the encoder's output
        super().__init__(
            feature_dim,
            channels,
            spectral_nodes=reduced // 3,  # embed() pools by 3
            num_logits=num_logits,
            gat_dims=(64, 32),
            pool_ratios=pool_ratios,
        )
        # Published checkpoints have these names.
        self.LL = nn.Linear(feature_dim, reduced)
        self.first_bn = nn.BatchNorm2d(1)
        self.first_bn1 = nn.BatchNorm2d(channels)
        self.encoder = residual_encoder((32, 32, channels, channels, channels, channels))
        self.attention = image_attention(channels)

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×160 from ``features`` B×T×D, with dropout in training."""
        self.check_features(features)
        image = self.LL(features).transpose(1, 2).unsqueeze(1)  # B×1×128×T
        x = self.encoder(F.selu(self.first_bn(F.max_pool2d(image, 3))))
        x = F.selu(self.first_bn1(x))  # B×64×42×T/3
        return self.drop(self.readout(*nodes_of_image(x, self.attention(x))))
