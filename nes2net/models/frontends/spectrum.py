"""The base class of spectral front-ends, which have no weights: options, precision and pre-emphasis."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.parts.options import Probability, check_at_most
from nes2net.models.frontends.base import Frontend, Layers, UsedSamples, check_hop_length

WindowLength = Annotated[int, Field(ge=16, le=16_384)]
HopLength = Annotated[int, Field(ge=32, le=16_384)]
PreEmphasis = Probability
LeadingSamples = Annotated[int, Field(ge=1)] | None


class SpectralFrontend(Frontend):
    """Compute features of frames, B×T×D, from a waveform B×N after pre-emphasis.

    Features are float32 in every precision of the detector, because powers of a spectrum exceed the
    range of float16; float64 for a float64 waveform.
    """

    length_option: str
    """Option that sets the samples of a frame."""

    def __init__(self, length: int, hop_length: int, num_samples: int | None, emphasis: float) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.num_samples = num_samples
        self.emphasis = emphasis
        check_hop_length(self.hop_length, length // 64)  # at most about 64 frames overlap at a sample
        if num_samples is not None:
            check_at_most(self.length_option, length, num_samples, "num_samples")
        self.min_samples = length
        self.used_samples = UsedSamples(length, self.hop_length, num_samples)

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the features of ``waveform`` B×N: one hidden state B×T×D.

        Only the first ``num_samples`` samples are read, if this option is set.

        Raises:
            InputError: if the waveform is shorter than one frame.
        """
        self.check_length(waveform)
        with without_autocast(waveform.device):
            x = at_least_float32(waveform[:, : self.num_samples])  # None: all samples
            x = torch.cat([x[:, :1], x[:, 1:] - self.emphasis * x[:, :-1]], dim=1)  # the first sample stays
            return [self.features(x)]

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Compute the features B×T×D of ``x`` B×N, a float32 or float64 waveform after pre-emphasis."""
