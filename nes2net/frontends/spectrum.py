"""Shared by the front-ends without weights: options, precision, pre-emphasis, refusing checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from nes2net.errors import InputError
from nes2net.frontends.base import Frontend, Layers, check_hop_length
from nes2net.machine.devices import at_least_float32, without_autocast

WindowLength = Annotated[int, Field(ge=16, le=16_384)]
HopLength = Annotated[int, Field(ge=32, le=16_384)]
_MOST_OVERLAP = 64  # frames that read the same sample
PreEmphasis = Annotated[float, Field(ge=0, lt=1)]
LeadingSamples = Annotated[int, Field(ge=1)] | None


def check_no_checkpoint(name: str, checkpoint: str | Path | None) -> None:
    """Raise :class:`InputError` if a checkpoint is given to a front-end without weights."""
    if checkpoint is not None:
        raise InputError(f"the {name} front-end has no weights and takes no checkpoint: leave out {checkpoint}")


def check_frames(length: int, hop_length: int, num_samples: int | None, name: str) -> None:
    """Check that frames of ``length`` samples, the option ``name``, fit the hop and the samples read."""
    check_hop_length(hop_length, length // _MOST_OVERLAP)
    if num_samples is not None and num_samples < length:
        raise InputError(f"num_samples must be at least {name}, {length}, or null for all, not {num_samples}")


class SpectralFrontend(Frontend):
    """Waveform B×N → features of frames B×T×D, after pre-emphasis.

    They are computed and returned in float32 in any precision, also within autocast, and in float64
    if the waveform is: powers of a spectrum leave the range of float16.
    """

    takes_checkpoint = False
    pre_emphasis: float
    """Coefficient in [0, 1)."""
    num_samples: int | None
    """How many leading samples of a waveform are read; None for all."""

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the features of ``waveform`` B×N: one hidden state B×T×D.

        ``layers`` and ``final_norm`` have no effect: there is one layer, and no norm.

        Raises:
            InputError: if the waveform is shorter than one frame.
        """
        self.check_length(waveform)
        with without_autocast(waveform.device):
            return [self.features(emphasised(at_least_float32(waveform[:, : self.num_samples]), self.pre_emphasis))]

    def features(self, x: Tensor) -> Tensor:
        """Compute the features B×T×D of ``x`` B×N, float32 or float64, after pre-emphasis."""
        raise NotImplementedError


def emphasised(waveform: Tensor, coefficient: float) -> Tensor:
    """Compute x[n] − coefficient·x[n−1] of ``waveform`` B×N."""
    return torch.cat([waveform[:, :1], waveform[:, 1:] - coefficient * waveform[:, :-1]], dim=1)
