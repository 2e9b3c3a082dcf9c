"""Effects that change the length or move sounds in time: trimmed silence, cuts, speed and pitch.

The speed perturbation in training is modelled on T. Ko, V. Peddinti, D. Povey, S. Khudanpur, "Audio
augmentation for speech recognition", Interspeech 2015, with a range instead of the speeds 0.9, 1
and 1.1. The pitch is changed by resampling; WSOLA then restores the duration: W. Verhelst, M.
Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high quality time-scale
modification of speech", ICASSP 1993.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
from numpy.random import Generator

from nes2net.data.audio.waveform import SAMPLE_RATE, pad
from nes2net.data.augment.effect import Effect, Waveform

_FRAME = 160  # length of a frame of Trim in samples: 10 ms
_HOP = 256  # samples from one window of WSOLA to the next: 16 ms, half a window
# WSOLA moves a window by at most this many samples: 10 ms to either side, in all more than a period of a low voice.
_SEARCH = 160


class Trim(Effect):
    """Cut off silent ends. A 10-ms frame is silent if it is softer than the loudest frame by more than the strength."""

    unit = "dB"
    strengths = (50.0, 40.0, 30.0)
    limits = (1.0, 120.0)
    time_moves = True

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        frames = np.pad(x.astype(np.float64), (0, -len(x) % _FRAME)).reshape(-1, _FRAME)  # (frames, samples)
        powers = np.square(frames).mean(1)
        (loud_frames,) = np.nonzero(powers >= powers.max() * 10 ** (-self.strength / 10))
        return x[loud_frames[0] * _FRAME : (loud_frames[-1] + 1) * _FRAME].copy()


class Cut(Effect):
    """Keep only the first seconds; a shorter recording is not changed."""

    unit = "s"
    strengths = (8.0, 4.0, 2.0, 1.0, 0.5)
    limits = (0.01, 86_400.0)
    time_moves = True

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return x[: round(self.strength * SAMPLE_RATE)].copy()


class Speed(Effect):
    """Play the waveform slower (below 1) or faster: tempo, pitch and formants change together."""

    strengths = (0.95, 1.05)
    limits = (0.5, 2.0)
    time_moves = True

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return change_speed(x, self.strength)


class DrawnSpeed(Effect):
    """Play the waveform at a random speed between ``low`` and ``high``, uniform on a logarithmic scale."""

    time_moves = True

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return change_speed(x, math.exp(rng.uniform(math.log(self.low), math.log(self.high))))


class Pitch(Speed):
    """Shift pitch and formants together. The length stays the same, and no sound moves by more than 10 ms."""

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return pad(stretch(change_speed(x, self.strength), 1 / self.strength), len(x))  # stretch restores the length


def change_speed(x: Waveform, speed: float) -> Waveform:
    """Multiply the frequencies of ``x`` (N,), and divide its length, by ``speed``.

    A faster waveform loses its highest frequencies. If no sample would remain, the result is a
    copy.

    >>> change_speed(np.zeros(16000, np.float32), 1.25).shape
    (12800,)
    """
    if speed != 1:
        y = soxr.resample(x, speed, 1.0)
        if len(y):
            return y
    return x.copy()


def stretch(x: Waveform, tempo: float) -> Waveform:
    """Play ``x`` (N,) at ``tempo`` without changing the frequencies: (M,), M = ⌈N / ``tempo``⌉.

    WSOLA overlaps windows of 32 ms by half, each taken up to 10 ms earlier or later, where it is
    most similar to the samples after the previous one.
    """
    window = np.hanning(2 * _HOP + 1)[:-1]
    length = int(np.ceil(len(x) / tempo))
    num_windows = length // _HOP + 2
    padding_before = _HOP + _SEARCH
    # Enough zeros at the end that no window, moved as far as it may, reaches beyond.
    samples = np.pad(x.astype(np.float64), (padding_before, int(_HOP * tempo) * 3 + 4 * _HOP + 2 * _SEARCH))
    y = np.zeros((num_windows + 1) * _HOP)
    continuation = padding_before - _HOP  # start of the samples after the previous window
    for k in range(num_windows):
        start = padding_before - _HOP + round(k * _HOP * tempo)
        if k:  # after the first window: find the highest normalised correlation with ``expected``
            search_start = start - _SEARCH
            region = samples[search_start : search_start + 2 * (_HOP + _SEARCH)]
            expected = samples[continuation : continuation + 2 * _HOP]
            products = np.correlate(region, expected)
            energy = np.concatenate([[0.0], np.cumsum(region**2)])
            # The energy of each possible window. The correlation of a window is divided by the root of the window's
            # energy.
            energies = np.maximum(energy[len(expected) :] - energy[: -len(expected)], 0)
            highest_energy = energies.max()
            if highest_energy > 0:
                start = search_start + int(np.argmax(products / np.sqrt(energies + 1e-9 * highest_energy)))
            else:  # silence: the window does not move
                start = search_start + len(products) // 2
        y[k * _HOP : (k + 2) * _HOP] += window * samples[start : start + 2 * _HOP]
        continuation = start + _HOP
    return y[_HOP : _HOP + length].astype(np.float32)
