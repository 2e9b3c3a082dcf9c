"""Conditions of the length: silence trimmed away, and short recordings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.conditions.base import Condition

_FRAME = 160  # samples: 10 ms


class Trim(Condition):
    """Silence at both ends is cut off: the frames of 10 ms that are softer than the loudest by this much."""

    unit = "dB"
    strengths = (50.0, 40.0, 30.0)
    limits = (1.0, 120.0)
    time_moves = True

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        frames = np.pad(x.astype(np.float64), (0, -len(x) % _FRAME)).reshape(-1, _FRAME)
        powers = np.square(frames).mean(1)
        (loud,) = np.nonzero(powers >= powers.max() * 10 ** (-self.strength / 10))
        return x[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME].copy()


class Cut(Condition):
    """The beginning alone: so many seconds. A shorter recording stays."""

    unit = "s"
    strengths = (8.0, 4.0, 2.0, 1.0, 0.5)
    limits = (0.01, 86_400.0)
    time_moves = True

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return x[: round(self.strength * SAMPLE_RATE)].copy()
