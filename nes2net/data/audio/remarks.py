"""Find what makes a score doubtful: silence, steady sound, no voice, clipping, other channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.speech import SpeechFrames
from nes2net.data.audio.waveform import SAMPLE_RATE

# Full scale, in steps of a 16-bit file. A 16-bit file would store samples below one step as zeros.
_STEPS = 32767
# Least share of silent samples in a silent recording, and of constant samples in a constant recording. The remaining
# samples may be clicks.
_NEARLY_ALL = 0.99
# A recording counts as clipped under three conditions, all assumptions: at least 0.2 % of the samples, and 10, are at
# the top (within 1 % of the largest); the next 1 % below holds under 0.3 times as many, unlike a sine; and at least a
# tenth of those at the top have a neighbour there. A peak below 1 % of full scale is not searched: 1 % of it is a few
# 16-bit steps. This rule found no clipping in 607 recordings of real and synthetic speech; in 98 % after the loudest
# 0.3 % of the samples of each were clipped; in 91 % after clipping at full scale at 44.1 kHz and resampling.
_AT_TOP = 0.99  # the top begins at this fraction of the largest sample
_BELOW_TOP = 0.98  # the range just below the top begins at this fraction of the largest sample
_SHARE = 0.002  # in clipped audio, at least this share of the samples is at the top
_MIN_CLIPPED = 10  # in clipped audio, at least this many samples are at the top
_RATIO = 0.3  # in clipped audio, the ratio of samples just below the top to samples at the top is less than this
_NEIGHBOURS = 0.1  # in clipped audio, at least this share of the samples at the top has a neighbour at the top
_QUIET = 0.01  # a recording is searched for clipping only if its peak is at least this fraction of full scale


# These numbers, which find silence and steady sound, are assumptions, too. Levels are of frames of 20 ms, in dB of
# full scale. There is no speech to judge if their 95th percentile is below -60 dB. A frame within 20 dB of the
# loudest is audible. A recording is steady if its audible frames last at least half a second and hardly differ in
# level: in 607 recordings of real and synthetic speech, the 10th and 90th percentile differ by at least 6 dB, mostly
# by 19 dB.
_FRAME = 320  # samples at 16 kHz
_LOUD = 0.95  # the loud frames are louder than this share of all frames
_MIN_LEVEL = -60.0  # dB
_LOWEST = -120  # lowest level in dB; softer frames count as -120 dB
_LEVELS_PER_DB = 10  # number of levels that are counted apart within 1 dB
_AUDIBLE = 20  # a frame is audible down to this many dB below the loudest frame
_MIN_FRAMES = 25  # smallest number of audible frames by which sound can be called steady
_SPREAD = 3.0  # in steady sound, the 10th and 90th percentile of the levels differ by less than this many dB
# A recording is limited to the telephone band if its energy above 4.3 kHz is at least 50 dB below that from 0.3 to
# 3.4 kHz. They differ by at most 35 dB in 2,037 recordings of 16 kHz, by at least 70 dB in 504 of 8 kHz.
_WINDOW = np.hanning(_FRAME + 2)[1:-1]
_BAND_WIDTH = SAMPLE_RATE / _FRAME  # Hz
_SPEECH_BANDS = slice(round(300 / _BAND_WIDTH), round(3400 / _BAND_WIDTH))
_HIGH_BANDS = slice(round(4300 / _BAND_WIDTH), None)
_MISSING = 1e-5  # largest energy above 4.3 kHz, as a fraction of the energy of speech: -50 dB
# A recording of at least a second has no voice if each of its pieces of 4 s lacks a voice.
_PIECE = 4.0  # s
_MIN_SECONDS = 1.0  # s
# Samples to measure at once: counting the values of one takes about as long as of 8000, and more than 64000 would not
# fit into the processor's caches.
_MIN_CHUNK = 8000
_MAX_CHUNK = 64000
_SILENT = 1e-6  # a channel is silent if it has at most this share of the energy of the loudest channel
_CANCELLED = 0.01  # channels cancel each other if their mean has less than this share of the energy of a channel
_ALIKE = 0.5  # two channels differ if their correlation is below this number


#: The message about a recording without speech. No decision can rest on such a recording.
NO_VOICE = "no voice was found in it, only other sounds, such as noise or music"


Unfit = Literal[
    "silence", "constant samples", "a steady sound", "no voice", "channels that cancel", "channels that differ"
]
Kind = Unfit | Literal["a silent channel", "clipped", "telephone band", "short"]


@dataclass(frozen=True)
class Remark:
    """What a user should know about a recording before relying on its score."""

    by_kind: Mapping[Kind, str] = field(default_factory=dict)
    """Kind → the remark in words."""

    @property
    def text(self) -> str:
        """All remarks, in words."""
        return "; ".join(self.by_kind.values())

    @property
    def unfit(self) -> str:
        """Why no decision can rest on the score, if so."""
        return next((words for kind, words in self.by_kind.items() if kind in get_args(Unfit)), "")

    @property
    def clipping(self) -> str:
        """The clipped share of the samples, in words, if any."""
        return self.by_kind.get("clipped", "")


class Channels:
    """Compares the channels of a recording as it is read: a detector gets only their mean.

    Args:
        num_samples: number of samples to compare, from the beginning and at 16 kHz; None for all.
    """

    def __init__(self, num_samples: int | None = None) -> None:
        self._num_samples = num_samples
        self.reset()

    def reset(self) -> None:
        self._products = np.zeros((1, 1))  # (channels, channels): sum of the products of each pair of channels
        self._num_compared = 0  # samples

    def push(self, samples: NDArray, rate: float) -> None:
        """Compare ``samples``, (channels, N) or (N,), at ``rate`` in Hz."""
        if samples.ndim == 1 or len(samples) == 1:
            return
        if self._num_samples is not None:
            limit = math.ceil(self._num_samples * rate / SAMPLE_RATE)
            if self._num_compared >= limit:
                return
            samples = samples[:, : limit - self._num_compared]
        samples = samples.astype(np.float64)
        self._products = self._products + samples @ samples.T  # not +=, because of the (1, 1) zeros at the start
        self._num_compared += samples.shape[1]

    @property
    def count(self) -> int:
        return len(self._products)

    @property
    def cancel(self) -> bool:
        """Whether the mean of the channels has less than 1 % of the energy of a channel."""
        energy = float(np.trace(self._products)) / len(self._products)
        return energy > 0 and self._products.mean() < _CANCELLED * energy

    @property
    def _is_silent(self) -> NDArray:
        energies = np.diag(self._products)
        return energies <= _SILENT * energies.max()

    @property
    def differ(self) -> bool:
        """Whether two channels hardly correlate, like two speakers; false if one is silent."""
        if self._is_silent.any():
            return False
        amplitudes = np.sqrt(np.diag(self._products))
        return bool((self._products / np.outer(amplitudes, amplitudes)).min() < _ALIKE)

    def describe_silent(self) -> str:
        """Name the silent channels, counted from 0, unless all are."""
        is_silent = self._is_silent
        if is_silent.all() or not is_silent.any():
            return ""
        names = ", ".join(map(str, np.flatnonzero(is_silent)))
        channels, are = ("channel", "is") if is_silent.sum() == 1 else ("channels", "are")
        return f"{channels} {names} of {len(is_silent)} (from 0) {are} silent; the mean of all was scored"


class Listener:
    """Measures a recording while it arrives, to find what makes its score doubtful; see :meth:`remark`.

    A :class:`nes2net.data.audio.blocks.Stage` that returns its blocks, (N,) at 16 kHz in [−1, 1],
    unchanged, and needs half a megabyte of memory.

    Args:
        channels: the comparison of the recording's channels, if there are several.
        has_speech: None to search for speech.
    """

    def __init__(self, channels: Channels | None = None, has_speech: bool | None = None) -> None:
        self.channels = channels or Channels()
        self.num_samples = 0
        self._unmeasured: NDArray = np.zeros(0, np.float32)
        self._sum = 0  # sum of all samples, in 16-bit steps
        self._before = 0  # the last measured sample, in 16-bit steps
        self._rest: NDArray = np.zeros(0)  # samples after the last whole frame
        # numbers of frames with each level from -120 to 0 dB
        self._frame_levels = np.zeros(-_LOWEST * _LEVELS_PER_DB + 1, np.int64)
        self._band_energies = np.zeros(2)  # energy in the bands of speech, and at high frequencies
        self._has_speech = has_speech  # None while speech is searched
        self._speech = SpeechFrames()  # measures frames until speech is found
        self._piece_start = 0.0  # start, in seconds, of the piece that is searched for speech
        self._amplitude_counts = np.zeros(_STEPS + 1, np.int64)  # numbers of samples with each absolute value, in steps
        # For each absolute value, the number of pairs of neighbours with the same sign whose smaller sample has it.
        self._pairs = np.zeros(_STEPS + 1, np.int64)

    def push(self, block: NDArray) -> tuple[NDArray]:
        self.num_samples += len(block)
        self._unmeasured = np.concatenate([self._unmeasured, block])
        if len(self._unmeasured) >= _MIN_CHUNK:
            self.finish()
        return (block,)

    def finish(self) -> tuple[()]:
        for first in range(0, len(self._unmeasured), _MAX_CHUNK):
            self._measure(self._unmeasured[first : first + _MAX_CHUNK])
        self._unmeasured = self._unmeasured[:0].copy()
        return ()

    def _measure(self, block: NDArray) -> None:
        """Count samples by absolute value and frames by level, and search for speech."""
        x = (np.clip(block, -1, 1) * _STEPS).astype(np.int64)
        steps = np.append(self._before, x)  # the sample before the block, then the block
        amplitudes = np.abs(steps)
        is_positive = steps > 0
        self._sum += int(x.sum())
        self._amplitude_counts += np.bincount(amplitudes[1:], minlength=_STEPS + 1)
        smaller_of_pair = np.minimum(amplitudes[:-1], amplitudes[1:])
        has_one_sign = is_positive[:-1] == is_positive[1:]
        self._pairs += np.bincount(smaller_of_pair[has_one_sign], minlength=_STEPS + 1)
        self._before = int(x[-1])
        self._measure_frames(block)
        if self._has_speech is None:
            self._speech.push(block)
        while self._has_speech is None and self._speech.end >= self._piece_start + _PIECE:
            if self._speech.share(self._piece_start, self._piece_start + _PIECE) > 0:
                self._has_speech = True
            self._piece_start += _PIECE
            self._speech.drop(self._piece_start)

    @property
    def _finds_speech(self) -> bool:
        if self._has_speech is None:
            return self._speech.finished().share(self._piece_start) > 0
        return self._has_speech

    def _measure_frames(self, block: NDArray) -> None:
        samples = np.concatenate([self._rest, block])
        num_frames = len(samples) // _FRAME
        self._rest = samples[num_frames * _FRAME :].copy()  # a view would keep the whole block in memory
        frames = np.clip(samples[: num_frames * _FRAME].reshape(num_frames, _FRAME), -1, 1)
        levels = 10 * np.log10(np.square(frames).mean(1) + 10 ** (_LOWEST / 10))  # (frames,), at least _LOWEST
        level_indices = np.clip((levels - _LOWEST) * _LEVELS_PER_DB, 0, len(self._frame_levels) - 1).astype(np.int64)
        power = np.square(np.abs(np.fft.rfft(frames * _WINDOW))).sum(0)  # (frequencies,)
        self._band_energies += (power[_SPEECH_BANDS].sum(), power[_HIGH_BANDS].sum())
        self._frame_levels += np.bincount(level_indices, minlength=len(self._frame_levels))

    def _level_percentile(self, share: float, above: float = _LOWEST) -> float:
        # Find the level in dB that a ``share`` of the frames at or above the level ``above`` does not exceed.
        counts = self._levels_above(above)
        level_index = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return level_index / _LEVELS_PER_DB + _LOWEST

    @property
    def _is_steady(self) -> bool:
        audible_level = self._level_percentile(1.0) - _AUDIBLE
        spread = self._level_percentile(0.9, audible_level) - self._level_percentile(0.1, audible_level)
        return bool(spread < _SPREAD and self._levels_above(audible_level).sum() >= _MIN_FRAMES)

    def _levels_above(self, level: float) -> NDArray:
        """Numbers of frames with each level, 0 below ``level`` in dB."""
        counts = self._frame_levels.copy()
        counts[: max(0, int((level - _LOWEST) * _LEVELS_PER_DB))] = 0
        return counts

    def _find_unfit(self) -> dict[Kind, str]:
        self.finish()
        if not self.num_samples:
            return {}
        if self.channels.cancel:
            words = (
                "its channels cancel each other (opposite phase): next to nothing is left in their mean; score "
                "one of them, with `channel`"
            )
            return {"channels that cancel": words}
        if self.channels.differ:
            words = f"its {self.channels.count} channels differ, as those of two speakers do: score each by itself, with `channel`"
            return {"channels that differ": words}
        nearly_all = _NEARLY_ALL * self.num_samples
        mode = int(self._amplitude_counts.argmax())  # the most frequent absolute value
        if self._amplitude_counts[0] >= nearly_all:
            return {"silence": "digital silence"}
        # Constant samples lie within one step of the mode, on one side of 0: the sum of samples that jump between
        # +mode and −mode is about 0.
        has_one_sign = abs(self._sum) >= _NEARLY_ALL * (mode - 1) * self.num_samples
        if has_one_sign and self._amplitude_counts[max(0, mode - 1) : mode + 2].sum() >= nearly_all:
            return {"constant samples": "constant: its samples do not change"}
        if self._frame_levels.any() and self._level_percentile(_LOUD) < _MIN_LEVEL:
            words = f"almost silent: its loud parts have {self._level_percentile(_LOUD):.0f} dBFS"
            return {"silence": words}
        if self._finds_speech:
            return {}
        if self._is_steady:
            return {"a steady sound": "a steady sound, such as a tone or noise: its level hardly changes"}
        # In less than a second of audio, other sounds cannot be told from speech.
        return {"no voice": NO_VOICE} if self.num_samples >= _MIN_SECONDS * SAMPLE_RATE else {}

    def _describe_clipping(self) -> str:
        if not self._amplitude_counts.any():
            return ""
        largest = int(np.flatnonzero(self._amplitude_counts)[-1])
        top = math.ceil(_AT_TOP * largest)
        below = math.ceil(_BELOW_TOP * largest)
        at_top = int(self._amplitude_counts[top:].sum())
        is_clipped = (
            largest >= _QUIET * _STEPS
            and at_top >= max(_MIN_CLIPPED, _SHARE * self.num_samples)
            and self._amplitude_counts[below:top].sum() < _RATIO * at_top
            and self._pairs[top:].sum() >= _NEIGHBOURS * at_top
        )
        if not is_clipped:
            return ""
        return f"clipped: {at_top / self.num_samples:.1%} of its samples are at its limit, so its log-likelihood ratio is halved"

    def remark(self, trained_on: int, repeated_to: int = 0, length: int | None = None) -> Remark:
        """Collect the remarks about the samples that were pushed so far.

        Args:
            trained_on: length of the detector's training crops, in samples.
            repeated_to: the score length in samples, if the recording was repeated.
            length: length of the whole recording in samples, if only a part was pushed.
        """
        remarks = self._find_unfit()
        is_fit = not remarks
        if is_fit:
            remarks["clipped"] = self._describe_clipping()
        remarks["a silent channel"] = self.channels.describe_silent()
        in_speech, above = self._band_energies
        if is_fit and above < _MISSING * in_speech:
            remarks["telephone band"] = "telephone band: it has next to no sound above 4.3 kHz"
        if length is None:
            length = self.num_samples
        # Assumption: to fill a crop in training, hardly any utterance is repeated more than four times.
        if length < trained_on / 4:
            duration = f"lasts {length / SAMPLE_RATE:.2f} s"
            if repeated_to > length:
                duration += f", repeated to {repeated_to / SAMPLE_RATE:.2f} s"
            remarks["short"] = f"{duration}; in training the detector hears {trained_on / SAMPLE_RATE:.2f} s at a time"
        return Remark({kind: words for kind, words in remarks.items() if words})


def remark_of(
    waveform: NDArray, num_samples: int, channels: Channels | None, trained_on: int, has_speech: bool | None = None
) -> Remark:
    """Collect the remarks of :meth:`Listener.remark` about ``waveform`` (N,), 16 kHz in [−1, 1].

    Args:
        num_samples: length of the recording, before it was cut or repeated to N samples.
        channels: the comparison of several channels.
        trained_on: length of the detector's training crops, in samples.
        has_speech: as for :class:`Listener`.

    >>> remark_of(np.zeros(16000), 16000, None, 64600).by_kind
    {'silence': 'digital silence', 'short': 'lasts 1.00 s; in training the detector hears 4.04 s at a time'}
    """
    listener = Listener(channels, has_speech)
    listener.push(waveform[:num_samples])
    return listener.remark(trained_on, len(waveform), num_samples)
