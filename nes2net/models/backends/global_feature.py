"""GF, LGF and LLGF: mean over time, after LSTMs or a light CNN.

The published systems do not normalise the waveform, and score by the difference of two logits.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Probability, Size, Takes
from nes2net.models.backends.base import Backend, LogitLayer

Even = Annotated[int, Field(ge=2, le=65_536, multiple_of=2), Takes("an even number from 2 to 65536")]

_SOURCE = (
    'X. Wang, J. Yamagishi, "Investigating self-supervised front ends for speech spoofing countermeasures", Odyssey '
    "2022, arXiv 2111.07725."
)


class GF(Backend):
    """GF: a linear map of the features and the mean over time.

    Features B×T×``feature_dim`` → logits B×``num_logits``.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        hidden_dim: H, size of the linear map and of the embedding.
        num_logits: n.

    >>> GF(feature_dim=16)(torch.randn(2, 50, 16)).shape
    torch.Size([2, 2])
    """

    source = _SOURCE
    score_rule = "difference"
    last_layer_name = "m_output_act.0"

    def __init__(self, *, feature_dim: FeatureDim = 1024, hidden_dim: Size = 128, num_logits: Logits = 2) -> None:
        super().__init__(feature_dim)
        # In the published code, these lists have an item for each of several front-ends. Here there is one front-end.
        self.m_frontend = nn.ModuleList([nn.Linear(feature_dim, hidden_dim)])
        self.m_output_act = nn.ModuleList([LogitLayer(hidden_dim, num_logits)])

    def embed(self, features: Tensor) -> Tensor:
        self.check_features(features)
        return self.m_frontend[0](features).mean(dim=1)  # B×E


class BLSTM(nn.Module):
    """A bidirectional LSTM, B×T×E → B×T×E, with E/2 units in each direction."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.l_blstm = nn.LSTM(dim, dim // 2, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.l_blstm(x)[0]


class LGF(GF):
    """GF with two bidirectional LSTMs and a skip connection around both, before the mean over time.

    Features B×T×``feature_dim`` → logits B×``num_logits``. The LSTMs also read the zeros that pad a
    training batch. A graph of ``torch.export`` has a fixed number of frames; an ONNX file does not.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        hidden_dim: H, size of the linear map, of both LSTMs and of the embedding.
        num_logits: n.

    >>> LGF(feature_dim=16)(torch.randn(2, 50, 16)).shape
    torch.Size([2, 2])
    """

    def __init__(self, *, feature_dim: FeatureDim = 1024, hidden_dim: Even = 128, num_logits: Logits = 2) -> None:
        super().__init__(feature_dim=feature_dim, hidden_dim=hidden_dim, num_logits=num_logits)
        self.m_before_pooling = nn.ModuleList([nn.Sequential(BLSTM(hidden_dim), BLSTM(hidden_dim))])

    def embed(self, features: Tensor) -> Tensor:
        self.check_features(features)
        x = self.m_frontend[0](features)  # B×T×hidden_dim
        return (self.m_before_pooling[0](x) + x).mean(dim=1)


class MaxFeatureMap(nn.Module):
    """Take the maximum of channels c and c + C/2, B×C×T×H → B×C/2×T×H (X. Wu et al., TIFS 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(*x.chunk(2, dim=1))


# The convolutions of the light CNN: (number of channels before the maximum, kernel size, whether
# max-pooling follows, whether batch normalisation follows).
_LIGHT_CNN = (
    (64, 5, True, False),
    (64, 1, False, True),
    (96, 3, True, True),
    (96, 1, False, True),
    (128, 3, True, False),
    (128, 1, False, True),
    (64, 3, False, True),
    (64, 1, False, True),
    (64, 3, True, False),
)


class LLGF(Backend):
    """LGF with a light CNN between the linear map and the LSTMs.

    Features B×T×``feature_dim``, T ≥ 16, → logits B×``num_logits``. The CNN maps an image 1×T×H to
    32×T/16×H/16, so that frames have E = 32·⌊H/16⌋ numbers. A graph of ``torch.export`` has a fixed
    number of frames; an ONNX file does not.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        hidden_dim: H, size of the linear map.
        dropout: probability of dropout at the end of the CNN.
        num_logits: n.

    >>> LLGF(feature_dim=16)(torch.randn(2, 50, 16)).shape
    torch.Size([2, 2])
    """

    source = _SOURCE
    score_rule = "difference"
    last_layer_name = "m_output_act.0"
    min_frames = 16  # four max-poolings by 2

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        hidden_dim: Annotated[int, Field(ge=16, le=65_536)] = 128,
        dropout: Probability = 0.7,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        # Published checkpoints have these names; see GF for the lists.
        self.m_frontend = nn.ModuleList([nn.Linear(feature_dim, hidden_dim)])
        cnn: list[nn.Module] = []  # B×1×T×H → B×32×T/16×H/16
        channels = 1
        for doubled, kernel, is_pooled, is_normalised in _LIGHT_CNN:
            cnn += [nn.Conv2d(channels, doubled, kernel, padding=kernel // 2), MaxFeatureMap()]
            channels = doubled // 2
            if is_pooled:
                cnn.append(nn.MaxPool2d(2))
            if is_normalised:
                cnn.append(nn.BatchNorm2d(channels, affine=False))
        self.m_transform = nn.ModuleList([nn.Sequential(*cnn, nn.Dropout(dropout))])
        dim = 32 * (hidden_dim // 16)  # channels × height after the CNN
        self.m_before_pooling = nn.ModuleList([nn.Sequential(BLSTM(dim), BLSTM(dim))])
        self.m_output_act = nn.ModuleList([LogitLayer(dim, num_logits)])

    def embed(self, features: Tensor) -> Tensor:
        self.check_features(features)
        image = self.m_transform[0](self.m_frontend[0](features).unsqueeze(1))  # B×32×T/16×H/16
        x = image.transpose(1, 2).flatten(2)  # B×T/16×E
        return (self.m_before_pooling[0](x) + x).mean(dim=1)  # B×E
