"""Effects that add noise at a signal-to-noise ratio: generated, or from the corpus or MUSAN.

The ratio compares mean powers. :class:`Noise` adds nothing to digital silence, which has no ratio;
the ASVspoof 5 recipe (:class:`NoiseAugmentation`) adds a small constant to both powers.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nes2net.data.audio.waveform import SAMPLE_RATE, head_crop
from nes2net.data.augment.effect import Effect, OneOf, Waveform
from nes2net.data.augment.rooms import MeasuredRoom
from nes2net.data.augment.sources import CATEGORIES, NoiseFile, Sources
from nes2net.lib.errors import InputError, check_setting
from nes2net.lib.storage.files import AnyPath

_POWER_FLOOR = 1e-4  # the ASVspoof 5 recipe adds this power, so that silence has −40 dB
_TALKERS = (3, 8)  # fewest and most talkers of babble, as in Kaldi's recipes with MUSAN


class NoiseAugmentation(OneOf):
    """Add noise of MUSAN to a training utterance, or reverberate it, or leave it unchanged.

    If both ``musan`` and ``rir`` are given, noise and reverberation are equally likely.

    Args:
        musan: folder of MUSAN, see :class:`nes2net.data.augment.Sources`; None for no noise.
        rir: folder of impulse responses; None for no reverberation.
        probability: chance that an utterance is changed.
        aligned: remove the delay of reverberated speech, so that labels of frames still fit
            (:func:`nes2net.data.augment.rooms.reverberate`).

    Raises:
        InputError: if a folder or category is missing or too small, if a file has no samples, or if
            ``probability`` is not from 0 to 1.
    """

    def __init__(
        self,
        musan: AnyPath | None = None,
        rir: AnyPath | None = None,
        probability: float = 0.5,
        *,
        aligned: bool = False,
    ) -> None:
        check_setting("noise_probability", probability, 0 <= probability <= 1, "a probability from 0 to 1")
        sources = Sources(musan, rir)
        effects: list[Effect] = []
        if musan is not None:
            effects.append(AnyMusan(sources=sources))
        if rir is not None:
            effects.append(MeasuredRoom(sources=sources, aligned=aligned))
        super().__init__(effects, probability)


class AnyMusan(Effect):
    """Noise, speech or music of MUSAN, at a ratio drawn from the range of the ASVspoof 5 recipe."""

    needs = ("musan",)

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        # Another order of draws, or of CATEGORIES, would change the result of every seed.
        category = list(CATEGORIES)[rng.integers(len(CATEGORIES))]
        noise = draw_noise(self.sources.noises[category], category, len(x), rng)
        return add_noise(x, noise, rng.uniform(*CATEGORIES[category].snr))


class Noise(Effect):
    """The base of effects that add noise at a signal-to-noise ratio."""

    unit = "dB"
    strengths = (20.0, 10.0, 5.0, 0.0)
    limits = (-50.0, 100.0)

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return add_noise(x, self.draw(x, rng), self.strength, floor=0.0)

    @abstractmethod
    def draw(self, x: Waveform, rng: Generator) -> NDArray[np.floating]:
        """Draw noise (N,) of any level for ``x`` (N,)."""


class White(Noise):
    """White Gaussian noise."""

    def draw(self, x: Waveform, rng: Generator) -> NDArray[np.floating]:
        return rng.standard_normal(len(x), np.float32)


class Pink(Noise):
    """Pink noise: equal power in each octave, from 20 Hz up."""

    def draw(self, x: Waveform, rng: Generator) -> NDArray[np.floating]:
        spectrum = np.fft.rfft(rng.standard_normal(len(x)))
        frequencies = np.maximum(np.fft.rfftfreq(len(x), 1 / SAMPLE_RATE), 20.0)  # limits the power near 0 Hz
        return np.fft.irfft(spectrum / np.sqrt(frequencies), len(x))


class Babble(Noise):
    """Babble: three to eight other recordings of the corpus at once, all at one level."""

    needs = ("speech",)

    def prepare(self) -> None:
        if len(self.sources.speech) <= _TALKERS[0]:
            raise InputError(
                f"needs more than {_TALKERS[0]} recordings to mix, found {len(self.sources.speech)}: use a corpus with more"
            )

    def draw(self, x: Waveform, rng: Generator) -> NDArray[np.floating]:
        """Add up excerpts (N,) of a random number of recordings, at equal power.

        Silent recordings and those that equal ``x`` may reduce the number.
        """
        from nes2net.data.audio.read import load_audio  # imported late for a fast start-up of --help

        files = self.sources.speech
        # Another order of draws would change the result of every seed.
        num_talkers = int(rng.integers(_TALKERS[0], min(_TALKERS[1], len(files) - 1) + 1))
        # Twice as many candidates as talkers, because silent recordings and ``x`` are skipped; of fewer than 100
        # recordings, all.
        if len(files) < 100:
            candidates = rng.permutation(len(files))
        else:
            candidates = rng.choice(len(files), 2 * num_talkers, False)
        total = np.zeros(len(x))
        num_mixed = 0
        for index in candidates:
            voice = load_audio(files[index])
            if np.array_equal(voice, x):  # `x` may itself be among the files
                continue
            power = float(np.mean(np.square(voice, dtype=np.float64)))
            start = int(rng.integers(len(voice)))
            if power:  # start the voice at a random sample, and repeat a voice shorter than ``x``
                total += np.resize(np.roll(voice, -start), len(x)) / np.sqrt(power)
                num_mixed += 1
            if num_mixed == num_talkers:
                break
        return total


class MusanNoise(Noise):
    """Noises of MUSAN: machines, weather, animals."""

    needs = ("musan",)
    category: ClassVar[str] = "noise"

    def draw(self, x: Waveform, rng: Generator) -> NDArray[np.floating]:
        return draw_noise(self.sources.noises[self.category], self.category, len(x), rng)


class MusanMusic(MusanNoise):
    """Music of MUSAN."""

    category = "music"


class MusanSpeech(MusanNoise):
    """Babble of three to eight speakers of MUSAN."""

    category = "speech"


def draw_noise(files: Sequence[NoiseFile], category: str, num_samples: int, rng: Generator) -> NDArray:
    """Draw the mean (``num_samples``,) of as many excerpts as :data:`CATEGORIES` allows."""
    low, high = CATEGORIES[category].num_files
    # Another order of draws would change the result of every seed.
    indices = rng.choice(len(files), rng.integers(low, high + 1), replace=False)
    return np.mean([draw_excerpt(files[i], num_samples, rng) for i in indices], axis=0)


def draw_excerpt(file: NoiseFile, num_samples: int, rng: Generator) -> NDArray:
    """Read ``num_samples`` from a random start; a shorter file is repeated."""
    from nes2net.data.audio.read import load_audio  # imported late for a fast start-up of --help

    last_start = file.num_samples - num_samples
    start = int(rng.integers(last_start + 1)) if last_start > 0 else 0
    return head_crop(load_audio(file.path, num_samples, start), num_samples, str(file.path))


def level_db(x: NDArray, floor: float = _POWER_FLOOR) -> float:
    """Compute 10·log10(mean(x²) + ``floor``) in dB, with the floor of ASVspoof 5.

    >>> level_db(np.zeros(3)), level_db(np.zeros(3), floor=0)
    (-40.0, -inf)
    """
    power = float(np.mean(np.square(x, dtype=np.float64))) + floor
    return 10 * math.log10(power) if power else -math.inf


def add_noise(x: NDArray, noise: NDArray, snr: float, floor: float = _POWER_FLOOR) -> NDArray:
    """Add ``noise`` (N,) to ``x`` (N,) at ``snr`` dB, by :func:`level_db` with ``floor``.

    Nothing is added at an infinite level. The result has the type of ``x``, and may exceed 1.
    """
    gain_db = level_db(x, floor) - level_db(noise, floor) - snr
    if not math.isfinite(gain_db):
        return x.copy()
    return x + 10 ** (gain_db / 20) * noise.astype(x.dtype, copy=False)
