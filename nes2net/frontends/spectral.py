"""Front-ends without parameters: the log-power spectrum, computed on the device of the waveform, and the waveform itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nes2net.errors import InputError

_WINDOWS = {
    "blackman": torch.blackman_window,
    "hamming": torch.hamming_window,
    "hann": torch.hann_window,
}


class LogPowerSpectrum(nn.Module):
    """Logarithm of the magnitude spectrum, one frame per ``hop_length`` samples.

    Per frame: pre-emphasis x[n] − 0.97·x[n−1], a symmetric window, FFT, log(|X| + e^−80). The defaults are the full-band setting of the
    SR-LA Res2Net group (Neural Networks 2024) that MPIF-Res2Net is taken to share (assumption, see DEVIATIONS.md).

    Args:
        n_fft: FFT length in samples; the window is as long.
        hop_length: samples between two frames.
        window: blackman, hamming or hann, symmetric.
        pre_emphasis: coefficient in [0, 1); 0 for none.
        num_bins: the lowest bins to keep; None for all n_fft/2 + 1.
        normalize: subtract each bin's mean over the utterance and divide by the standard deviation of the whole (no published value).

    Attributes:
        out_dim: number of bins. num_layers: 1. hop_length, min_samples: in samples.

    >>> frontend = LogPowerSpectrum(n_fft=512, hop_length=160, num_bins=256)
    >>> [tuple(state.shape) for state in frontend(torch.zeros(2, 16000))]
    [(2, 97, 256)]
    """

    num_layers = 1

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        n_fft: int = 1728,
        hop_length: int = 130,
        window: str = "blackman",
        pre_emphasis: float = 0.97,
        num_bins: int | None = None,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        if checkpoint is not None:
            raise InputError(f"the lps front-end has nothing to learn and takes no checkpoint ({checkpoint} was given)")
        if window not in _WINDOWS:
            raise InputError(f"window is one of {', '.join(_WINDOWS)}, not '{window}'")
        all_bins = n_fft // 2 + 1
        if num_bins is not None and not 0 < num_bins <= all_bins:
            raise InputError(f"num_bins is 1 to {all_bins} for n_fft {n_fft}, not {num_bins}")
        self.config = {"name": "lps", "n_fft": n_fft, "hop_length": hop_length, "window": window}
        self.config.update(pre_emphasis=pre_emphasis, num_bins=num_bins, normalize=normalize)
        self.out_dim = num_bins or all_bins
        self.hop_length = hop_length
        self.min_samples = n_fft
        self.n_fft, self.pre_emphasis, self.normalize = n_fft, pre_emphasis, normalize
        self.window = _WINDOWS[window]

    def forward(self, waveform: Tensor, layers: str = "last", final_norm: bool = True) -> list[Tensor]:
        """Spectrum of ``waveform`` (B×N) as one hidden state B×T×out_dim, T = 1 + (N − n_fft) // hop_length.

        ``layers`` and ``final_norm`` are the other front-ends' and change nothing: there is one layer and no norm.
        """
        if waveform.shape[-1] < self.min_samples:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short: one frame needs {self.min_samples}"
            )
        x = waveform.to(torch.promote_types(waveform.dtype, torch.float32))  # there is no FFT in half precision
        x = torch.cat([x[:, :1], x[:, 1:] - self.pre_emphasis * x[:, :-1]], dim=1)
        window = self.window(self.n_fft, periodic=False, dtype=x.dtype, device=x.device)
        spectrum = torch.stft(x, self.n_fft, self.hop_length, window=window, center=False, return_complex=True)
        log_magnitude = torch.log(spectrum[:, : self.out_dim].abs() + torch.e**-80).transpose(1, 2)  # B×T×bins
        if self.normalize:
            log_magnitude = log_magnitude - log_magnitude.mean(1, keepdim=True)
            log_magnitude = log_magnitude / (log_magnitude.square().mean((1, 2), keepdim=True).sqrt() + 1e-5)
        return [log_magnitude.to(waveform.dtype)]


class Waveform(nn.Module):
    """The waveform itself as one hidden state B×N×1, for back-ends that bring filters of their own (raw AASIST).

    >>> Waveform()(torch.zeros(2, 100))[0].shape
    torch.Size([2, 100, 1])
    """

    out_dim = num_layers = hop_length = min_samples = 1

    def __init__(self, checkpoint: str | None = None) -> None:
        super().__init__()
        if checkpoint is not None:
            raise InputError(
                f"the waveform front-end has nothing to learn and takes no checkpoint ({checkpoint} was given)"
            )
        self.config = {"name": "waveform"}

    def forward(self, waveform: Tensor, layers: str = "last", final_norm: bool = True) -> list[Tensor]:
        """``waveform`` B×N → [B×N×1]; the other arguments change nothing."""
        return [waveform.unsqueeze(-1)]
