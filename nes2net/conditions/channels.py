"""Conditions of the band: telephone lines and lower sampling rates."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from nes2net.audio.waveform import SAMPLE_RATE, padded
from nes2net.conditions.base import Condition

_LINE_RATE = 8000  # Hz
_LINE_BAND = (300.0, 3400.0)  # Hz; ITU-T G.712
_LINE_TAPS = 255  # a transition of about 100 Hz


class Telephone(Condition):
    """The band of a telephone line, 300 to 3400 Hz at 8 kHz, without a codec."""

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        from scipy.signal import firwin, oaconvolve  # start-up: scipy.signal takes long to import

        taps = firwin(_LINE_TAPS, _LINE_BAND, pass_zero=False, fs=_LINE_RATE).astype(np.float32)
        line = soxr.resample(x, SAMPLE_RATE, _LINE_RATE)
        if len(line):
            line = oaconvolve(line, taps)[_LINE_TAPS // 2 :][: len(line)]
        return padded(soxr.resample(line, _LINE_RATE, SAMPLE_RATE), len(x))


class Resample(Condition):
    """A lower sampling rate and back to 16 kHz: nothing is left above half of it."""

    unit = "kHz"
    strengths = (12.0, 8.0, 6.0, 4.0)
    limits = (1.0, 16.0)

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        rate = 1000 * self.strength
        return padded(soxr.resample(soxr.resample(x, SAMPLE_RATE, rate), rate, SAMPLE_RATE), len(x))
