"""Conditions of playback: speed and pitch.

The time scale is changed by WSOLA: W. Verhelst, M. Roelands, "An overlap-add technique based on
waveform similarity (WSOLA) for high quality time-scale modification of speech", ICASSP 1993.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.audio.waveform import padded
from nes2net.augment.speed import change_speed
from nes2net.conditions.base import Condition

_HOP = 256  # samples: 16 ms, half a window
_SEARCH = 160  # samples: 10 ms to either side, together more than a period of a low voice


class Speed(Condition):
    """Played slower (below 1) or faster: tempo, pitch and formants move together."""

    strengths = (0.95, 1.05)
    limits = (0.5, 2.0)
    time_moves = True

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        y = change_speed(x, self.strength)
        return y if len(y) and y is not x else x.copy()


class Pitch(Condition):
    """The pitch lower (below 1) or higher, and formants with it. The length stays; sounds move by 10 ms at most."""

    strengths = (0.95, 1.05)
    limits = (0.5, 2.0)
    time_moves = True

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return padded(stretch(change_speed(x, self.strength), 1 / self.strength), len(x))


def stretch(x: NDArray[np.float32], tempo: float) -> NDArray[np.float32]:
    """Play ``x`` (N,) at ``tempo`` without changing its frequencies: (M,), M = N / ``tempo`` rounded up.

    Windows of 32 ms are overlapped by half. Each is taken from within 10 ms of its place, where it
    resembles most what would have followed the one before.
    """
    window = np.hanning(2 * _HOP + 1)[:-1]
    length = int(np.ceil(len(x) / tempo))
    count = length // _HOP + 2
    before = _HOP + _SEARCH
    samples = np.pad(x.astype(np.float64), (before, int(_HOP * tempo) * 3 + 4 * _HOP + 2 * _SEARCH))
    y = np.zeros((count + 1) * _HOP)
    follower = before - _HOP  # the first window, centred on the first sample, stays where it is
    for k in range(count):
        place = before - _HOP + round(k * _HOP * tempo)
        first = place - _SEARCH
        region = samples[first : first + 2 * (_HOP + _SEARCH)]
        expected = samples[follower : follower + 2 * _HOP]
        chosen = place if k == 0 else first + _most_alike(region, expected)
        y[k * _HOP : (k + 2) * _HOP] += window * samples[chosen : chosen + 2 * _HOP]
        follower = chosen + _HOP
    return y[_HOP : _HOP + length].astype(np.float32)


def _most_alike(region: NDArray[np.float64], expected: NDArray[np.float64]) -> int:
    """Where in ``region`` a piece correlates most with ``expected``, relative to its energy."""
    products = np.correlate(region, expected)
    energy = np.concatenate([[0.0], np.cumsum(region**2)])
    energies = np.maximum(energy[len(expected) :] - energy[: -len(expected)], 0)
    if not energies.max() > 0:
        return len(products) // 2
    return int(np.argmax(products / np.sqrt(energies + 1e-9 * energies.max())))
