"""Effects of reverberation, by simulated or measured impulse responses of rooms, scaled to unit energy."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.augment.effect import Effect, Waveform
from nes2net.data.augment.sources import Sources
from nes2net.lib.errors import InputError
from nes2net.lib.process.installation import optional

_LIBRARY = ("pyroomacoustics", "needs pyroomacoustics", "robustness", ", or remove the condition")

# Assumptions: the rooms are small to large living rooms, and speaker and microphone are at least half a metre from a
# wall.
_MIN_SIZE = (3.0, 3.0, 2.5)  # m
_MAX_SIZE = (8.0, 6.0, 3.5)  # m
_TO_WALL = 0.5  # m
_SOUND = 343.0  # m/s, the speed of sound
# Most reflections of a sound that the image method simulates; some rooms would need 160, which takes seconds.
_MAX_REFLECTIONS = 17


class Room(Effect):
    """A simulated room with reverberation time RT60; its size and positions are drawn at each call.

    The image method (Allen and Berkley, 1979) simulates up to 17 reflections in a box. Later ones
    are Gaussian noise that decays by 60 dB in RT60 (as in Lehmann and Johansson, 2010).

    Raises:
        MissingLibrary: if pyroomacoustics is not installed.
    """

    unit = "s"
    strengths = (0.3, 0.6, 1.0)
    limits = (0.2, 3.0)
    is_linear = True

    def prepare(self) -> None:
        optional(*_LIBRARY)

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        return reverberate(x, room_response(self.strength, rng))


class MeasuredRoom(Effect):
    """A measured room: an impulse response that is drawn from the folder at each call.

    Args:
        aligned: see :func:`reverberate`.
    """

    needs = ("rir",)
    is_linear = True

    def __init__(self, strength: float | None = None, sources: Sources | None = None, *, aligned: bool = True) -> None:
        super().__init__(strength, sources)
        self.aligned = aligned

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        from nes2net.data.audio.read import load_audio  # imported late for a fast start-up of --help

        path = self.sources.impulse_responses[rng.integers(len(self.sources.impulse_responses))]
        return reverberate(x, load_audio(RecordingPart(channel=0).of(path)), str(path), aligned=self.aligned)


def reverberate(
    x: NDArray, impulse_response: NDArray, name: str = "the impulse response", *, aligned: bool = False
) -> NDArray:
    """Convolve ``x`` (N,) with ``impulse_response`` (M,), scaled to unit energy; keep N samples.

    Args:
        name: name of the impulse response for messages.
        aligned: whether the result starts at the direct sound, the peak of the impulse response,
            like Kaldi's ``wav-reverberate --shift-output``. Otherwise it is late by 3 ms for each
            metre.

    Raises:
        InputError: if the impulse response is silent.
    """
    from scipy import fft  # imported late for a fast start-up of --help

    h = impulse_response.astype(np.float64)
    energy = float(np.sum(h**2))
    if energy == 0:
        raise InputError(f"{name} is silent and cannot be an impulse response; remove it from its folder")
    start = int(np.abs(h).argmax()) if aligned else 0
    h = h[: start + len(x)] / math.sqrt(energy)  # later samples of the response do not change the result
    size = fft.next_fast_len(len(x) + len(h) - 1, real=True)
    y = fft.irfft(fft.rfft(x.astype(np.float64), size) * fft.rfft(h, size), size)
    return y[start : start + len(x)].astype(x.dtype, copy=False)


def room_response(rt60: float, rng: Generator) -> NDArray[np.float64]:
    """Draw the impulse response of a random room in which sound decays by 60 dB in ``rt60`` s.

    Returns:
        (``rt60`` · 16000,) at 16 kHz; the first sample is the direct sound.

    Raises:
        MissingLibrary: if pyroomacoustics is not installed.
    """
    pyroomacoustics = optional(*_LIBRARY)
    # Another order of draws would change the result of every seed.
    size = rng.uniform(_MIN_SIZE, _MAX_SIZE)
    speaker, microphone = rng.uniform(_TO_WALL, size - _TO_WALL, (2, 3))
    while np.linalg.norm(speaker - microphone) < 0.5:  # m; an assumption
        microphone = rng.uniform(_TO_WALL, size - _TO_WALL)
    # Simulate the response, and let it begin with the direct sound.
    absorption, max_reflections = pyroomacoustics.inverse_sabine(rt60, size, c=_SOUND)
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(max_reflections, _MAX_REFLECTIONS),
    )
    room.add_source(speaker)
    room.add_microphone(microphone)
    room.compute_rir()
    simulated = room.rir[0][0]
    direct_sound = int(np.abs(simulated).argmax())
    response = np.zeros(max(int(rt60 * SAMPLE_RATE), 1))
    early = simulated[direct_sound:][: len(response)]
    response[: len(early)] = early
    # Noise replaces the reflections that were not simulated.
    if max_reflections > _MAX_REFLECTIONS:
        level_window = SAMPLE_RATE // 50  # 20 ms: the level is measured over this time before the noise begins
        # The tail of noise begins at the first sample that may lack reflections. Before this sample, no sound has
        # crossed the room more than 17 times.
        tail_start = max(int(_MAX_REFLECTIONS * size.min() / _SOUND * SAMPLE_RATE) - direct_sound, level_window)
        tail_length = len(response) - tail_start
        if tail_length > 0:  # the noise begins at the level of the samples before the tail
            level = np.sqrt(np.mean(response[tail_start - level_window : tail_start] ** 2))
            decay = 10 ** (-3 * (np.arange(tail_length) + level_window / 2) / (rt60 * SAMPLE_RATE))
            response[tail_start:] = level * decay * rng.standard_normal(tail_length)
    return response
