"""Speaker encoders computed by PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nes2net.lib.computing.devices import choose_device, float32_products
from nes2net.models.checkpoints.state_dict import StateDict, check_fit
from nes2net.models.speakers.base import SpeakerEncoder
from nes2net.models.speakers.files import EncoderFile


class NetworkEncoder(SpeakerEncoder):
    """Computes embeddings by a ``network``: waveform (N,) → vector (D,); its tensors come from ``file``."""

    def __init__(self, network: nn.Module, state_dict: StateDict, file: EncoderFile, device: str) -> None:
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
