"""Low-pass filters: training utterances as a telephone or a wideband channel passes them.

J. M. Martín-Doñas, A. Álvarez, "The Vicomtech audio deepfake detection system based on wav2vec2 for
the 2022 ADD challenge", ICASSP 2022 (arXiv 2203.01573): FIR filters as augmentation, for a
narrow-band (FIR-NB) and a wideband system (FIR-WB). No code is published: window, taps, cut-off
frequencies and probability are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field

from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.options import Settings, Takes, odd_or_zero

Band = Literal["telephone", "wide"]
#: Lowest and highest cut-off frequency in Hz.
CUTOFFS: dict[str, tuple[float, float]] = {"telephone": (3400.0, 4000.0), "wide": (6500.0, 7500.0)}


@dataclass(frozen=True)
class LowPass(Settings):
    """A low-pass filter over some utterances, with a Hamming window.

    The cut-off frequency, at which it passes half of the amplitude, is drawn anew for each
    utterance, uniformly within those of the band: 3.4 to 4 kHz for ``telephone``, 6.5 to 7.5 kHz
    for ``wide``. The filter delays nothing, and what lies before and after the utterance counts as
    silence.

    >>> LowPass("wide", probability=1.0)(np.zeros(16000, np.float32), np.random.default_rng(0)).shape
    (16000,)
    """

    owner: ClassVar[str] = "low-pass filter"

    band: Band = "telephone"
    """Band that the cut-off frequency is drawn for."""
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Chance of an utterance to be filtered."""
    taps: Annotated[
        int, Field(ge=3, le=10_001), AfterValidator(odd_or_zero), Takes("an odd number from 3 to 10001")
    ] = 101
    """Length of the filter in samples."""

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Filter ``x`` (N,), or return ``x`` itself; all draws come from ``rng``."""
        if rng.random() >= self.probability:
            return x
        return low_pass(x, rng.uniform(*CUTOFFS[self.band]), self.taps)


def low_pass(x: np.ndarray, cutoff: float, taps: int = 101) -> np.ndarray:
    """Filter ``x`` (N,) with a cut-off frequency in Hz; shape and type stay."""
    from scipy.signal import firwin, oaconvolve  # start-up: `nes2net.augment` is imported for --help

    filtered = oaconvolve(x, firwin(taps, cutoff, window="hamming", fs=SAMPLE_RATE), mode="full")
    return filtered[taps // 2 : taps // 2 + len(x)].astype(x.dtype, copy=False)
