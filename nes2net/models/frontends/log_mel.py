"""Log-mel features of waveforms as w2v-BERT 2.0 and Whisper read them, on the waveform's device.

Each utterance of a batch has the same features as alone. The features are differentiable, and equal
to those of the transformers library's extractors, which compute them in NumPy one by one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nes2net.data.audio.waveform import SAMPLE_RATE

#: Window and hop of both, in samples: 25 ms every 10 ms.
WINDOW = 400
HOP = 160


def kaldi_log_mel(waveform: Tensor, num_bins: int = 80) -> Tensor:
    """Compute Kaldi's log-mel filter bank as ``SeamlessM4TFeatureExtractor`` does: B×N → B×T×bins.

    Samples are scaled to 16 bits. Each frame loses its mean, gets pre-emphasis 0.97, a Povey window
    and an FFT of 512. Powers go through triangles on the mel scale from 20 Hz to 8 kHz and a
    logarithm. Each bin is then normalised to mean 0 and variance 1 over the utterance.

    The logarithms are computed in float64, because in float32 a quiet band beside a loud one is
    mostly rounding error: the normalised bins of 40 real recordings would differ by up to 0.011
    (7e-5 root mean square), the bins of a tone by 0.12. For 4 s this is 2·10⁷ of some 10¹¹
    operations, so float64 costs little even on a GPU with few units for it. Apple's GPUs have only
    float32 and use it.

    Args:
        waveform: in [−1, 1], of at least 560 samples, two frames.

    Returns:
        T = 1 + (N − 400) // 160 frames.
    """
    x = waveform
    if x.device.type != "mps":
        x = x.double()
    frames = (x * 2**15).unfold(1, WINDOW, HOP)  # B×T×400
    frames = frames - frames.mean(2, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
    window = torch.hann_window(WINDOW, periodic=False, dtype=x.dtype, device=x.device) ** 0.85
    spectrum = torch.view_as_real(torch.fft.rfft((frames - 0.97 * before) * window, 512))
    power = spectrum.square().sum(-1)  # B×T×257
    log_mel = (power @ kaldi_filters(num_bins, x)).clamp_min(torch.finfo(torch.float32).eps).log()
    log_mel = log_mel.to(waveform.dtype)
    variance, mean = torch.var_mean(log_mel, dim=1, keepdim=True)
    return (log_mel - mean) / (variance + 1e-7).sqrt()


def whisper_log_mel(waveform: Tensor, num_bins: int = 80) -> Tensor:
    """Compute Whisper's log-mel spectrogram of a padded waveform: B×N → B×bins×T, T = N // 160.

    A periodic Hann window and an FFT of 400, with frames centred every 160 samples; Slaney's mel
    triangles up to 8 kHz; log10; values more than 8 below the utterance's largest one are raised to
    that limit; (x + 4) / 4. It is computed in float32, as published, or in float64 if the waveform
    is.
    """
    window = torch.hann_window(WINDOW, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(waveform, WINDOW, HOP, window=window, return_complex=True)[..., :-1]  # B×201×T
    power = torch.view_as_real(spectrum).square().sum(-1)
    log_mel = (slaney_filters(num_bins, waveform).T @ power).clamp_min(1e-10).log10()
    log_mel = torch.maximum(log_mel, log_mel.amax((1, 2), keepdim=True) - 8)
    return (log_mel + 4) / 4


def kaldi_filters(num_bins: int, like: Tensor) -> Tensor:
    """Kaldi's triangles for an FFT of 512, 257×bins, straight on the mel scale."""
    lowest, highest = (1127 * math.log1p(frequency / 700) for frequency in (20, SAMPLE_RATE / 2))
    edges = torch.linspace(lowest, highest, num_bins + 2, dtype=_precise(like), device=like.device)
    return _triangles(1127 * torch.log1p(_frequencies(257, like) / 700), edges).to(like.dtype)


def slaney_filters(num_bins: int, like: Tensor) -> Tensor:
    """Slaney's triangles of equal area for an FFT of 400, 201×bins, straight on the scale of hertz.

    His mel scale is linear below 1000 Hz, 15 mel, and logarithmic above.
    """
    step = math.log(6.4) / 27
    highest = 15 + math.log(SAMPLE_RATE / 2000) / step
    mels = torch.linspace(0, highest, num_bins + 2, dtype=_precise(like), device=like.device)
    edges = torch.where(mels < 15, mels * (200 / 3), 1000 * torch.exp((mels - 15) * step))
    return (_triangles(_frequencies(201, like), edges) * (2 / (edges[2:] - edges[:-2]))).to(like.dtype)


def _precise(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64


def _frequencies(num_bins: int, like: Tensor) -> Tensor:
    """Frequencies of the bins of a spectrum in Hz."""
    return torch.linspace(0, SAMPLE_RATE / 2, num_bins, dtype=_precise(like), device=like.device)


def _triangles(positions: Tensor, edges: Tensor) -> Tensor:
    """Triangles of height 1 between the neighbours of each inner edge, positions×(edges − 2)."""
    lower = edges[:-2]
    centre = edges[1:-1]
    upper = edges[2:]
    rising = (positions[:, None] - lower) / (centre - lower)
    falling = (upper - positions[:, None]) / (upper - centre)
    return torch.minimum(rising, falling).clamp_min(0)
