"""One channel for both classes, so that level, pauses, bandwidth, crest factor and spectrum do not separate them.

Otherwise a detector would learn such differences instead of the traces of synthesis (Müller et al.
2021, "Speech is Silver, Silence is Golden"). Arrays are float64, mono, 16 kHz.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.stats import gennorm

RATE = 16_000
FRAME = RATE // 100  # 10 ms
FADE = RATE // 200  # 5 ms
BAND_HZ = (100.0, 7000.0)
EDGE = RATE // 20  # 50 ms; cut off at both ends, where filters ring
MAX_DELAY = 0.012  # seconds, of the random all-pass
MAX_PAUSE_FRAMES = 10
SILENCE_DB = 35.0

# Long-term average speech spectrum, third octaves from 100 Hz to 8 kHz, dB (Byrne et al. 1994, Table II, combined).
_THIRD_OCTAVES = 1000.0 * 2.0 ** (np.arange(-10, 10) / 3)
_SPEECH_SPECTRUM_DB = np.array(
    [54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8, 53.7, 53.0, 52.0, 48.7, 48.1, 46.8, 45.6, 44.5, 44.3, 43.7]
)  # fmt: skip
# Band edges of the equaliser: third octaves below 500 Hz, where harmonics lie far apart, sixth octaves above.
_SIXTH_OCTAVES = np.concatenate([np.arange(-20, -6, 2), np.arange(-6, 17)])
_EDGES = np.append(1000.0 * 2.0 ** (_SIXTH_OCTAVES / 6), BAND_HZ[1])
_CENTRES = np.sqrt(_EDGES[:-1] * _EDGES[1:])
# Usual levels of speech frames in dB, at these ranks: 0 is the quietest frame, 1 the loudest.
_RANKS = np.array([0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0])
_LEVELS_DB = np.array([-34, -30, -19, -11, -5.5, -2.5, 0, 2])


def generator(seed: int, *names: str) -> np.random.Generator:
    """Make the random generator that belongs to ``names``.

    Each use has its own generator, so results do not depend on the order or the number of
    processes.
    """
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def _decibels(power: NDArray) -> NDArray:
    """Convert powers to dB, at least −120."""
    return 10 * np.log10(np.maximum(power, 1e-12))


class _Grid:
    """The frequencies of the Fourier transform of a clip, and arrays for its filters."""

    def __init__(self, samples: int) -> None:
        self.length = next_fast_len(samples + RATE // 10, real=True)
        self.frequencies = rfftfreq(self.length, 1 / RATE)
        self.edges = np.searchsorted(self.frequencies, _EDGES)
        self.logarithms = np.log(np.maximum(self.frequencies, 1))
        low, high = BAND_HZ  # a pass band with raised-cosine edges
        above_low = (self.frequencies - 0.7 * low) / (0.3 * low)
        below_high = (1.06 * high - self.frequencies) / (0.06 * high)
        rise = 1 - np.cos(np.pi * np.clip(above_low, 0, 1))
        fall = 1 - np.cos(np.pi * np.clip(below_high, 0, 1))
        self.band = 0.25 * rise * fall

    def density_db(self, spectrum: NDArray) -> NDArray:
        """Compute the spectral density in each band of the equaliser, in dB relative to the strongest band."""
        power = spectrum.real**2 + spectrum.imag**2
        sums = np.add.reduceat(power, self.edges[:-1])
        bands = sums[: len(_CENTRES)] / np.diff(self.edges)
        return _decibels(bands / bands.max())


_grid = lru_cache(maxsize=4)(_Grid)  # all filters of a clip share one


def _filtered(x: NDArray, gain: Callable[[_Grid, NDArray], NDArray]) -> NDArray:
    """Filter ``x`` in the frequency domain.

    Args:
        gain: takes the grid and the spectrum, and returns the factor of each frequency; a real factor keeps the phase.
    """
    grid = _grid(len(x))
    spectrum = rfft(x, grid.length)
    filtered = irfft(spectrum * gain(grid, spectrum), grid.length)
    return filtered[: len(x)]


def unit_power(x: NDArray) -> NDArray:
    """Scale ``x`` to a mean power of 1."""
    return x / np.sqrt(np.mean(x**2))


def faded(x: NDArray) -> NDArray:
    """Fade the first and the last 5 ms of ``x`` in and out, in place."""
    ramp = np.linspace(0, 1, FADE)
    x[:FADE] *= ramp
    x[-FADE:] *= ramp[::-1]
    return x


def _factor(decibels: NDArray) -> NDArray:
    """Convert gains in dB to factors of amplitudes."""
    return np.exp(decibels * (np.log(10) / 20))


def band_pass(x: NDArray) -> NDArray:
    """Filter to 100 Hz to 7 kHz with zero phase."""
    return _filtered(x, lambda grid, _: grid.band)


def frame_levels(x: NDArray) -> NDArray:
    """Compute the level of each frame of 10 ms in dB, averaged over three frames."""
    frames = x[: len(x) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(frames**2, axis=1)
    return _decibels(np.convolve(power, np.ones(3) / 3, mode="same"))


def _joined(pieces: list[NDArray]) -> NDArray:
    """Join pieces with cross-fades of 5 ms."""
    ramp = np.linspace(0, 1, FADE)
    joined = pieces[0]
    for piece in pieces[1:]:
        seam = joined[-FADE:] * (1 - ramp) + piece[:FADE] * ramp
        joined = np.concatenate([joined[:-FADE], seam, piece[FADE:]])
    return joined


def speech_only(x: NDArray) -> NDArray:
    """Band-pass ``x``, remove silence at both ends, and cut pauses to 100 ms; empty without speech.

    A frame is silent if its level is 35 dB below the 95th percentile of all levels.
    """
    if len(x) < 10 * FRAME:
        return np.zeros(0)
    x = band_pass(x)
    levels = frame_levels(x)
    loud = np.percentile(levels, 95)
    speech = np.flatnonzero(levels > loud - SILENCE_DB)
    if loud < -70 or len(speech) == 0:
        return np.zeros(0)
    gaps = np.flatnonzero(np.diff(speech) > MAX_PAUSE_FRAMES + 1)
    half = MAX_PAUSE_FRAMES // 2
    starts = np.append(speech[0], speech[gaps + 1] - half)
    stops = np.append(speech[gaps] + half, speech[-1]) + 1
    return _joined([x[a * FRAME : b * FRAME] for a, b in zip(starts, stops)])


def window(x: NDArray, samples: int, rng: np.random.Generator) -> NDArray:
    """Cut ``samples`` of ``x`` at a random position, so that clips of both classes begin and end in mid-speech."""
    latest = max(len(x) - samples, 0)
    start = int(rng.integers(0, latest + 1))
    return x[start : start + samples]


def density_db(x: NDArray) -> NDArray:
    """Compute the long-term spectral density of ``x`` in each band of the equaliser, in dB relative to the strongest."""
    grid = _grid(len(x))
    return grid.density_db(rfft(x, grid.length))


def equalised(x: NDArray, target_db: NDArray, limit_db: float = 24.0) -> NDArray:
    """Filter ``x`` to the spectral density ``target_db`` in each band, by at most ``limit_db``."""

    def gain(grid: _Grid, spectrum: NDArray) -> NDArray:
        gain_db = target_db - grid.density_db(spectrum)
        gain_db = np.clip(gain_db - np.median(gain_db), -limit_db, limit_db)
        gain_db = np.interp(grid.logarithms, np.log(_CENTRES), gain_db)
        return _factor(gain_db) * grid.band

    return _filtered(x, gain)


def dispersed(x: NDArray, rng: np.random.Generator) -> NDArray:
    """Filter ``x`` by a random all-pass with group delays of 0 to 12 ms (6 ms on average), like short reflections.

    Synthesis aligns the phases of harmonics, so without this filter spoofs would have higher peaks
    than voices in a room.
    """
    knots = np.arange(0, RATE / 2 + 150, 150)
    delays = rng.uniform(0, MAX_DELAY, len(knots))

    def gain(grid: _Grid, _: NDArray) -> NDArray:
        delay = np.cumsum(np.interp(grid.frequencies, knots, delays))
        return np.exp(-2j * np.pi * delay * grid.frequencies[1])

    return _filtered(x, gain)


def levelled(x: NDArray, depth: float, limit_db: float = 12.0) -> NDArray:
    """Map the frame levels of ``x`` to their usual distribution, as a gain control does.

    Args:
        depth: factor of the distances between the levels.
        limit_db: largest gain.
    """
    levels = frame_levels(x)
    order = np.argsort(levels)
    ranks = np.argsort(order) / (len(levels) - 1)
    usual_levels = np.interp(ranks, _RANKS, _LEVELS_DB)
    gain_db = depth * usual_levels - levels
    gain_db = np.clip(gain_db - np.median(gain_db), -limit_db, limit_db)
    padded = np.pad(gain_db, 2, mode="edge")
    smooth = np.convolve(padded, np.ones(5) / 5, mode="valid")
    centres = (np.arange(len(levels)) + 0.5) * FRAME
    return x * _factor(np.interp(np.arange(len(x)), centres, smooth))


def _amplitudes(shape: float, crest_db: float) -> tuple[NDArray, NDArray]:
    """Compute a distribution of absolute values of samples, of unit power.

    Args:
        shape: of a generalised normal distribution; 1 is Laplace, 2 is normal.
        crest_db: largest value.

    Returns:
        Ranks in [0, 1), and the value at each rank.
    """
    ranks = np.concatenate([np.linspace(0, 0.95, 96), 1 - np.geomspace(0.045, 1e-5, 60)])
    values = gennorm.ppf(0.5 + ranks / 2, shape)
    values = values / np.sqrt(gennorm.var(shape))
    return ranks, np.minimum(values, 10 ** (crest_db / 20))


def _companded(x: NDArray, ranks: NDArray, values: NDArray) -> NDArray:
    """Map the absolute values of ``x`` smoothly to the distribution with ``values`` at ``ranks``.

    After this, neither the crest factor nor the distribution of samples separates the classes.
    """
    magnitude = np.abs(x)
    # A histogram gives the ranks, which is five times as fast as sorting; its steps are 84 dB below the peak.
    scale = (2**14 - 1) / magnitude.max()
    step = (magnitude * scale).astype(np.intp)
    counts = np.bincount(step)
    rank = (np.cumsum(counts) - 0.5 * counts) / len(x)
    companded = np.interp(rank, ranks, values)
    return np.copysign(companded[step], x)


def _noise(samples: int, colour_db: NDArray, rng: np.random.Generator) -> NDArray:
    return unit_power(equalised(rng.standard_normal(samples), colour_db))


def _microphone(rng: np.random.Generator) -> NDArray:
    """Draw the target spectrum of a clip: average speech with random tilt and ripple.

    The result is a density in dB for each band of the equaliser.
    """
    octaves = np.log2(_CENTRES / 1000)
    density = _SPEECH_SPECTRUM_DB - 10 * np.log10(_THIRD_OCTAVES)
    average = np.interp(octaves, np.log2(_THIRD_OCTAVES / 1000), density)
    ripples = np.interp(octaves, np.linspace(-3.5, 3, 16), rng.normal(0, 3.0, 16))
    tilt = rng.normal(0, 1.0) * octaves
    return average + tilt + ripples


def match(x: NDArray, rng: np.random.Generator) -> NDArray:
    """Pass ``x`` through the common channel, and cut 50 ms off both ends.

    Each clip draws its own spectrum, reflections, noise, dynamics, polarity and level, from the
    same distributions for both classes. This hides small systematic differences.
    """
    target = _microphone(rng)
    depth = rng.uniform(0.75, 1.1)
    noise_db = rng.uniform(-42, -32)
    colour = target + rng.normal(0, 3.0) * np.log2(_CENTRES / 1000)
    amplitudes = _amplitudes(rng.uniform(1.1, 1.5), rng.uniform(9, 11))
    x = dispersed(equalised(x, target), rng)
    x = unit_power(equalised(x, target))
    x = x + _noise(len(x), colour, rng) * 10 ** (noise_db / 20)
    for _ in range(6):
        x = _companded(levelled(x, depth), *amplitudes)
        x = equalised(x, target)
    polarity = rng.choice([-1.0, 1.0])
    x = faded(x[EDGE : len(x) - EDGE] * polarity)
    level_db = np.clip(rng.normal(-26, 3), -32, -20)
    return unit_power(x) * 10 ** (level_db / 20)
