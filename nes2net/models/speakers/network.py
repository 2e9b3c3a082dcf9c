"""Speaker encoders computed by PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.computing.devices import choose_device, float32_products
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.state_dict import StateDict, check_fit, load_state_dict, renamed, replace_patterns
from nes2net.models.frontends.lfcc import symmetric_filters
from nes2net.models.frontends.log_mel import WINDOW, power_spectrogram
from nes2net.models.speakers.base import SpeakerEncoder
from nes2net.models.speakers.files import EncoderFile, find_encoder_file


class NetworkEncoder(SpeakerEncoder):
    """Computes embeddings by a network: waveform (N,) → vector (D,)."""

    published: str
    """The published weights, as for :func:`find_encoder_file`."""
    network_class: Callable[[], nn.Module]
    names: Mapping[str, str] = {}
    """Pattern of the published name of a tensor → the name here."""
    unused: Collection[str] = ()
    """Names of tensors that only training uses."""

    def __init__(self, checkpoint: AnyPath | None = None, *, device: str = "cpu") -> None:
        file = find_encoder_file(checkpoint or self.published)
        state_dict = renamed(load_state_dict(file.path), partial(replace_patterns, self.names), file.path)
        for name in self.unused:
            state_dict.pop(name, None)
        self.use(self.network_class(), state_dict, file, device)

    def use(self, network: nn.Module, state_dict: StateDict, file: EncoderFile, device: str) -> None:
        """Compute by ``network`` with the tensors of ``file`` from now on."""
        check_fit(state_dict, network.state_dict(), str(file.path))
        self.revision = file.revision
        self.sha256 = file.sha256
        network.load_state_dict(state_dict)
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()

    def compute(self, waveform: NDArray[np.float32]) -> NDArray:
        with torch.inference_mode(), float32_products():
            embedding = self.forward(torch.from_numpy(waveform).to(self.device))
        return np.asarray(embedding.cpu())

    def forward(self, waveform: Tensor) -> Tensor:
        return self.network(waveform)  # type: ignore[no-any-return]


def mel_decibels(waveform: Tensor, num_bands: int) -> Tensor:
    """Compute mel bands T×``num_bands`` of ``waveform`` (N,) in dB, at least the recording's largest minus 80."""
    mels = torch.linspace(0, 2595 * math.log10(1 + SAMPLE_RATE / 1400), num_bands + 2, dtype=torch.float64)
    filters = symmetric_filters(201, 700 * (10 ** (mels / 2595) - 1)).to(waveform)
    window = torch.hamming_window(WINDOW, dtype=waveform.dtype, device=waveform.device)
    decibels = 10 * (power_spectrogram(waveform, window) @ filters).clamp_min(1e-10).log10()
    return decibels.clamp_min(decibels.max() - 80)
