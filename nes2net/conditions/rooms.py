"""Conditions of rooms: simulated and measured impulse responses.

The result is aligned to the direct sound, and the impulse response has unit energy
(:func:`nes2net.augment.noise.reverberate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nes2net.audio.read import load_audio
from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.augment.noise import find_impulse_responses, reverberate
from nes2net.conditions.base import Condition
from nes2net.errors import MissingLibrary
from nes2net.machine.installation import how_to_install

_responses_of = lru_cache(maxsize=4)(find_impulse_responses)  # listed once for all conditions of a process
# Assumptions: from a small to a large living room, and nobody stands closer to a wall than half a metre.
_SMALLEST, _LARGEST = (3.0, 3.0, 2.5), (8.0, 6.0, 3.5)  # m
_TO_WALL = 0.5  # m
_NEAREST = 0.5  # m, between speaker and microphone
_SOUND = 343.0  # m/s
# All reflections would be up to 160 of them one after the other, and seconds of computation.
_MOST_REFLECTIONS = 17
_JOINT = 0.02  # s: where the level of the tail is measured


class Room(Condition):
    """A simulated room by its reverberation time RT60, of another size and with other places each time.

    Early reflections are those of the image method in a box (Allen and Berkley, 1979), up to 17 one
    after the other. From the time at which later ones would arrive, Gaussian noise decays as Sabine's
    formula asks (as Lehmann and Johansson, 2010, do).

    Raises:
        MissingLibrary: if pyroomacoustics is not installed.
    """

    unit = "s"
    strengths = (0.3, 0.6, 1.0)
    limits = (0.2, 3.0)

    def prepare(self) -> None:
        _library()

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return reverberate(x, room_response(self.strength, rng))


class MeasuredRoom(Condition):
    """A measured room: an impulse response of the folder, another one each time."""

    needs = ("rir",)

    def prepare(self) -> None:
        assert self.sources.rir is not None
        self.files = _responses_of(Path(self.sources.rir))

    @property
    def recordings(self) -> Sequence[Path]:
        return self.files

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        path = self.files[rng.integers(len(self.files))]
        h = load_audio(path, channel=0)
        return reverberate(x, h[np.abs(h).argmax() :], str(path))


def room_response(rt60: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw an impulse response (M,) at 16 kHz that decays by 60 dB in ``rt60`` s; the first sample is the direct sound."""
    library = _library()
    size = rng.uniform(_SMALLEST, _LARGEST)
    speaker, microphone = rng.uniform(_TO_WALL, size - _TO_WALL, (2, 3))
    while np.linalg.norm(speaker - microphone) < _NEAREST:
        microphone = rng.uniform(_TO_WALL, size - _TO_WALL)
    absorption, reflections = library.inverse_sabine(rt60, size, c=_SOUND)
    room = library.ShoeBox(
        size, fs=SAMPLE_RATE, materials=library.Material(absorption), max_order=min(reflections, _MOST_REFLECTIONS)
    )
    room.add_source(speaker)
    room.add_microphone(microphone)
    room.compute_rir()
    images = room.rir[0][0]
    first = int(np.abs(images).argmax())
    response = np.zeros(max(int(rt60 * SAMPLE_RATE), 1))
    early = images[first:][: len(response)]
    response[: len(early)] = early
    if reflections > _MOST_REFLECTIONS:
        complete = max(int(_MOST_REFLECTIONS * size.min() / _SOUND * SAMPLE_RATE) - first, int(_JOINT * SAMPLE_RATE))
        if complete < len(response):
            response[complete:] = _tail(response[:complete], len(response) - complete, rt60, rng)
    return response


def _tail(early: NDArray[np.float64], length: int, rt60: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise that goes on from the level at the end of ``early`` and decays by 60 dB in ``rt60`` s: (``length``,)."""
    joint = int(_JOINT * SAMPLE_RATE)
    level = np.sqrt(np.mean(early[-joint:] ** 2))
    decay = 10 ** (-3 * (np.arange(length) + joint / 2) / (rt60 * SAMPLE_RATE))
    return level * decay * rng.standard_normal(length)


def _library() -> ModuleType:
    try:
        import pyroomacoustics  # optional dependency
    except ImportError as error:
        raise MissingLibrary(
            f"needs pyroomacoustics ({error}): {how_to_install('robustness')}, or leave the condition out"
        ) from error
    return pyroomacoustics  # type: ignore[no-any-return]
