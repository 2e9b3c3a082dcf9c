"""Waveform and spectrogram of a long recording in bounded memory, as a page shows them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

_COLUMNS = 1200  # pictures are hardly wider on a page
_FFT = 512
_HOP = 160
_MOST_FRAMES = 24  # spectra of one column; those of a longer column are spread over it
_RANGE = 70.0  # dB from white to black
_LOUD = -10.0  # dB of what is black in a picture of silence; a sine of full scale has 42


@dataclass(frozen=True)
class Picture:
    """Waveform and spectrogram with the same columns."""

    low: np.ndarray
    """(C,) the lowest sample of each column."""
    high: np.ndarray
    """(C,) the highest one."""
    spectrogram: bytes
    """PNG in grey, black is loud: 0 Hz at the bottom, 8 kHz at the top."""


def draw(path: Path, check: Callable[[], object]) -> Picture:
    """Draw the WAV file ``path``, 16 kHz mono.

    Args:
        check: called for every column; what it raises ends the drawing.
    """
    low, high, spectra = [], [], []
    window = np.hanning(_FFT).astype(np.float32)
    before: np.ndarray = np.zeros(_FFT - _HOP, np.float32)  # with it the shortest column fills a window
    with soundfile.SoundFile(path) as file:
        samples_a_column = max(_HOP, -(-file.frames // _COLUMNS))
        while len(samples := file.read(samples_a_column, dtype="float32")):
            check()
            low.append(samples.min())
            high.append(samples.max())
            around = np.concatenate([before, samples, np.zeros(max(0, _HOP - len(samples)), np.float32)])
            before = around[-len(before) :]
            count = min(_MOST_FRAMES, 1 + (len(around) - _FFT) // _HOP)
            starts = np.linspace(0, len(around) - _FFT, count).astype(int)
            frames = around[starts[:, None] + np.arange(_FFT)] * window
            spectra.append(np.square(np.abs(np.fft.rfft(frames))).mean(0))
    power = np.array(spectra).T[::-1]  # bins × columns, 8 kHz first
    decibels = 10 * np.log10(power + 1e-9)
    loudest = max(_LOUD, np.quantile(decibels, 0.999))
    grey = np.clip((loudest - decibels) / _RANGE, 0, 1)
    buffer = io.BytesIO()
    Image.fromarray((255 * grey).astype(np.uint8)).save(buffer, "png")
    return Picture(np.array(low), np.array(high), buffer.getvalue())
