"""AASIST and AASIST-L on the waveform itself.

The published weights load unchanged. In a Detector, these back-ends follow the front-end
``waveform``, B×N×1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.lib.parts.options import Logits, Preset, Takes
from nes2net.models.backends.aasist import SpectroTemporalGraph, residual_encoder


def sinc_filters(num_filters: int, num_taps: int, sample_rate: int) -> Tensor:
    """Make band-pass filters ``num_filters``×1×``num_taps`` with edges equally spaced in mel.

    The edges range from 0 to half of ``sample_rate`` (Hz).

    A filter between the edges f₁ and f₂ is hamming · [2f₂ sinc(2f₂t) − 2f₁ sinc(2f₁t)], with edges
    in cycles per sample and times t in samples. As published, the edges are float64, and all else
    float32; float64 filters would differ by 2.4e-5. NumPy is used, because PyTorch's sine differs.

    >>> sinc_filters(70, 129, 16000).shape
    torch.Size([70, 1, 129])
    """
    top_mel = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top_mel, num_filters + 1) / 2595) - 1)  # Hz
    half = (num_taps - 1) // 2
    t = np.arange(-half, half + 1, dtype=np.float32)
    argument = np.float32(2 * edges)[:, None] * t / np.float32(sample_rate)
    low_pass = np.float32(2 * edges / sample_rate)[:, None] * np.sinc(argument)
    band_pass = np.float32(np.hamming(num_taps)) * (low_pass[1:] - low_pass[:-1])
    return torch.from_numpy(band_pass).unsqueeze(1)


class RawAasist(SpectroTemporalGraph):
    """AASIST and AASIST-L: detectors on the waveform itself, with a fixed filter bank.

    Waveform B×N or B×N×1 at 16 kHz → logits B×``num_logits``. :data:`raw_aasist` and
    :data:`raw_aasist_l` are the published variants. A frame is one sample here; N is at least
    2,315.

    Args:
        channels: output channels of each block of the encoder.
        gat_dims, pool_ratios: as for :class:`SpectroTemporalGraph`.
        feature_dim: 1, a sample.
        num_logits: n.

    >>> [sum(p.numel() for p in model.parameters()) for model in (raw_aasist(), raw_aasist_l())]
    [297866, 85306]
    """

    source = (
        "J.-w. Jung et al., ICASSP 2022 (arXiv 2110.01200), with the filter bank of RawNet2 for anti-spoofing "
        "(H. Tak et al., ICASSP 2021)."
    )
    sample_rate = 16000
    num_filters = 70
    num_taps = 129
    min_frames = num_taps - 1 + 3**7  # the filters and seven poolings by 3 then leave one temporal node
    filters: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        gat_dims: tuple[int, int],
        pool_ratios: Sequence[float],
        *,
        feature_dim: Annotated[Literal[1], Takes("1, the samples of the front-end 'waveform'")] = 1,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(
            feature_dim,
            channels[-1],
            spectral_nodes=self.num_filters // 3,
            num_logits=num_logits,
            gat_dims=gat_dims,
            pool_ratios=pool_ratios,
        )
        filters = sinc_filters(self.num_filters, self.num_taps, self.sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        self.first_bn = nn.BatchNorm2d(1)
        self.encoder = residual_encoder(channels, after_block=[nn.MaxPool2d((1, 3))])

    def embed(self, waveform: Tensor) -> Tensor:
        """Compute embeddings B×160 from ``waveform`` B×N or B×N×1, with dropout in training.

        Raises:
            InputError: if ``waveform`` has a wrong shape or is too short.
        """
        if waveform.ndim == 2:
            waveform = waveform.unsqueeze(2)
        self.check_features(waveform)
        waveform = waveform.squeeze(2)
        if waveform.is_cpu and not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()):
            # Compute one utterance at a time, in stretches of time, so that feature maps fit into
            # the processor's cache.
            x = torch.cat([self._encode(utterance, _apply_in_stretches) for utterance in waveform.split(1)])
        else:
            x = self._encode(waveform, nn.Module.__call__)
        spectral = x.amax(dim=3).transpose(1, 2)  # B×23×C
        temporal = x.amax(dim=2).transpose(1, 2)  # B×frames×C
        return self.drop(self.readout(spectral, temporal))

    def _encode(self, waveform: Tensor, compute: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        bands = F.conv1d(waveform.unsqueeze(1), self.filters).abs_()  # B×70×(N − 128)
        x = F.selu(self.first_bn(F.max_pool2d(bands.unsqueeze(1), 3)))  # B×1×23×frames
        del bands  # free the largest map before the blocks compute their maps
        for block in self.encoder:
            x = compute(block, x)
        return x.abs()


def _apply_in_stretches(block: nn.Module, x: Tensor) -> Tensor:
    """Run ``block``, which ends with a pooling by 3, on stretches of time: B×C×F×T → B×C'×F×⌊T/3⌋.

    An output depends on 2 frames before and after it; the margin of 3 is a multiple of the
    pooling's step.
    """
    stretches = []
    for start in range(0, x.shape[3] // 3 * 3, _STRETCH):
        first = max(start - 3, 0)
        # On the CPU, convolutions are faster with the channels innermost in memory.
        stretch = x[..., first : start + _STRETCH + 3].contiguous(memory_format=torch.channels_last)
        stretches.append(block(stretch)[..., (start - first) // 3 :][..., : _STRETCH // 3])
    return torch.cat(stretches, 3)


# Frames in a stretch, a multiple of 3: shorter ones need more calls, longer ones do not fit into the cache.
_STRETCH = 3072


raw_aasist = Preset(
    RawAasist,
    (32, 32, 64, 64, 64, 64),
    (64, 32),
    (0.5, 0.7, 0.5),
    summary="AASIST: a detector on the waveform itself, with a fixed filter bank.",
)
"""A graph of ``torch.export`` takes at least 13,250 samples."""
raw_aasist_l = Preset(
    RawAasist,
    (32, 32, 24, 24, 24, 24),
    (24, 32),
    (0.4, 0.5, 0.7),
    summary="AASIST-L: the light variant of AASIST on the waveform.",
)
"""It takes as many samples as :data:`raw_aasist`."""
