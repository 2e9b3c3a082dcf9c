"""Pooling over time: a feature map B×D×T becomes one vector B×D' per utterance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32


class Pooling(nn.Module):
    """A pooling B×D×T → B×``out_dim``."""

    out_dim: int
    """Size of the pooled vector."""


class MeanPooling(Pooling):
    """Mean over time: B×D×T → B×D.

    >>> MeanPooling(16)(torch.ones(2, 16, 5)).shape
    torch.Size([2, 16])
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.out_dim = feature_dim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=2)


class AttentivePooling(Pooling):
    """Attention-weighted mean over time: B×D×T → B×D.

    Frame t has one weight for all channels: the softmax over time of vᵀ tanh(W x_t + b).

    Cai et al., Odyssey 2018, Sec. 3.2; Okabe et al., Interspeech 2018, eqs. 1–3.

    >>> AttentivePooling(16)(torch.ones(2, 16, 5)).shape
    torch.Size([2, 16])
    """

    def __init__(self, feature_dim: int, bottleneck_dim: int = 128) -> None:
        super().__init__()
        self.out_dim = feature_dim
        self.linear1 = nn.Conv1d(feature_dim, bottleneck_dim, 1)
        self.linear2 = nn.Conv1d(bottleneck_dim, 1, 1, bias=False)  # a bias would not change a softmax

    def forward(self, x: Tensor) -> Tensor:
        energies = self.linear2(torch.tanh(self.linear1(x)))  # B×1×T
        weights = torch.softmax(at_least_float32(energies), dim=2)
        return (weights * x.to(weights.dtype)).sum(dim=2).to(x.dtype)


class AttentiveStatisticsPooling(Pooling):
    """Attention-weighted mean and standard deviation over time: B×D×T → B×2D.

    Okabe et al., Interspeech 2018, eqs. 3–6. Each channel has its own weights over time, as in
    ECAPA-TDNN (Sec. 2.1), without global context. Statistics are at least float32, because the
    variance is a difference of nearly equal numbers.

    >>> AttentiveStatisticsPooling(16)(torch.randn(2, 16, 5)).shape
    torch.Size([2, 32])
    """

    min_variance = 1e-10  # lower limit of the variance, so that the gradient of its square root is finite

    def __init__(self, feature_dim: int, bottleneck_dim: int = 128) -> None:
        super().__init__()
        self.out_dim = 2 * feature_dim
        self.linear1 = nn.Conv1d(feature_dim, bottleneck_dim, 1)
        self.activation: nn.Module = nn.Tanh()
        self.linear2 = nn.Conv1d(bottleneck_dim, feature_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x`` B×D×T to B×2D: the means, then the standard deviations."""
        weights = torch.softmax(at_least_float32(self.linear2(self.activation(self.linear1(x)))), dim=2)
        return weighted_statistics(at_least_float32(x), weights, self.min_variance).to(x.dtype)


def attention_pool(frames: Tensor, scores: Tensor) -> Tensor:
    """Average ``frames`` B×T×D, weighted by a softmax over time of ``scores`` B×T×1: B×D."""
    return (torch.softmax(scores, dim=1) * frames).sum(dim=1)


def weighted_statistics(x: Tensor, weights: Tensor, min_variance: float) -> Tensor:
    """Compute weighted means and standard deviations over time: B×D×T → B×2D."""
    mean = (weights * x).sum(dim=2)
    variance = (weights * x.square()).sum(dim=2) - mean.square()
    return torch.cat([mean, variance.clamp(min=min_variance).sqrt()], dim=1)


#: Name of a pooling in the options of back-ends → its class, which is built from D.
POOLINGS: dict[str, type[MeanPooling] | type[AttentivePooling] | type[AttentiveStatisticsPooling]] = {
    "mean": MeanPooling,
    "attentive": AttentivePooling,
    "astp": AttentiveStatisticsPooling,
}
