"""Remarks on recordings: silence, constants, clipping and a few milliseconds, and none on others."""

import numpy as np
import pytest
import soxr
from builders import voices

from nes2net.audio.remarks import Listener, remark_of

RATE = 16000
TIME = np.arange(2 * RATE) / RATE
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)


def resampled(samples):
    return soxr.resample(np.clip(samples, -1, 1), 44100, RATE, quality="HQ")


@pytest.mark.parametrize(
    "samples, remark",
    [
        (np.zeros(RATE), "digital silence"),
        (np.r_[np.zeros(RATE), 0.5, np.zeros(RATE)], "digital silence"),
        (np.full(RATE, -0.25), "constant: its samples do not change"),
        (resampled(np.full(2 * 44100, 0.5)), "constant: its samples do not change"),
        (np.clip(voices.voice(), -0.1, 0.1), "clipped: "),
        (resampled(4 * soxr.resample(voices.voice(), RATE, 44100)), "clipped: "),
        (voices.voice(), ""),
        (NOISE, ""),
        *((np.sin(2 * np.pi * frequency * TIME), "") for frequency in (50, 440, 1000)),  # not clipped at full scale
        (np.r_[np.zeros(RATE), NOISE], ""),
    ],
)
def test_the_signal(samples, remark):
    found = remark_of(samples.astype(np.float32), len(samples), RATE)
    assert found.startswith(remark) and bool(found) == bool(remark)
    listener = Listener()
    pieces = np.array_split(samples, 7)
    assert list(map(id, listener.heard(pieces))) == list(map(id, pieces)) and listener.remark(RATE) == found


@pytest.mark.parametrize(
    "length, heard, remark",
    [
        (320, 64600, "lasts 0.02 s, repeated to 4.04 s; in training the detector hears 4.04 s at a time"),
        (16000, 16000, "lasts 1.00 s; in training the detector hears 4.04 s at a time"),
        (16150, 64600, ""),  # a quarter of it
    ],
)
def test_a_short_recording(length, heard, remark):
    assert remark_of(np.resize(NOISE[:length], heard), length, 64600) == remark
