"""Shared by the front-ends without weights: options, pre-emphasis, the check of the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from nes2net.errors import InputError

WindowLength = Annotated[int, Field(ge=16, le=16_384)]
HopLength = Annotated[int, Field(ge=32, le=16_384)]
MOST_OVERLAP = 64  # frames that read the same sample
PreEmphasis = Annotated[float, Field(ge=0, lt=1)]
LeadingSamples = Annotated[int, Field(ge=1)] | None


def check_no_checkpoint(name: str, checkpoint: str | Path | None) -> None:
    """Raise :class:`InputError` if a checkpoint is given to a front-end without weights."""
    if checkpoint is not None:
        raise InputError(f"the {name} front-end has no weights and takes no checkpoint: leave out {checkpoint}")


def emphasised(waveform: Tensor, coefficient: float) -> Tensor:
    """Compute x[n] − coefficient·x[n−1] of ``waveform`` B×N, in at least float32, as FFTs need."""
    x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    return torch.cat([x[:, :1], x[:, 1:] - coefficient * x[:, :-1]], dim=1)
