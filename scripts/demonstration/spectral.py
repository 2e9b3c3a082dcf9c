"""Short-time spectra of 16 kHz audio, and what is made of them: mel bands, MFCCs, Griffin-Lim, a phase vocoder.

A spectrum is complex, bins×frames, of Hann windows as long as the FFT. The first window lies around
the first sample.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import dct
from scipy.signal import istft, stft

from .channel import RATE

#: momentum of fast Griffin-Lim
MOMENTUM = 0.99


def spectrum(x: np.ndarray, fft: int, hop: int) -> np.ndarray:
    """Compute the spectrum of ``x``, padded with zeros, with ``hop`` samples from window to window."""
    return stft(x, nperseg=fft, noverlap=fft - hop)[2]


def waveform(spectrum: np.ndarray, fft: int, hop: int, length: int) -> np.ndarray:
    """Invert :func:`spectrum`, and cut or pad the waveform to ``length`` samples."""
    x = istft(spectrum, nperseg=fft, noverlap=fft - hop)[1][:length]
    return np.pad(x, (0, length - len(x)))


@cache
def mel_bands(num_bands: int, fft: int, low: float = 0, high: float = RATE / 2) -> np.ndarray:
    """Compute triangular bands of unit area, equally wide on the mel scale: bands×bins.

    Args:
        low: lower edge of the first band in Hz.
        high: upper edge of the last band in Hz.
    """
    low_mel, high_mel = 2595 * np.log10(1 + np.array([low, high]) / 700)
    edges = 700 * (10 ** (np.linspace(low_mel, high_mel, num_bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, fft // 2 + 1)
    starts, centres, ends = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - starts) / (centres - starts)
    falling = (ends - frequencies) / (ends - centres)
    return np.clip(np.minimum(rising, falling), 0, None) * 2 / (ends - starts)


def mfcc(x: np.ndarray, num_coefficients: int) -> np.ndarray:
    """Compute MFCCs of frames of 32 ms, 10 ms apart, from 40 bands of 100 Hz to 3.8 kHz: coefficients×frames.

    Bands that lie more than 80 dB below the loudest count as 80 dB below it.
    """
    fft = 512
    power = np.abs(spectrum(x, fft, RATE // 100)) ** 2
    decibels = 10 * np.log10(np.maximum(mel_bands(40, fft, 100, 3800) @ power, 1e-12))
    decibels = np.maximum(decibels, decibels.max() - 80)
    return dct(decibels, axis=0, norm="ortho")[:num_coefficients]


def griffin_lim(magnitude: np.ndarray, fft: int, length: int, steps: int, rng: np.random.Generator) -> np.ndarray:
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
        consistent = spectrum(waveform(magnitude * phases, fft, hop, length), fft, hop)[:, : magnitude.shape[1]]
        moved = consistent - MOMENTUM / (1 + MOMENTUM) * previous
        phases = moved / np.maximum(np.abs(moved), 1e-16)
        previous = consistent
    return waveform(magnitude * phases, fft, hop, length)


def change_speed(x: np.ndarray, rate: float, fft: int, hop: int) -> np.ndarray:
    """Play ``x`` at ``rate`` times its speed with its pitch kept, by a phase vocoder.

    Magnitudes are interpolated between frames, and phases go on by the phase difference of these
    frames, unwrapped around that of the bin's frequency (Flanagan and Golden 1966).
    """
    frames = np.pad(spectrum(x, fft, hop), ((0, 0), (0, 2)))
    positions = np.arange(0, frames.shape[1] - 2, rate)
    before = positions.astype(int)
    share = positions - before
    magnitude = (1 - share) * np.abs(frames[:, before]) + share * np.abs(frames[:, before + 1])
    expected = 2 * np.pi * hop * np.arange(fft // 2 + 1)[:, None] / fft
    deviation = np.angle(frames[:, before + 1]) - np.angle(frames[:, before]) - expected
    advance = expected + deviation - 2 * np.pi * np.round(deviation / (2 * np.pi))
    phases = np.cumsum(np.column_stack([np.angle(frames[:, 0]), advance[:, :-1]]), axis=1)
    return waveform(magnitude * np.exp(1j * phases), fft, hop, int(len(x) / rate))
