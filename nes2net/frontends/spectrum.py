"""Shared by the front-ends without weights: pre-emphasis, and the check of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nes2net.errors import InputError


def check_no_checkpoint(name: str, checkpoint: str | Path | None) -> None:
    """Raise :class:`InputError` if a checkpoint is given to a front-end without weights."""
    if checkpoint is not None:
        raise InputError(f"the {name} front-end has no weights and takes no checkpoint: leave out {checkpoint}")


def emphasised(waveform: Tensor, coefficient: float) -> Tensor:
    """Compute x[n] − coefficient·x[n−1] of ``waveform`` B×N, in at least float32, as FFTs need."""
    x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    return torch.cat([x[:, :1], x[:, 1:] - coefficient * x[:, :-1]], dim=1)
