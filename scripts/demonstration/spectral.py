"""Short-time spectra of 16 kHz audio, and what is made of them: mel bands, MFCCs, Griffin-Lim, a phase vocoder.

A spectrum is complex, bins×frames, of Hann windows as long as the FFT. The first window lies around
the first sample.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import istft, stft

from .channel import RATE

#: momentum of fast Griffin-Lim
MOMENTUM = 0.99


def spectrum(x: NDArray, fft: int, hop: int) -> NDArray:
    """Compute the spectrum of ``x``, padded with zeros, with ``hop`` samples from window to window."""
    return stft(x, nperseg=fft, noverlap=fft - hop)[2]


def waveform(spectrum: NDArray, fft: int, hop: int, length: int) -> NDArray:
    """Invert :func:`spectrum`, and cut or pad the waveform to ``length`` samples."""
    _, x = istft(spectrum, nperseg=fft, noverlap=fft - hop)
    x = x[:length]
    return np.pad(x, (0, length - len(x)))


@cache
def mel_bands(num_bands: int, fft: int, low: float = 0, high: float = RATE / 2) -> NDArray:
    """Compute triangular bands of unit area, equally wide on the mel scale: bands×bins.

    Args:
        low: lower edge of the first band in Hz.
        high: upper edge of the last band in Hz.
    """
    low_mel, high_mel = 2595 * np.log10(1 + np.array([low, high]) / 700)
    mels = np.linspace(low_mel, high_mel, num_bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, fft // 2 + 1)
    starts = edges[:-2, None]
    centres = edges[1:-1, None]
    ends = edges[2:, None]
    rising = (frequencies - starts) / (centres - starts)
    falling = (ends - frequencies) / (ends - centres)
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    return triangles * 2 / (ends - starts)


def mfcc(x: NDArray, num_coefficients: int) -> NDArray:
    """Compute MFCCs of frames of 32 ms, 10 ms apart, from 40 bands of 100 Hz to 3.8 kHz: coefficients×frames.

    Bands that lie more than 80 dB below the loudest count as 80 dB below it.
    """
    fft = 512
    power = np.abs(spectrum(x, fft, RATE // 100)) ** 2
    bands = mel_bands(40, fft, 100, 3800) @ power
    decibels = 10 * np.log10(np.maximum(bands, 1e-12))
    decibels = np.maximum(decibels, decibels.max() - 80)
    return dct(decibels, axis=0, norm="ortho")[:num_coefficients]


def griffin_lim(magnitude: NDArray, fft: int, length: int, steps: int, rng: np.random.Generator) -> NDArray:
    """Find phases for a spectrum's magnitude by fast Griffin-Lim, from random ones; hops are a quarter of the FFT.

    Source: Griffin and Lim 1984; with momentum by Perraudin, Balazs and Søndergaard, WASPAA 2013.

    Args:
        magnitude: bins×frames.
        length: number of samples to return.
    """
    hop = fft // 4
    phases = np.exp(2j * np.pi * rng.random(magnitude.shape))
    previous = np.zeros_like(phases)
    for _ in range(steps):
        x = waveform(magnitude * phases, fft, hop, length)
        consistent = spectrum(x, fft, hop)[:, : magnitude.shape[1]]
        moved = consistent - MOMENTUM / (1 + MOMENTUM) * previous
        phases = moved / np.maximum(np.abs(moved), 1e-16)
        previous = consistent
    return waveform(magnitude * phases, fft, hop, length)


def change_speed(x: NDArray, rate: float, fft: int, hop: int) -> NDArray:
    """Play ``x`` at ``rate`` times its speed with its pitch kept, by a phase vocoder.

    Magnitudes are interpolated between frames, and phases go on by the phase difference of these
    frames, unwrapped around that of the bin's frequency (Flanagan and Golden 1966).
    """
    frames = np.pad(spectrum(x, fft, hop), ((0, 0), (0, 2)))
    positions = np.arange(0, frames.shape[1] - 2, rate)
    indices = positions.astype(int)
    share = positions - indices
    before = frames[:, indices]
    after = frames[:, indices + 1]
    magnitude = (1 - share) * np.abs(before) + share * np.abs(after)
    bins = np.arange(fft // 2 + 1)[:, None]
    expected = 2 * np.pi * hop * bins / fft
    deviation = np.angle(after) - np.angle(before) - expected
    turns = np.round(deviation / (2 * np.pi))
    advance = expected + deviation - 2 * np.pi * turns
    first_phases = np.angle(frames[:, 0])
    phases = np.cumsum(np.column_stack([first_phases, advance[:, :-1]]), axis=1)
    return waveform(magnitude * np.exp(1j * phases), fft, hop, int(len(x) / rate))
