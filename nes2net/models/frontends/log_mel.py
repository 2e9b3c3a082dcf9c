"""Log-mel features for w2v-BERT 2.0 and Whisper, computed on the waveform's device.

The features of an utterance do not depend on the other utterances of the batch. The features are
differentiable. The features equal the features of the transformers library's extractors, which use
NumPy and take one utterance at a time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nes2net.data.audio.waveform import SAMPLE_RATE

#: Length of the window and of the hop for both kinds of features, in samples: 25 ms and 10 ms.
WINDOW = 400
HOP = 160


def kaldi_log_mel(waveform: Tensor, num_bins: int = 80) -> Tensor:
    """Compute Kaldi's log-mel filter bank as ``SeamlessM4TFeatureExtractor`` does: B×N → B×T×bins.

    Samples are scaled to 16 bits. The steps for each frame are: subtract the mean, pre-emphasis
    0.97, a Povey window, an FFT of length 512, powers, triangular filters on the mel scale from 20
    Hz to 8 kHz, and a logarithm. Then each bin is normalised to mean 0 and variance 1 over the
    utterance.

    The computation is in float64, because in float32 a quiet band beside a loud band is mostly
    rounding error. On 40 real recordings, the normalised bins in float32 differ from the bins in
    float64 by up to 0.011 (root mean square 7e-5). For a pure tone, the difference is 0.12. For 4 s
    of speech, the features take 2·10⁷ operations, and the whole front-end about 10¹¹. Float64
    therefore costs little, even on a GPU with few float64 units. On Apple's GPUs, which do not
    support float64, the computation is in float32.

    Args:
        waveform: in [−1, 1], at least 560 samples (two frames).
        num_bins: number of mel filters.

    Returns:
        The features B×T×bins in the type of ``waveform``; T = 1 + (N − 400) // 160.
    """
    x = waveform
    if x.device.type != "mps":
        x = x.double()
    frames = (x * 2**15).unfold(1, WINDOW, HOP)  # B×T×400
    frames = frames - frames.mean(2, keepdim=True)
    previous_samples = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
    window = torch.hann_window(WINDOW, periodic=False, dtype=x.dtype, device=x.device) ** 0.85  # Povey
    spectrum = torch.view_as_real(torch.fft.rfft((frames - 0.97 * previous_samples) * window, 512))
    power = spectrum.square().sum(-1)  # B×T×257
    log_mel = (power @ kaldi_filters(num_bins, x)).clamp_min(torch.finfo(torch.float32).eps).log()
    log_mel = log_mel.to(waveform.dtype)
    variance, mean = torch.var_mean(log_mel, dim=1, keepdim=True)
    return (log_mel - mean) / (variance + 1e-7).sqrt()


def whisper_log_mel(waveform: Tensor, num_bins: int = 80) -> Tensor:
    """Compute Whisper's log-mel spectrogram of a padded waveform: B×N → B×bins×T, T = N // 160.

    The steps are: frames centred every 160 samples, a periodic Hann window, an FFT of length 400,
    powers, Slaney's mel triangles up to 8 kHz, and log10. Values that are more than 8 below the
    utterance's largest value are raised to the largest value minus 8. Each value x then becomes x/4
    + 1. The computation is in float32, as published, or in float64 for a float64 waveform.
    """
    window = torch.hann_window(WINDOW, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(waveform, WINDOW, HOP, window=window, return_complex=True)[..., :-1]  # B×201×T
    power = torch.view_as_real(spectrum).square().sum(-1)
    log_mel = (slaney_filters(num_bins, waveform).T @ power).clamp_min(1e-10).log10()
    log_mel = torch.maximum(log_mel, log_mel.amax((1, 2), keepdim=True) - 8)
    return (log_mel + 4) / 4


def kaldi_filters(num_bins: int, like: Tensor) -> Tensor:
    """Compute Kaldi's filters for an FFT of length 512: triangles with straight sides on the mel scale, 257×bins.

    The filters have the type and the device of ``like``.
    """
    lowest, highest = (1127 * math.log1p(frequency / 700) for frequency in (20, SAMPLE_RATE / 2))
    edges = torch.linspace(lowest, highest, num_bins + 2, dtype=_most_precise_type(like), device=like.device)
    return _triangles(1127 * torch.log1p(_frequencies(257, like) / 700), edges).to(like.dtype)


def slaney_filters(num_bins: int, like: Tensor) -> Tensor:
    """Compute Slaney's filters for an FFT of length 400: triangles of equal area with straight sides in Hz, 201×bins.

    Slaney's mel scale is linear below 1000 Hz (15 mel), and logarithmic above. The filters have the
    type and the device of ``like``.
    """
    step = math.log(6.4) / 27  # the range from 1000 to 6400 Hz is 27 mel wide
    highest = 15 + math.log(SAMPLE_RATE / 2000) / step
    mels = torch.linspace(0, highest, num_bins + 2, dtype=_most_precise_type(like), device=like.device)
    edges = torch.where(mels < 15, mels * (200 / 3), 1000 * torch.exp((mels - 15) * step))
    return (_triangles(_frequencies(201, like), edges) * (2 / (edges[2:] - edges[:-2]))).to(like.dtype)


def _most_precise_type(like: Tensor) -> torch.dtype:
    """Return the most precise type on the device of ``like``: float64, but float32 on Apple's GPUs."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def _frequencies(num_bins: int, like: Tensor) -> Tensor:
    """Compute the frequencies in Hz of the ``num_bins`` bins of a spectrum, on the device of ``like``."""
    return torch.linspace(0, SAMPLE_RATE / 2, num_bins, dtype=_most_precise_type(like), device=like.device)


def _triangles(positions: Tensor, edges: Tensor) -> Tensor:
    """Compute triangular filters, one for each inner edge, at P ``positions``: P×(E − 2).

    Each filter is 1 at its own edge, and falls to 0 at the two neighbouring edges. The E ``edges``
    have the same unit as the positions.
    """
    lower = edges[:-2]
    centre = edges[1:-1]
    upper = edges[2:]
    rising = (positions[:, None] - lower) / (centre - lower)
    falling = (upper - positions[:, None]) / (upper - centre)
    return torch.minimum(rising, falling).clamp_min(0)
