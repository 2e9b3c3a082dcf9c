"""Shared by the front-ends without weights: options, pre-emphasis, the check of the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from nes2net.errors import InputError
from nes2net.frontends.base import check_hop_length

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


def emphasised(waveform: Tensor, coefficient: float) -> Tensor:
    """Compute x[n] − coefficient·x[n−1] of ``waveform`` B×N, in at least float32, as FFTs need."""
    x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    return torch.cat([x[:, :1], x[:, 1:] - coefficient * x[:, :-1]], dim=1)
