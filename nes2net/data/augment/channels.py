"""Effects of a transmission line on a waveform: band and filters, sampling rate, gain and clipping.

The low-pass filters are modelled on FIR-NB (narrow-band) and FIR-WB (wideband) of J. M.
Martín-Doñas, A. Álvarez, "The Vicomtech audio deepfake detection system based on wav2vec2 for the
2022 ADD challenge", ICASSP 2022 (arXiv 2203.01573). The code is not published: window, taps,
cut-off frequencies and probability are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import soxr
from numpy.random import Generator
from pydantic import AfterValidator, Field

from nes2net.data.audio.waveform import SAMPLE_RATE, pad
from nes2net.data.augment.effect import Effect, Waveform
from nes2net.lib.parts.options import Settings, Share, Takes, odd_or_zero

_LINE_RATE = 8000  # sampling rate of a telephone line in Hz
_LINE_TAPS = 255  # length of the line's filter in samples; gives a transition band of about 100 Hz
Band = Literal["telephone", "wide"]
#: Band → lowest and highest cut-off frequency of :class:`LowPass` in Hz.
CUTOFFS: dict[str, tuple[float, float]] = {"telephone": (3400.0, 4000.0), "wide": (6500.0, 7500.0)}


class Telephone(Effect):
    """The band of a telephone line, 300 to 3400 Hz at 8 kHz, without a codec."""

    is_linear = True

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        from scipy.signal import firwin, oaconvolve  # for a fast start-up: importing scipy.signal takes long

        taps = firwin(_LINE_TAPS, (300.0, 3400.0), pass_zero=False, fs=_LINE_RATE).astype(np.float32)  # ITU-T G.712
        line = soxr.resample(x, SAMPLE_RATE, _LINE_RATE)
        if len(line):
            line = oaconvolve(line, taps)[_LINE_TAPS // 2 :][: len(line)]  # without the filter's delay
        return pad(soxr.resample(line, _LINE_RATE, SAMPLE_RATE), len(x))


class Resample(Effect):
    """Resampling to a lower rate and back to 16 kHz: nothing is left above half the lower rate."""

    unit = "kHz"
    strengths = (12.0, 8.0, 6.0, 4.0)
    limits = (1.0, 16.0)
    is_linear = True

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        rate = 1000 * self.strength  # in Hz
        return pad(soxr.resample(soxr.resample(x, SAMPLE_RATE, rate), rate, SAMPLE_RATE), len(x))


class Gain(Effect):
    """Make all samples louder or softer."""

    unit = "dB"
    strengths = (-10.0, -20.0, -30.0)
    limits = (-100.0, 40.0)
    is_linear = True

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return x * np.float32(10 ** (self.strength / 20))


class Clip(Effect):
    """Clipping of the loudest samples; the strength is the share of clipped samples."""

    unit = "%"
    strengths = (1.0, 5.0, 10.0)
    limits = (0.0, 99.0)

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        limit = np.quantile(np.abs(x), 1 - self.strength / 100).astype(np.float32)
        # If ``x`` is mostly digital silence, the limit may be 0. Clipping at 0 would make all samples 0.
        return np.clip(x, -limit, limit) if limit else x.copy()


@dataclass(frozen=True)
class LowPass(Settings, Effect):
    """A low-pass FIR filter, designed with a Hamming window, for some of the utterances.

    The cut-off frequency, at which the amplitude is halved, is drawn for each utterance: uniform in
    3.4 to 4 kHz for ``telephone``, 6.5 to 7.5 kHz for ``wide``. The filter has no delay, and
    assumes silence before and after the utterance.

    >>> LowPass("wide", probability=1.0)(np.zeros(16000, np.float32), np.random.default_rng(0)).shape
    (16000,)
    """

    owner: ClassVar[str] = "low-pass filter"

    band: Band = "telephone"
    """The cut-off frequency is drawn from the range of this band."""
    probability: Share = 0.5
    """Chance that an utterance is filtered."""
    taps: Annotated[
        int, Field(ge=3, le=10_001), AfterValidator(odd_or_zero), Takes("an odd number from 3 to 10001")
    ] = 101
    """Length of the filter in samples."""

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        # Another order of draws would change the result of every seed.
        if rng.random() >= self.probability:
            return x
        return low_pass(x, rng.uniform(*CUTOFFS[self.band]), self.taps)


def low_pass(x: Waveform, cutoff: float, taps: int = 101) -> Waveform:
    """Filter ``x`` (N,) by a low-pass at ``cutoff`` Hz; keep its shape and type."""
    from scipy.signal import firwin, oaconvolve  # for a fast start-up: importing scipy.signal takes long

    filtered = oaconvolve(x, firwin(taps, cutoff, window="hamming", fs=SAMPLE_RATE), mode="full")
    return filtered[taps // 2 : taps // 2 + len(x)].astype(x.dtype, copy=False)  # the filter delays by this
