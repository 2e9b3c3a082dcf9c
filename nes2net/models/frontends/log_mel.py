"""Log-mel features, computed on the waveform's device.

Those for w2v-BERT 2.0, AST and Whisper equal those of the transformers library's extractors, but
are differentiable and batched, without an effect of other utterances.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nes2net.data.audio.waveform import SAMPLE_RATE

#: Length of the window and of the hop for both kinds of features, in samples: 25 ms and 10 ms.
WINDOW = 400
HOP = 160


def kaldi_log_mel(waveform: Tensor) -> Tensor:
    """Compute Kaldi's log-mel filter bank as ``SeamlessM4TFeatureExtractor`` does: B×N → B×T×80.

    Bins of :func:`kaldi_bands`, with a Povey window, are normalised to mean 0 and variance 1 over
    the utterance. In float64 (float32 on Apple's GPUs), because in float32 a quiet band beside a
    loud one is mostly rounding error: up to 0.011 on 40 recordings, 0.12 for a pure tone.

    Args:
        waveform: in [−1, 1], at least 560 samples (two frames).
    """
    x = waveform.to(_most_precise_type(waveform)) * 2**15
    povey_window = hann_window(x) ** 0.85
    log_mel = kaldi_bands(x, povey_window).to(waveform.dtype)
    variance, mean = torch.var_mean(log_mel, dim=1, keepdim=True)
    return (log_mel - mean) / (variance + 1e-7).sqrt()


def ast_log_mel(waveform: Tensor, num_bins: int) -> Tensor:
    """Compute Kaldi's log-mel filter bank as ``ASTFeatureExtractor`` does, before its padding: B×N → B×T×bins.

    With a Hann window, and samples that are not scaled to 16 bits.
    """
    x = waveform.to(_most_precise_type(waveform))
    return kaldi_bands(x, hann_window(x), num_bins).to(waveform.dtype)


def hann_window(like: Tensor) -> Tensor:
    """Compute a symmetric Hann window (400,)."""
    return torch.hann_window(WINDOW, periodic=False, dtype=like.dtype, device=like.device)


def kaldi_bands(x: Tensor, window: Tensor, num_bins: int = 80) -> Tensor:
    """Compute Kaldi's log-mel filter bank of ``x`` B×N: B×T×bins; T = 1 + (N − 400) // 160.

    Each frame: subtract the mean, pre-emphasis 0.97, ``window`` (400,), FFT of length 512, powers,
    triangular filters on the mel scale from 20 Hz to 8 kHz, logarithm. Kaldi's samples have 16 bits.
    """
    frames = x.unfold(1, WINDOW, HOP)  # B×T×400
    frames = frames - frames.mean(2, keepdim=True)
    previous_samples = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
    windowed = (frames - 0.97 * previous_samples) * window
    power = torch.view_as_real(torch.fft.rfft(windowed, 512)).square().sum(-1)  # B×T×257
    return (power @ kaldi_filters(num_bins, x)).clamp_min(torch.finfo(torch.float32).eps).log()


def whisper_log_mel(waveform: Tensor, num_bins: int) -> Tensor:
    """Compute Whisper's log-mel spectrogram of a padded waveform: B×N → B×bins×T, T = N // 160.

    Frames centred every 160 samples, periodic Hann window, FFT of length 400, powers, Slaney's mel
    triangles up to 8 kHz, log10; values are raised to at least the largest minus 8, and x becomes
    x/4 + 1. In float32, as published, or float64.
    """
    window = torch.hann_window(WINDOW, dtype=waveform.dtype, device=waveform.device)
    power = power_spectrogram(waveform, window, "reflect")[:, :-1].mT  # B×201×T
    log_mel = (slaney_filters(num_bins, waveform).T @ power).clamp_min(1e-10).log10()
    log_mel = torch.maximum(log_mel, log_mel.amax((1, 2), keepdim=True) - 8)
    return (log_mel + 4) / 4


def power_spectrogram(waveform: Tensor, window: Tensor, pad_mode: str = "constant") -> Tensor:
    """Compute powers …×T×201 of ``waveform`` …×N; T = 1 + N // 160."""
    spectrum = torch.stft(waveform, WINDOW, HOP, window=window, pad_mode=pad_mode, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).mT


def kaldi_filters(num_bins: int, like: Tensor) -> Tensor:
    """Compute Kaldi's filters for an FFT of length 512, 257×bins: triangles with straight sides on the mel scale."""
    lowest, highest = (1127 * math.log1p(frequency / 700) for frequency in (20, SAMPLE_RATE / 2))
    edges = torch.linspace(lowest, highest, num_bins + 2, dtype=_most_precise_type(like), device=like.device)
    return _triangles(1127 * torch.log1p(_bin_frequencies(257, like) / 700), edges).to(like.dtype)


def slaney_filters(num_bins: int, like: Tensor) -> Tensor:
    """Compute Slaney's filters for an FFT of length 400, 201×bins: triangles of equal area, straight in Hz.

    The scale is linear below 1000 Hz (15 mel).
    """
    step = math.log(6.4) / 27  # the range from 1000 to 6400 Hz is 27 mel wide
    highest = 15 + math.log(SAMPLE_RATE / 2000) / step
    mels = torch.linspace(0, highest, num_bins + 2, dtype=_most_precise_type(like), device=like.device)
    edges = torch.where(mels < 15, mels * (200 / 3), 1000 * torch.exp((mels - 15) * step))
    return (_triangles(_bin_frequencies(201, like), edges) * (2 / (edges[2:] - edges[:-2]))).to(like.dtype)


def _most_precise_type(like: Tensor) -> torch.dtype:
    """Apple's GPUs have no float64."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def _bin_frequencies(num_bins: int, like: Tensor) -> Tensor:
    return torch.linspace(0, SAMPLE_RATE / 2, num_bins, dtype=_most_precise_type(like), device=like.device)


def _triangles(positions: Tensor, edges: Tensor) -> Tensor:
    """P×(E − 2): 1 at each inner edge, 0 at its neighbours; ``positions`` and ``edges`` in one unit."""
    lower = edges[:-2]
    centre = edges[1:-1]
    upper = edges[2:]
    rising = (positions[:, None] - lower) / (centre - lower)
    falling = (upper - positions[:, None]) / (upper - centre)
    return torch.minimum(rising, falling).clamp_min(0)
