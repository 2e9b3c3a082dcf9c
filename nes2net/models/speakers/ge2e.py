"""Resemblyzer's encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nes2net.models.frontends.log_mel import HOP, WINDOW, power_spectrogram, slaney_filters
from nes2net.models.speakers.network import NetworkEncoder

_NUM_BANDS = 40
_SLICE = 160  # length of a slice, in frames
_STEP = 77  # frames from one slice to the next: 1.3 slices in a second
_MIN_COVERAGE = 0.75  # a last slice of which the recording fills less is omitted
_LOWEST_RMS = 10 ** (-30 / 20)
_BATCH = 256  # slices that the LSTM reads at a time, to limit the memory


def slice_starts(num_samples: int) -> list[int]:
    """List the first frames of the slices of a recording.

    >>> slice_starts(25600), slice_starts(33599)
    ([0], [0, 77])
    """
    num_frames = -(-(num_samples + 1) // HOP)
    starts = list(range(0, max(1, num_frames - _SLICE + _STEP + 1), _STEP))
    coverage = (num_samples - starts[-1] * HOP) / (_SLICE * HOP)
    if len(starts) > 1 and coverage < _MIN_COVERAGE:
        starts.pop()
    return starts


class Ge2eNetwork(nn.Module):
    """An LSTM on slices of 1.6 s: waveform (N,) → vector (256,)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_NUM_BANDS, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def features(self, waveform: Tensor, num_frames: int) -> Tensor:
        """Compute mel powers T×40, T ≥ ``num_frames``; quiet recordings are raised to −30 dB."""
        gain = (_LOWEST_RMS / waveform.square().mean().sqrt()).clamp_min(1)
        padded = functional.pad(gain * waveform, (0, max(0, num_frames * HOP - len(waveform))))
        window = torch.hann_window(WINDOW, dtype=waveform.dtype, device=waveform.device)
        return power_spectrogram(padded, window) @ slaney_filters(_NUM_BANDS, waveform)

    def forward(self, waveform: Tensor) -> Tensor:
        starts = slice_starts(len(waveform))
        mel = self.features(waveform, starts[-1] + _SLICE)
        slices = torch.stack([mel[start : start + _SLICE] for start in starts])  # S×160×40
        embeddings = []
        for batch in slices.split(_BATCH):
            _, (hidden_states, _) = self.lstm(batch)
            vectors = self.linear(hidden_states[-1]).relu()
            embeddings.append(vectors / vectors.norm(dim=1, keepdim=True))
        return torch.cat(embeddings).mean(0)


class Ge2e(NetworkEncoder):
    """GE2E of Resemblyzer, without voice activity detection.

    Args:
        checkpoint: its ``pretrained.pt``; None for that of the installed package.
        device: where the network computes.
    """

    source = 'L. Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018.'
    name = "ge2e"
    dimension = 256
    published = "package:Resemblyzer==0.1.4/resemblyzer/pretrained.pt"
    network_class = Ge2eNetwork
    unused = ("similarity_weight", "similarity_bias")
    same_voice = 0.77  # assumption: between one LJSpeech reader and 28 others of LibriTTS, AISHELL-3 and VCTK
