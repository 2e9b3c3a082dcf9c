"""Linear-frequency cepstral coefficients (``lfcc``)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.parts.options import UpTo1024, check_at_most
from nes2net.models.frontends.spectrum import HopLength, LeadingSamples, PreEmphasis, SpectralFrontend, WindowLength

Filters = UpTo1024


class LinearFrequencyCepstrum(SpectralFrontend):
    """LFCC with first and second differences, as in the ASVspoof baselines: B×N → B×T×D.

    Each frame: pre-emphasis, symmetric Hamming window, |FFT|², triangular filters equally spaced
    from 0 Hz to ``max_frequency``, log10(· + 2.2e-16), the lowest coefficients of an orthonormal
    DCT-II, with the 0th. Δc[t] = ``delta_scale``·(c[t+1] − c[t−1]), end frames repeated; ΔΔ from Δ
    likewise.

    Defaults: LFCC-GMM baseline of ASVspoof 2019. MATLAB baseline of 2021 LA: ``window_length=480,
    hop_length=240, n_fft=1024, num_filters=70, max_frequency=4000, pre_emphasis=0,
    delta_scale=0.5``; of 2021 PA, ``max_frequency=8000``. Python baseline of 2021 (spafe 0.3.3): as
    2021 LA, with ``delta_scale=1, max_frequency=8000``. The baselines pad the last frame; here it is
    dropped.

    Args:
        window_length, hop_length, n_fft: lengths in samples; the default window is 20 ms, the hop
            10 ms.
        num_filters: number of triangular filters.
        num_coefficients: number of cepstral coefficients to keep, at most ``num_filters``.
        max_frequency: upper edge of the last filter in Hz.
        pre_emphasis: coefficient in [0, 1); 0 for no pre-emphasis.
        deltas: highest order of the differences, 0 to 2; D is (1 + deltas)·num_coefficients.
        delta_scale: factor of the differences: 0.5 in the MATLAB baseline of 2021, otherwise 1.
        num_samples: number of leading samples of a waveform to read; None for all.

    Raises:
        InputError: if options do not fit each other.

    >>> [tuple(state.shape) for state in LinearFrequencyCepstrum()(torch.zeros(2, 16000))]
    [(2, 99, 60)]
    """

    source = (
        'M. Sahidullah, T. Kinnunen, C. Hanilçi, "A comparison of features for synthetic speech detection", '
        "Interspeech 2015."
    )
    length_option = "window_length"

    def __init__(
        self,
        *,
        window_length: WindowLength = 320,
        hop_length: HopLength = 160,
        n_fft: WindowLength = 512,
        num_filters: Filters = 20,
        num_coefficients: Filters = 20,
        max_frequency: Annotated[float, Field(gt=0, le=SAMPLE_RATE / 2)] = SAMPLE_RATE / 2,
        pre_emphasis: PreEmphasis = 0.97,
        deltas: Annotated[int, Field(ge=0, le=2)] = 2,
        delta_scale: float = 1.0,
        num_samples: LeadingSamples = None,
    ) -> None:
        super().__init__(window_length, hop_length, num_samples, pre_emphasis)
        check_at_most("window_length", window_length, n_fft, "n_fft")
        check_at_most("num_coefficients", num_coefficients, num_filters, "num_filters")
        self.out_dim = (1 + deltas) * num_coefficients
        self.window_length = window_length
        self.n_fft = n_fft
        self.deltas = deltas
        self.delta_scale = delta_scale
        self.num_filters = num_filters
        self.num_coefficients = num_coefficients
        self.max_frequency = max_frequency

    def features(self, x: Tensor) -> Tensor:
        """Compute cepstral coefficients, Δ and ΔΔ, B×T×D, of the pre-emphasised ``x`` B×N.

        T = 1 + (N − window_length) // hop_length.
        """
        window = torch.hamming_window(self.window_length, periodic=False, dtype=x.dtype, device=x.device)
        frames = x.unfold(1, self.window_length, self.hop_length) * window  # B×T×window
        power = torch.view_as_real(torch.fft.rfft(frames, self.n_fft)).square().sum(-1)  # B×T×bins

        # Triangular filters of height 1, bins×filters. Each filter extends from the centre of the filter below to the
        # centre of the filter above.
        edges = torch.linspace(0, self.max_frequency, self.num_filters + 2, dtype=torch.float64, device=x.device)
        filters = symmetric_filters(self.n_fft // 2 + 1, edges)
        log_bands = torch.log10(power @ filters.to(x.dtype) + torch.finfo(torch.float64).eps)  # B×T×filters

        features = [log_bands @ cosine_transform(self.num_filters, self.num_coefficients, x)]
        for _ in range(self.deltas):
            last = features[-1]
            padded = torch.cat([last[:, :1], last, last[:, -1:]], dim=1)
            features.append(self.delta_scale * (padded[:, 2:] - padded[:, :-2]))
        return torch.cat(features, dim=2)


def symmetric_filters(num_bins: int, edges: Tensor) -> Tensor:
    """Compute triangles, bins×filters, symmetric to their lower sides; ``edges`` in Hz."""
    bins = torch.linspace(0, SAMPLE_RATE / 2, num_bins, dtype=edges.dtype, device=edges.device).unsqueeze(1)
    return (1 - (bins - edges[1:-1]).abs() / edges.diff()[:-1]).clamp(min=0)


def cosine_transform(num_filters: int, num_coefficients: int, like: Tensor) -> Tensor:
    """Compute the first columns of the orthonormal DCT-II, filters×coefficients."""
    n = torch.arange(num_filters, dtype=torch.float64, device=like.device).unsqueeze(1)
    k = torch.arange(num_coefficients, dtype=torch.float64, device=like.device)
    cosines = torch.cos(math.pi * k * (2 * n + 1) / (2 * num_filters)) * math.sqrt(2 / num_filters)
    return torch.where(k == 0, cosines / math.sqrt(2), cosines).to(like.dtype)
