"""The waveform itself as a front-end (``waveform``)."""

from __future__ import annotations

from torch import Tensor

from nes2net.models.frontends.base import Frontend, Layers


class Waveform(Frontend):
    """The waveform itself as one hidden state B×N×1, for back-ends with their own filters.

    >>> import torch
    >>> Waveform()(torch.zeros(2, 100))[0].shape
    torch.Size([2, 100, 1])
    """

    out_dim = hop_length = min_samples = 1

    def __init__(self) -> None:
        super().__init__()
        self.config = {"name": "waveform"}

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        return [waveform.unsqueeze(-1)]
