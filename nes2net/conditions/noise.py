"""Conditions of additive noise: generated, made of the corpus, or of MUSAN.

The signal-to-noise ratio is 10·log10 of the mean power of all samples of the utterance over that of
the noise. To digital silence nothing is added, because there is no ratio.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nes2net.audio.read import load_audio
from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.augment.noise import draw_noise, find_noises
from nes2net.conditions.base import Condition
from nes2net.errors import InputError

_noises_of = lru_cache(maxsize=4)(find_noises)  # listed once for all conditions of a process
_TALKERS = (3, 8)  # as in MUSAN's babble in Kaldi's recipes
_LOWEST_PINK = 20.0  # Hz


class Noise(Condition):
    """Noise at a signal-to-noise ratio."""

    unit = "dB"
    strengths = (20.0, 10.0, 5.0, 0.0)
    limits = (-50.0, 100.0)

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        noise = self.draw(x, rng)
        powers = [float(np.mean(np.square(wave, dtype=np.float64))) for wave in (x, noise)]
        if not all(powers):
            return x.copy()
        gain = np.sqrt(powers[0] / powers[1]) * 10 ** (-self.strength / 20)
        return (x + gain * noise).astype(np.float32)

    @abstractmethod
    def draw(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        """Noise for ``x`` (N,), of any level: (N,)."""


class White(Noise):
    """White Gaussian noise."""

    def draw(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        return rng.standard_normal(len(x), np.float32)


class Pink(Noise):
    """Pink noise: equal power in each octave, from 20 Hz up."""

    def draw(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        spectrum = np.fft.rfft(rng.standard_normal(len(x)))
        frequencies = np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE)
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, _LOWEST_PINK)), len(x))


class Babble(Noise):
    """Babble: three to eight other recordings of the corpus at once, all at one level."""

    needs = ("speech",)

    def prepare(self) -> None:
        if len(self.sources.speech) <= _TALKERS[0]:
            raise InputError(f"needs more than {_TALKERS[0]} recordings, not {len(self.sources.speech)}")

    @property
    def recordings(self) -> Sequence[Path]:
        return self.sources.speech

    def draw(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        files = self.sources.speech
        talkers = int(rng.integers(_TALKERS[0], min(_TALKERS[1], len(files) - 1) + 1))
        total, mixed = np.zeros(len(x)), 0
        for index in rng.permutation(len(files)) if len(files) < 100 else rng.choice(len(files), 2 * talkers, False):
            voice = load_audio(files[index])
            if np.array_equal(voice, x):
                continue
            power = float(np.mean(np.square(voice, dtype=np.float64)))
            start = int(rng.integers(len(voice)))
            if power:
                total += np.resize(np.roll(voice, -start), len(x)) / np.sqrt(power)
                mixed += 1
            if mixed == talkers:
                break
        return total


class MusanNoise(Noise):
    """Noises of MUSAN: machines, weather, animals."""

    needs = ("musan",)
    category: ClassVar[str] = "noise"

    def prepare(self) -> None:
        assert self.sources.musan is not None
        self.files = _noises_of(Path(self.sources.musan))[self.category]

    @property
    def recordings(self) -> Sequence[Path]:
        return [file.path for file in self.files]

    def draw(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        return draw_noise(self.files, self.category, len(x), rng)


class MusanMusic(MusanNoise):
    """Music of MUSAN."""

    category = "music"


class MusanSpeech(MusanNoise):
    """Babble of three to eight speakers of MUSAN."""

    category = "speech"
