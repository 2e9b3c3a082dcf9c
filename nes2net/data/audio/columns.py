"""Reduce a recording to columns over time, for pictures of its waveform and its spectrogram."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.read import stream_audio
from nes2net.data.audio.waveform import SAMPLE_RATE

#: Level difference between white and black in dB.
RANGE = 70.0
_FFT = 512  # number of samples in each spectrum
_FFT_HOP = 256  # number of samples from one spectrum to the next
_QUIET = -52.0  # lowest level that may be drawn black, in dB


def envelope(audio: AnyRecording, duration: float, most_columns: int) -> tuple[NDArray, NDArray]:
    """Find the smallest and the largest sample in each of C equal parts of a recording.

    Args:
        duration: in seconds.
        most_columns: largest C.

    Returns:
        The smallest and the largest samples, (C,) each; 0 for a part without samples.
    """
    total = max(1, round(duration * SAMPLE_RATE))
    columns = min(most_columns, total)
    low = np.full(columns, np.inf, np.float32)
    high = np.full(columns, -np.inf, np.float32)
    position = 0
    for block in stream_audio(audio):
        column = np.minimum((position + np.arange(len(block))) * columns // total, columns - 1)  # (N,)
        # `column` never falls within a block, so each column is one run of samples.
        starts = np.flatnonzero(np.diff(column, prepend=-1))  # the first sample of each column in this block
        low[column[starts]] = np.minimum(low[column[starts]], np.minimum.reduceat(block, starts))
        high[column[starts]] = np.maximum(high[column[starts]], np.maximum.reduceat(block, starts))
        position += len(block)
    empty = ~np.isfinite(low)
    low[empty] = high[empty] = 0
    return low, high


def spectrogram(blocks: Iterable[NDArray], duration: float, most_columns: int) -> NDArray:
    """Compute mean power, bins × columns, from 0 Hz up to 8 kHz; a full-scale sine has 0 dB.

    Args:
        blocks: samples (N,) of a recording, one block after another.
        duration: in seconds.
        most_columns: largest number of columns.
    """
    num_spectra = max(1, 1 + (round(duration * SAMPLE_RATE) - _FFT) // _FFT_HOP)
    columns = min(most_columns, num_spectra)
    power = np.zeros((columns, _FFT // 2 + 1))
    counts = np.zeros(columns)
    window = np.hanning(_FFT).astype(np.float32)
    window *= 2 / window.sum()
    pending_samples = np.zeros(0, np.float32)  # from the start of the next spectrum on
    num_done = 0  # spectra
    for block in blocks:
        pending_samples = np.concatenate([pending_samples, block])
        if len(pending_samples) < _FFT:
            continue
        frames = np.lib.stride_tricks.sliding_window_view(pending_samples, _FFT)[::_FFT_HOP]
        column = np.minimum((num_done + np.arange(len(frames))) * columns // num_spectra, columns - 1)
        np.add.at(power, column, np.square(np.abs(np.fft.rfft(frames * window))))
        counts += np.bincount(column, minlength=columns)
        num_done += len(frames)
        pending_samples = pending_samples[len(frames) * _FFT_HOP :]
    return 10 * np.log10(power / np.maximum(counts, 1)[:, None] + 1e-13).T  # (bins, columns), at least −130 dB


def loudest_of(decibels: NDArray) -> float:
    """Return the level in dB that is drawn black."""
    return max(_QUIET, float(np.quantile(decibels, 0.999)))
