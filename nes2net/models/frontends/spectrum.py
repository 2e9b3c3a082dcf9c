"""The base class of spectral front-ends, which have no weights: options, precision and pre-emphasis."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from nes2net.lib.devices import at_least_float32, without_autocast
from nes2net.lib.errors import InputError
from nes2net.lib.files import AnyPath
from nes2net.lib.options import Probability
from nes2net.models.frontends.base import Frontend, Layers, UsedSamples, check_hop_length

WindowLength = Annotated[int, Field(ge=16, le=16_384)]
HopLength = Annotated[int, Field(ge=32, le=16_384)]
PreEmphasis = Probability
LeadingSamples = Annotated[int, Field(ge=1)] | None


def check_no_checkpoint(name: str, checkpoint: AnyPath | None) -> None:
    """Raise :class:`InputError` if a checkpoint is given to the front-end ``name``."""
    if checkpoint is not None:
        raise InputError(f"the {name} front-end has no weights and takes no checkpoint: leave out {checkpoint}")


class SpectralFrontend(Frontend):
    """Compute features of frames, B×T×D, from a waveform B×N after pre-emphasis.

    Features are float32 in every precision of the detector, because powers of a spectrum exceed the
    range of float16; float64 for a float64 waveform.
    """

    takes_checkpoint = False
    name: str
    length_option: str
    """Option that sets the samples of a frame."""

    def __init__(self, checkpoint: AnyPath | None, **options: Any) -> None:
        super().__init__()
        check_no_checkpoint(self.name, checkpoint)
        self.config = {"name": self.name, **options}
        length = options[self.length_option]
        self.hop_length = options["hop_length"]
        num_samples = options["num_samples"]
        check_hop_length(self.hop_length, length // 64)  # at most about 64 frames overlap at a sample
        if num_samples is not None and num_samples < length:
            raise InputError(
                f"num_samples must be at least {self.length_option}, {length}, or null for all, not {num_samples}"
            )
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
            x = at_least_float32(waveform[:, : self.config["num_samples"]])
            x = torch.cat([x[:, :1], x[:, 1:] - self.config["pre_emphasis"] * x[:, :-1]], dim=1)
            return [self.features(x)]

    def features(self, x: Tensor) -> Tensor:
        """Compute the features B×T×D of ``x`` B×N, a float32 or float64 waveform after pre-emphasis."""
        raise NotImplementedError
