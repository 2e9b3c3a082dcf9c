"""Rooms: simulated and measured impulse responses, which have unit energy (:func:`reverberate`)."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.packed import ChannelOf
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.augment.effect import Effect
from nes2net.data.augment.sources import Sources
from nes2net.lib.errors import InputError, MissingLibrary
from nes2net.lib.installation import how_to_install

# Assumptions: rooms from a small to a large living room, in which nobody stands closer to a wall than
# half a metre.
_SMALLEST = (3.0, 3.0, 2.5)  # m
_LARGEST = (8.0, 6.0, 3.5)  # m
_TO_WALL = 0.5  # m
_SOUND = 343.0  # m/s, the speed of sound
# Reflections in a row that are simulated. Simulating all of them, up to 160 in a row, would take seconds.
_MOST_REFLECTIONS = 17


class Room(Effect):
    """A simulated room with reverberation time RT60; its size and positions are drawn at each call.

    Early reflections, up to 17 in a row, come from the image method in a box (Allen and Berkley,
    1979). Later reflections are replaced by Gaussian noise that decays by Sabine's formula (as in
    Lehmann and Johansson, 2010).

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


class MeasuredRoom(Effect):
    """A measured room: an impulse response that is drawn from the folder at each call.

    Args:
        aligned: see :func:`reverberate`.
    """

    needs = ("rir",)

    def __init__(self, strength: float | None = None, sources: Sources | None = None, *, aligned: bool = True) -> None:
        super().__init__(strength, sources)
        self.aligned = aligned

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        from nes2net.data.audio.read import load_audio  # start-up: `nes2net.data.augment` is imported for --help

        path = self.sources.impulse_responses[rng.integers(len(self.sources.impulse_responses))]
        return reverberate(x, load_audio(ChannelOf(path, 0)), str(path), aligned=self.aligned)


def reverberate(
    x: np.ndarray, impulse_response: np.ndarray, name: str = "the impulse response", *, aligned: bool = False
) -> np.ndarray:
    """Convolve ``x`` (N,) with ``impulse_response`` (M,), scaled to unit energy.

    The result is the first N samples of the convolution, in the type of ``x``.

    Args:
        name: name of the impulse response, for the message.
        aligned: drop the samples before the direct sound, the peak of the impulse response, like
            Kaldi's ``wav-reverberate --shift-output``. Otherwise the result is delayed by the
            travel time of the sound, 3 ms for each metre.

    Raises:
        InputError: if the impulse response is silent.
    """
    from scipy import fft  # start-up: `nes2net.data.augment` is imported for --help

    h = impulse_response.astype(np.float64)
    energy = float(np.sum(h**2))
    if energy == 0:
        raise InputError(f"{name} is silent and cannot be an impulse response; take it out of its folder")
    h = h[: len(x)] / math.sqrt(energy)  # later samples have no effect on the first N samples
    size = fft.next_fast_len(len(x) + len(h) - 1, real=True)
    y = fft.irfft(fft.rfft(x.astype(np.float64), size) * fft.rfft(h, size), size)
    first = int(np.abs(h).argmax()) if aligned else 0
    return y[first : first + len(x)].astype(x.dtype, copy=False)


def room_response(rt60: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw an impulse response (M,) at 16 kHz that decays by 60 dB in ``rt60`` s.

    The first sample is the direct sound.
    """
    library = _library()
    size = rng.uniform(_SMALLEST, _LARGEST)
    speaker, microphone = rng.uniform(_TO_WALL, size - _TO_WALL, (2, 3))
    while np.linalg.norm(speaker - microphone) < 0.5:  # m
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
        joint = SAMPLE_RATE // 50  # the level at the start of the tail is measured over so many samples
        # Up to this sample, no reflection is missing: a sound has crossed the room 17 times at the earliest.
        complete = max(int(_MOST_REFLECTIONS * size.min() / _SOUND * SAMPLE_RATE) - first, joint)
        tail_length = len(response) - complete
        if tail_length > 0:  # noise continues at the level of the last complete samples
            level = np.sqrt(np.mean(response[complete - joint : complete] ** 2))
            decay = 10 ** (-3 * (np.arange(tail_length) + joint / 2) / (rt60 * SAMPLE_RATE))
            response[complete:] = level * decay * rng.standard_normal(tail_length)
    return response


def _library() -> ModuleType:
    try:
        import pyroomacoustics  # optional dependency
    except ImportError as error:
        raise MissingLibrary(
            f"needs pyroomacoustics ({error}): {how_to_install('robustness')}, or leave the condition out"
        ) from error
    return pyroomacoustics  # type: ignore[no-any-return]
