"""Tell speech from silence, noise, tones and music: in speech, sound and loudness change all the time.

Two measures find speech of any pitch, also monotone and whispered, in the audible frames of a
window, one every 10 ms.

1. The envelope of the spectrum moves, because the mouth does: the median distance between the
   cepstra c1 to c5 of two frames 50 ms apart is large. The cepstra are those of the log energies,
   in nepers, of 20 bands of equal width. Noise hides this movement.
2. The pitch of a voice rises and falls, unlike that of a musical note; noise hides this less. A
   frame is voiced if the normalised cross-correlation of its samples, low-passed at 1.5 kHz, has a
   peak above 0.6 at the lag of a pitch of 70 to 400 Hz (Talkin, "A robust algorithm for pitch
   tracking (RAPT)", 1995, without the dynamic programming).

The level has to move, too, unlike a siren's. All numbers are assumptions (docs/score.md).
"""

from __future__ import annotations

import math
from copy import copy

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.waveform import SAMPLE_RATE, pad

#: Name and version of the rule by which speech is found; a change of the rule changes the version.
SPEECH_RULE = "envelope or pitch moves, version 2"
_HOP = 160  # samples from one frame to the next, 10 ms
_LAG = 228  # longest lag in samples: the period of 70 Hz
_FRAME = 480 + _LAG  # length of a frame in samples
_LEVEL = 320  # the level of a frame is the level of this many samples in its middle
_FFT = 1024  # samples
_DECIMATION = 4  # correlations are computed at 4 kHz
_BAND = (60, 1500)  # Hz
_MIN_LAG = 10  # shortest lag in samples at 4 kHz: the period of 400 Hz
_MAX_LAG = _LAG // _DECIMATION
_VOICED = 0.6  # a frame is voiced if its highest correlation is above this number
_FIRST_PEAK = 0.9  # the pitch comes from the first peak that reaches this share of the highest correlation
# A frame is audible if its level is within 30 dB of the loudest frame and above -60 dB of full scale.
_BELOW_LOUDEST = 30.0
_MIN_LEVEL = -60.0
_JUMP = 0.08  # from frame to frame, the logarithm of a voice's pitch changes by less than this number
_SPAN = 3  # the movement of the pitch is measured over this many frames, over which the pitch has to continue
_MOVES = 0.006  # the pitch moves if its logarithm changes by more than this number over _SPAN frames
_MOVING = 0.5  # in speech, at least this share of the measured pitches move; in music, a smaller share
_BAND_LINES = (5, 125)  # of a spectrum of 32 ms: 20 bands of 6 lines each, from 156 to 3,906 Hz
_BANDS = 20
_DEEPEST = 11.5  # nepers of energy, 50 dB: a band counts as at most this far below the loudest band
# Cosine transform from the log energies of the bands to the cepstra c1 to c5: 20×5.
_CEPSTRA = np.sqrt(2 / _BANDS) * np.cos(np.pi / _BANDS * np.outer(np.arange(_BANDS) + 0.5, np.arange(1, 6)))
_LATER = 5  # movements of envelope and level are measured over this many frames
_ENVELOPE_MOVES = 3.2  # the envelope moves if the median distance of cepstra is at least this number
_LEVEL_MOVES = 1.0  # the level moves if a tenth of its changes are at least this many dB
_MIN_PAIRS = 10  # with fewer pairs of audible frames, no movement of envelope and level is measured
_REACH = 25  # this many frames before and after a moving pitch count as speech, 0.25 s
_MIN_CHUNK = 8000  # number of samples to collect before frames are measured


class SpeechFrames:
    """Finds speech in a recording while it arrives: measures level and pitch in frames of 10 ms.

    A :class:`nes2net.data.audio.blocks.Stage` that returns its blocks, (N,) at 16 kHz in [−1, 1],
    unchanged. An hour takes 17 MB of memory unless :meth:`drop` is called.
    """

    def __init__(self) -> None:
        self._num_frames = 0  # measured so far
        self._first = 0  # index of the first frame that is kept
        # Levels (T,) in dB, pitches (T,) in Hz and log energies of bands (T, 20) of the T kept frames.
        self._measures: list[NDArray] = [
            np.zeros(0, np.float32),
            np.zeros(0, np.float32),
            np.zeros((0, _BANDS), np.float16),
        ]
        self._num_samples = 0
        # Samples that are not measured yet, after half a frame of zeros: the first sample is in the middle of the
        # first frame.
        self._unmeasured: NDArray = np.zeros(_FRAME // 2)

    @property
    def end(self) -> float:
        """End of the last measured frame, in seconds."""
        return self._num_frames * _HOP / SAMPLE_RATE

    def push(self, block: NDArray) -> tuple[NDArray]:
        self._num_samples += len(block)
        self._unmeasured = np.concatenate([self._unmeasured, block])
        if len(self._unmeasured) >= _MIN_CHUNK:
            self._measure(self._unmeasured)
        return (block,)

    def finish(self) -> tuple[()]:
        missing = math.ceil(self._num_samples / _HOP) - self._num_frames
        if missing > 0:
            needed = _FRAME + (missing - 1) * _HOP
            self._measure(pad(self._unmeasured, max(needed, len(self._unmeasured))))
        return ()

    def finished(self) -> SpeechFrames:
        """Return a copy as if the recording ended here."""
        # A shallow copy suffices, because finish() replaces arrays and lists, and never changes them in place.
        ended = copy(self)
        ended.finish()
        return ended

    def drop(self, before: float) -> None:
        """Forget all frames up to the time ``before``, in seconds."""
        dropped = min(self._num_frames, math.floor(before * SAMPLE_RATE / _HOP)) - self._first
        if dropped > 0:
            self._measures = [values[dropped:].copy() for values in self._measures]
            self._first += dropped

    def share(self, start: float = 0.0, end: float = math.inf) -> float:
        """Compute the share of speech, 0 to 1, from ``start`` to ``end`` seconds.

        It is 0 if the level does not move, or neither envelope nor pitch moves as in speech.
        """
        first = max(0, round(start * SAMPLE_RATE / _HOP) - self._first)
        stop = self._num_frames - self._first
        if math.isfinite(end):
            stop = max(first, round(end * SAMPLE_RATE / _HOP) - self._first)
        levels, pitches, log_energies = (values[first:stop] for values in self._measures)
        if not len(levels):
            return 0.0
        is_audible = (levels > levels.max() - _BELOW_LOUDEST) & (levels > _MIN_LEVEL)
        is_pair = is_audible[_LATER:] & is_audible[:-_LATER]  # (frames − _LATER,)
        if is_pair.sum() < _MIN_PAIRS:
            return 0.0
        level_changes = np.abs(levels[_LATER:] - levels[:-_LATER])
        if np.quantile(level_changes[is_pair], 0.9) < _LEVEL_MOVES:
            return 0.0
        changes = _pitch_changes(is_audible, pitches)
        moves = changes > _MOVES
        is_speech = moves.sum() >= _MOVING * np.isfinite(changes).sum()  # also without pitches: nothing moves then
        bands = log_energies.astype(np.float64)
        cepstra = np.maximum(bands, bands.max() - _DEEPEST) @ _CEPSTRA
        distances = np.linalg.norm(cepstra[_LATER:] - cepstra[:-_LATER], axis=1)
        if np.median(distances[is_pair]) >= _ENVELOPE_MOVES:
            is_speech = True
            moves[_LATER:] |= is_pair & (distances >= _ENVELOPE_MOVES)
        if not is_speech:
            return 0.0
        return float((np.convolve(moves, np.ones(2 * _REACH + 1), mode="same") > 0).mean())

    def _measure(self, samples: NDArray) -> None:
        count = max(0, (len(samples) - _FRAME) // _HOP + 1)
        frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[: count * _HOP : _HOP]
        measured = (_levels(frames), _pitches(frames), _log_energies(frames))
        self._measures = [np.concatenate(values) for values in zip(self._measures, measured)]
        self._num_frames += count
        self._unmeasured = samples[count * _HOP :].copy()


def speech_share(waveform: NDArray) -> float:
    """Compute the share of speech, 0 to 1, in ``waveform`` (N,), 16 kHz in [−1, 1].

    >>> time = np.arange(32000) / 16000
    >>> speech_share(np.sin(2 * np.pi * 440 * time))
    0.0
    """
    frames = SpeechFrames()
    frames.push(waveform)
    frames.finish()
    return frames.share()


def _levels(frames: NDArray) -> NDArray:
    """Frames (T, N) → dB of full scale (T,)."""
    middle = frames[:, (_FRAME - _LEVEL) // 2 : (_FRAME + _LEVEL) // 2]
    return (10 * np.log10(np.square(middle, dtype=np.float64).mean(1) + 1e-12)).astype(np.float32)


def _log_energies(frames: NDArray) -> NDArray:
    """Frames (T, N) → nepers (T, 20), of the middle 32 ms."""
    # The middle 512 of 708 samples; the window without its zeros at both ends.
    power = np.square(np.abs(np.fft.rfft(frames[:, 98:610] * np.hanning(514)[1:-1])))
    energies = power[:, slice(*_BAND_LINES)].reshape(len(frames), _BANDS, -1).mean(2)
    return np.log(energies + 1e-9).astype(np.float16)


def _pitches(frames: NDArray) -> NDArray:
    """Frames (T, N) → Hz (T,); 0 for a frame that is not voiced."""
    count = len(frames)
    size = _FFT // _DECIMATION
    # Keep only the band in which a pitch is searched, at a quarter of the sampling rate.
    spectra = np.fft.rfft(frames, _FFT)[:, : size // 2 + 1].copy()
    frequencies = np.arange(size // 2 + 1) * SAMPLE_RATE / _FFT
    spectra[:, (frequencies < _BAND[0]) | (frequencies > _BAND[1])] = 0
    slow = np.fft.irfft(spectra, size)[:, : _FRAME // _DECIMATION]  # T×N/4, at 4 kHz
    length = slow.shape[1] - _MAX_LAG
    products = np.conj(np.fft.rfft(slow[:, :length], size)) * np.fft.rfft(slow, size)
    correlations = np.fft.irfft(products, size)[
        :, : _MAX_LAG + 1
    ]  # T×lags: the beginning of a frame is correlated with the pieces that begin 0, 1, 2, … samples later
    sums = np.cumsum(np.pad(np.square(slow), ((0, 0), (1, 0))), axis=1)
    energies = sums[:, length : length + _MAX_LAG + 1] - sums[:, : _MAX_LAG + 1]
    correlations /= np.sqrt(np.maximum(energies[:, :1] * energies, 1e-20))
    correlations = correlations[:, _MIN_LAG - 1 :]
    # Find the first peak that is nearly as high as the highest correlation.
    inner = correlations[:, 1:-1]
    is_high = inner >= _FIRST_PEAK * correlations.max(1, keepdims=True)
    is_peak = (inner >= correlations[:, :-2]) & (inner > correlations[:, 2:]) & is_high
    peaks = is_peak.argmax(1) + 1
    rows = np.arange(count)
    before = correlations[rows, peaks - 1]
    top = correlations[rows, peaks]
    after = correlations[rows, peaks + 1]
    # A parabola through ``before``, ``top`` and ``after`` has its maximum at this distance from ``top``, in samples at
    # 4 kHz.
    offsets = np.clip((before - after) / (2 * (before - 2 * top + after) - 1e-12), -0.5, 0.5)
    pitches = SAMPLE_RATE / _DECIMATION / (_MIN_LAG - 1 + peaks + offsets)
    return np.where(is_peak.any(1) & (top > _VOICED), pitches, 0).astype(np.float32)


def _pitch_changes(is_audible: NDArray, pitches: NDArray) -> NDArray:
    """How much the logarithm of each pitch differs from that _SPAN frames before, (T,), T > _SPAN.

    NaN for a frame without a pitch, or if the pitch has not continued without a break in between.
    """
    is_voiced = is_audible & (pitches > 0)
    logarithms = np.log(np.where(pitches > 0, pitches, 1))
    # Whether each frame but the first continues the pitch of the frame before: (T − 1,).
    continues = is_voiced[1:] & is_voiced[:-1] & (np.abs(np.diff(logarithms)) < _JUMP)
    is_continued = np.lib.stride_tricks.sliding_window_view(continues, _SPAN).all(1)  # (T − _SPAN,)
    changes = np.full(len(pitches), np.nan)
    changes[_SPAN:] = np.where(is_continued, np.abs(logarithms[_SPAN:] - logarithms[:-_SPAN]), np.nan)
    return changes
