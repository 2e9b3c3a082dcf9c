"""Logarithm of the magnitude spectrum (``lps``)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from nes2net.lib.parts.options import check_at_most
from nes2net.models.frontends.spectrum import HopLength, LeadingSamples, PreEmphasis, SpectralFrontend, WindowLength

#: Value of the option ``window`` → function that makes the window.
_WINDOWS = {
    "blackman": torch.blackman_window,
    "hamming": torch.hamming_window,
    "hann": torch.hann_window,
}


class LogPowerSpectrum(SpectralFrontend):
    """Logarithm of the magnitude spectrum, one frame per ``hop_length`` samples: B×N → B×T×bins.

    For each frame: pre-emphasis x[n] − 0.97·x[n−1], a symmetric window, an FFT and log(|X| +
    e^−80). The defaults are those of SR-LA Res2Net (Neural Networks 2024), full band; the same for
    MPIF-Res2Net is an assumption. Set ``num_bins=45`` for its F0 sub-band, 0 to 416 Hz, and
    ``num_samples=80000``.

    Args:
        n_fft: length of the FFT and of the window in samples.
        hop_length: samples from one frame to the next.
        window: ``"blackman"``, ``"hamming"`` or ``"hann"``.
        pre_emphasis: coefficient in [0, 1); 0 for no pre-emphasis.
        num_bins: number of bins to keep, from 0 Hz on; None for all n_fft/2 + 1 bins.
        normalize: subtract the mean of each bin over the utterance, and divide by the standard
            deviation over all bins and frames. No publication says whether the authors of SR-LA
            Res2Net normalise spectra.
        num_samples: number of leading samples of a waveform to read; None for all.

    Raises:
        InputError: if options do not fit each other.

    >>> frontend = LogPowerSpectrum(n_fft=512, hop_length=160, num_bins=256)
    >>> [tuple(state.shape) for state in frontend(torch.zeros(2, 16000))]
    [(2, 97, 256)]
    """

    source = "The full-band options of SR-LA Res2Net (Neural Networks 2024)."
    length_option = "n_fft"

    def __init__(
        self,
        *,
        n_fft: WindowLength = 1728,
        hop_length: HopLength = 130,
        window: Literal["blackman", "hamming", "hann"] = "blackman",
        pre_emphasis: PreEmphasis = 0.97,
        num_bins: Annotated[int, Field(ge=1)] | None = None,
        normalize: bool = False,
        num_samples: LeadingSamples = None,
    ) -> None:
        super().__init__(n_fft, hop_length, num_samples, pre_emphasis)
        all_bins = n_fft // 2 + 1
        self.out_dim = num_bins or all_bins
        check_at_most("num_bins", self.out_dim, all_bins, "n_fft / 2 + 1")
        self.n_fft = n_fft
        self.normalize = normalize
        self.window = _WINDOWS[window]

    def features(self, x: Tensor) -> Tensor:
        """Compute the log spectrum B×T×bins of the pre-emphasised ``x`` B×N; T = 1 + (N − n_fft) // hop_length."""
        window = self.window(self.n_fft, periodic=False, dtype=x.dtype, device=x.device)
        spectrum = torch.stft(x, self.n_fft, self.hop_length, window=window, center=False, return_complex=True)
        # B×all bins×T → B×T×bins; e⁻⁸⁰ as published: the logarithm is at least −80.
        log_magnitude = torch.log(spectrum[:, : self.out_dim].abs() + torch.e**-80).transpose(1, 2)
        if self.normalize:
            log_magnitude = log_magnitude - log_magnitude.mean(1, keepdim=True)
            log_magnitude = log_magnitude / (log_magnitude.square().mean((1, 2), keepdim=True).sqrt() + 1e-5)
        return log_magnitude
