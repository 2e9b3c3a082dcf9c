"""RawBoost: raw data boosting for anti-spoofing, with the random draws of the published code.

H. Tak et al., ICASSP 2022 (arXiv 2111.04433).

RawBoost adds three kinds of noise of telephony: linear and non-linear convolutive noise (LnL,
algorithm 1), impulsive signal-dependent noise (ISD, 2) and stationary signal-independent noise
(SSI, 3). Algorithms 4 to 11 combine them.

The results equal those of the published code, whose ``firwin`` and ``lfilter`` are slow
(docs/speed.md). Therefore:

- One call of ``random`` draws the parameters of all filters: the same numbers as single calls.
- A formula gives the windowed-sinc filters, for all bands of all filters at once.
- The filters are symmetric, so their zero-phase spectra are real; a cascade's is their product.
- Filtering is overlap-save convolution, with a single inverse FFT for all filtered powers.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from nes2net.data.augment.effect import Effect, Waveform, input_fault
from nes2net.data.augment.sources import Sources
from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Settings, Share

if TYPE_CHECKING:
    from nes2net.data.augment.legacy import LegacyStream

#: NumPy's generators: the current class, and the older class that the published code uses.
NumPyRandom: TypeAlias = Generator | np.random.RandomState
#: Kinds of noise by number: 1 LnL, 2 ISD, 3 SSI.
Kinds: TypeAlias = tuple[int, ...]

# Algorithm → the kinds of noise that the algorithm applies, one after the other …
_KINDS: dict[int, Kinds] = {
    **{0: (), 1: (1,), 2: (2,), 3: (3,), 4: (1, 2, 3), 5: (1, 2), 6: (1, 3), 7: (2, 3)},
    **{8: (1, 2), 9: (1, 2, 3), 10: (1, 2), 11: (1, 2, 3)},
}
_PARALLEL = (8, 9, 10)  # … except these: each kind is applied to the same waveform, and the results are added up
ALGORITHMS = tuple(_KINDS)
# Algorithm in which each kind occurs by chance → how the published code compares a draw with the kind's probability.
_GATES = {10: operator.le, 11: operator.lt}

_EDGE_MARGIN = 0.001  # least distance in Hz of a band's edge from 0 and from half the sampling rate, as published
_GAIN_GRID = 1024  # the published code finds the gain in a spectrum sampled at k·fs/1024, k = 0 … 511


# The limits keep a filter's spectra below 110 MB.
Number = Annotated[int, Field(ge=1, le=20)]
Hertz = Annotated[float, Field(ge=0, le=1_000_000)]
Bandwidth = Annotated[float, Field(gt=0, le=1_000_000)]
Coefficients = Annotated[float, Field(ge=1, le=1000)]
Decibels = Annotated[float, Field(ge=-100, le=100)]
UpTo100 = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True)
class RawBoostParameters(Settings):
    """Parameters of RawBoost under their published names, with the published defaults.

    The fields ``min…`` and ``max…`` of a pair are the lowest and the highest value of a uniform
    draw.

    Raises:
        InputError: if a value is impossible.
    """

    owner: ClassVar[str] = "RawBoost"

    N_f: Number = 5
    """Highest power of the waveform in LnL noise."""
    nBands: Number = 5
    """Number of notches in each filter."""
    minF: Hertz = 20
    maxF: Hertz = 8000
    """Centre of a notch in Hz."""
    minBW: Bandwidth = 100
    maxBW: Bandwidth = 1000
    """Width of a notch in Hz."""
    minCoeff: Coefficients = 10
    maxCoeff: Coefficients = 100
    """Number of coefficients of a notch; the drawn number is truncated and made odd."""
    minG: Decibels = 0
    maxG: Decibels = 0
    """Gain of a filter in dB."""
    minBiasLinNonLin: Decibels = 5
    maxBiasLinNonLin: Decibels = 20
    """How much lower, in dB, the gains of x², x³, … are than the gain of x; subtracted from ``minG`` and ``maxG``."""
    P: UpTo100 = 10
    """Largest share of samples that ISD noise changes, in percent."""
    g_sd: UpTo100 = 2
    """Gain of ISD noise."""
    SNRmin: Decibels = 10
    SNRmax: Decibels = 40
    """Signal-to-noise ratio of SSI noise in dB."""
    LnL_ratio: Share = 1.0
    ISD_ratio: Share = 1.0
    SSI_ratio: Share = 1.0
    """Probabilities of the three kinds of noise in algorithm 11; algorithm 10 uses only the
    probabilities of LnL and ISD."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in vars(self).items():
            highest = name.replace("min", "max")
            if value > getattr(self, highest):
                raise InputError(
                    f"RawBoost: {name}={value} is above {highest}={getattr(self, highest)}: swap or change them"
                )


class RawBoost(Effect):
    """RawBoost, with which many detectors were trained. The strength is not a level, but the number of the algorithm.

    Args:
        parameters: fields of :class:`RawBoostParameters`.
        stream: one pair of generators for all utterances (``augment.rng: legacy``). The draws then
            depend on the order in which utterances are read. None to draw from the generator of
            each utterance.
    """

    strengths = tuple(map(float, range(1, 9)))
    choices = tuple(map(float, ALGORITHMS[1:]))

    def __init__(
        self,
        strength: float | None = None,
        sources: Sources | None = None,
        *,
        parameters: Mapping[str, Any] = {},
        stream: LegacyStream | None = None,
    ) -> None:
        super().__init__(strength, sources)
        self.parameters = vars(RawBoostParameters.of(**parameters))
        self.stream = stream
        self.in_turn = stream is not None

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        # The strength is the number of the algorithm.
        generator, gates = (rng, None) if self.stream is None else (self.stream.rng, self.stream.gates)
        return rawboost(x, int(self.strength), generator, gate_rng=gates, **self.parameters).astype(np.float32)


def rawboost(
    x: NDArray,
    algo: int,
    rng: NumPyRandom,
    *,
    gate_rng: random.Random | None = None,
    sample_rate: float = 16000,
    **parameters: float,
) -> NDArray:
    """Augment one whole waveform with RawBoost. Crop or pad the result, not the waveform.

    Algorithm 0 adds no noise; 1 (LnL), 2 (ISD) and 3 (SSI) add one kind; 4 (LnL, ISD, SSI), 5 (LnL,
    ISD), 6 (LnL, SSI) and 7 (ISD, SSI) several, one after the other. Algorithms 8 (LnL, ISD) and 9
    (LnL, ISD, SSI) apply each kind to ``x``, and add up the results. Algorithms 10 and 11 are 8 and
    4 with a probability for each kind.

    Args:
        x: samples in [−1, 1], shape (N,), N ≥ 1, float32 or float64; not modified.
        algo: number of the algorithm, 0 to 11.
        rng: the generator for all draws. A ``RandomState`` draws in the order of the published
            code, which uses NumPy's global state.
        gate_rng: decides which kinds of noise occur in algorithms 10 and 11, like Python's
            ``random`` in the published code; by default ``rng``, but required if that is a
            ``RandomState``.
        sample_rate: in Hz.
        parameters: fields of :class:`RawBoostParameters`.

    Returns:
        Shape (N,); float64 after LnL or SSI noise, else the type of ``x``.

    Raises:
        InputError: if the waveform is empty, has NaN or infinite samples, or has a wrong type or
            shape; or if the algorithm or a parameter is unknown or impossible.

    >>> x = np.sin(np.arange(16000) / 10).astype(np.float32) / 2
    >>> y = rawboost(x, 5, np.random.default_rng(0), N_f=3)
    >>> y.shape, y.dtype
    ((16000,), dtype('float64'))
    """
    p = RawBoostParameters.of(**parameters)
    x = np.asarray(x)
    if fault := _fault(x, algo, rng, gate_rng, p, sample_rate):
        raise InputError(fault)

    kinds = _KINDS[algo]
    if occurs := _GATES.get(algo):
        gates = rng if gate_rng is None else gate_rng
        ratios = {1: p.LnL_ratio, 2: p.ISD_ratio, 3: p.SSI_ratio}
        kinds = tuple(kind for kind in kinds if occurs(gates.random(), ratios[kind]))
    if not kinds:
        return x.copy()
    noises = {1: convolutive_noise, 2: impulsive_noise, 3: stationary_noise}
    if algo in _PARALLEL:
        return _limit_peak(reduce(np.add, [noises[kind](x, rng, p, sample_rate) for kind in kinds]))
    for kind in kinds:
        x = noises[kind](x, rng, p, sample_rate)
    return x


def _fault(x: NDArray, algo: object, rng: object, gate_rng: object, p: RawBoostParameters, sample_rate: float) -> str:
    """Say what is wrong with the arguments of :func:`rawboost`; empty if nothing is."""
    for name in ("maxF", "maxBW"):
        if not getattr(p, name) <= sample_rate / 2:
            limit = f"half the sampling rate of {sample_rate} Hz; at most {sample_rate / 2:g} is possible"
            return f"RawBoost: {name}={getattr(p, name)} lies above {limit}"
    if algo not in ALGORITHMS:
        return f"RawBoost algorithm must be an integer from 0 to 11, not {algo!r}"
    if gate_rng is not None and not isinstance(gate_rng, random.Random):
        return f"gate_rng must be a random.Random, not {type(gate_rng).__name__}"
    if algo in _GATES and gate_rng is None and isinstance(rng, np.random.RandomState):
        return f"RawBoost algorithm {algo} with a RandomState needs gate_rng, for example random.Random(0)"
    if fault := input_fault(x, rng, "RawBoost"):
        return fault
    peak = float(_peak(x))
    if not math.isfinite(peak):
        return "the waveform has NaN or infinite samples; repair or remove its audio file"
    # The square and the highest power of each sample must not overflow. The sums of an FFT must not overflow either,
    # and may be larger than these powers by a factor of 2²⁰.
    if peak > (float(np.finfo(x.dtype).max) / 2**20) ** (1 / max(p.N_f, 2)):
        return f"the waveform has peak {peak:g}, whose powers overflow; scale it to [-1, 1]"
    return ""


def convolutive_noise(x: NDArray, rng: NumPyRandom, p: RawBoostParameters, sample_rate: float) -> NDArray:
    """Add LnL noise to ``x`` (N,): the sum of x, x², …, x^N_f, each through its own notch filter.

    The result is (N,) float64, with mean 0 and a peak of at most 1.
    """
    bias = np.array([[0.0, 0.0]] + [[p.minBiasLinNonLin, p.maxBiasLinNonLin]] * (p.N_f - 1))
    # Another order of draws would change the result of every seed, and the published one.
    draws = rng.random((p.N_f, 3 * p.nBands + 1))
    filters, gains = design_notch_filters(draws, np.array([p.minG, p.maxG]) - bias, p, sample_rate)

    level = float(np.sum(gains * float(_peak(x)) ** np.arange(1, p.N_f + 1)))
    # For a float32 waveform, FFTs are computed in float32 if the errors of the FFTs stay below 1e-6. The measured
    # error, divided by ``level``, is 8.3e-7 on square waves, the worst signal, and 2e-7 on noise.
    dtype = np.float32 if x.dtype == np.float32 and level <= 1 else np.float64
    y = filter_powers(x, filters, dtype)
    y -= y.mean()
    return _limit_peak(y)


def impulsive_noise(x: NDArray, rng: NumPyRandom, p: RawBoostParameters, sample_rate: float) -> NDArray:
    """Add ISD noise to ``x`` (N,): change some samples by random amounts in proportion to them.

    The result is (N,), of the type of ``x``, with a peak of at most 1.
    """
    # Another order of draws would change the result of every seed, and the published one.
    count = int(len(x) * (p.P * rng.random() / 100))
    if isinstance(rng, np.random.RandomState):
        positions = rng.permutation(len(x))[:count]
    else:  # faster than a permutation, with the same distribution
        positions = rng.choice(len(x), count, replace=False, shuffle=False)
    factor = (2 * rng.random(count) - 1) * (2 * rng.random(count) - 1)
    y = x.copy()
    y[positions] += float(p.g_sd) * x[positions] * factor
    return _limit_peak(y)


def stationary_noise(x: NDArray, rng: NumPyRandom, p: RawBoostParameters, sample_rate: float) -> NDArray:
    """Add SSI noise to ``x`` (N,): white noise through a notch filter at a random SNR, float64."""
    # Another order of draws would change the result of every seed, and the published one.
    noise = rng.standard_normal(len(x))
    draws = rng.random(3 * p.nBands + 2)
    filters, _ = design_notch_filters(draws[None, :-1], np.array([[p.minG, p.maxG]]), p, sample_rate)
    snr = _uniform(draws[-1], p.SNRmin, p.SNRmax)

    # FFTs in the precision of the waveform are exact enough: their error is 2e-7 of the noise, and the noise is weaker
    # than the utterance.
    dtype = np.float32 if x.dtype == np.float32 else np.float64
    noise = filter_powers(noise, filters, dtype)
    # The published code first scales the noise to peak 1, which the scaling below makes needless.
    norm = np.linalg.norm(noise)
    if norm > 0:
        noise *= np.linalg.norm(x.astype(np.float64)) / norm / 10 ** (snr / 20)
    noise += x
    return noise


def design_notch_filters(
    draws: NDArray, gain_range: NDArray, p: RawBoostParameters, sample_rate: float
) -> tuple[NDArray, NDArray]:
    """Make K notch filters, each a cascade of ``nBands`` band-stop filters, from uniform draws.

    Args:
        draws: (K, 3·nBands + 1) from [0, 1): centre, width and number of coefficients of each band,
            then the gain.
        gain_range: (K, 2), lowest and highest gain in dB.
        p: the ranges for centre, width and number of coefficients.
        sample_rate: in Hz.

    Returns:
        Right halves of the symmetric filters, (K, M + 1) from the centre outwards; linear gains
        (K,).
    """
    from scipy import fft  # imported late for a fast start-up of the published program

    bands = draws[:, :-1].reshape(len(draws), p.nBands, 3)
    centre = _uniform(bands[..., 0], p.minF, p.maxF)
    width = _uniform(bands[..., 1], p.minBW, p.maxBW)
    half_length = _uniform(bands[..., 2], p.minCoeff, p.maxCoeff).astype(np.int64) // 2  # the length 2·half + 1 is odd
    low = np.maximum(centre - width / 2, _EDGE_MARGIN)
    high = np.minimum(centre + width / 2, sample_rate / 2 - _EDGE_MARGIN)
    gains = 10 ** (_uniform(draws[:, -1], gain_range[:, 0], gain_range[:, 1]) / 20)

    cascade_half = int(half_length.sum(axis=1).max())  # half length of the longest cascade
    size = max(_GAIN_GRID, 1 << (2 * cascade_half).bit_length())  # a power of two that holds every cascade
    responses = _zero_phase_response(_band_stop(low / sample_rate, high / sample_rate, half_length), size)
    cascade = responses.prod(axis=1)
    cascade *= (gains / np.abs(cascade[:, : size // 2 : size // _GAIN_GRID]).max(axis=1))[:, None]
    return fft.irfft(cascade, size)[:, : cascade_half + 1], gains


def _band_stop(low: NDArray, high: NDArray, half_length: NDArray) -> NDArray:
    """Compute the right half of ``firwin(2·half_length + 1, [low, high], window="hamming")``.

    Edges are in cycles per sample. The result is (…, M + 1) for the largest half length M; a
    shorter filter ends in zeros.
    """
    low = low[..., None]
    high = high[..., None]
    half_length = half_length[..., None]
    m = np.arange(1, int(half_length.max()) + 1)
    window = 0.54 + 0.46 * np.cos(np.pi * m / np.maximum(half_length, 1))
    side = (np.sin(2 * np.pi * low * m) - np.sin(2 * np.pi * high * m)) / (np.pi * m) * window
    side[m > half_length] = 0
    taps = np.concatenate([1 - 2 * (high - low), side], axis=-1)
    return taps / (taps[..., :1] + 2 * side.sum(axis=-1, keepdims=True))  # unit gain at 0 Hz


def _zero_phase_response(right_half: NDArray, size: int) -> NDArray:
    """Right halves (…, M + 1) → real spectra (…, size/2 + 1)."""
    from scipy import fft  # imported late for a fast start-up of the published program

    # A symmetric filter has the real part of the spectrum of its centre and twice its right half.
    one_sided = 2 * right_half
    one_sided[..., 0] = right_half[..., 0]
    return fft.rfft(one_sided, size).real


def filter_powers(x: NDArray, right_halves: NDArray, dtype: type) -> NDArray:
    """Filter x, x², …, x^K, each by its own symmetric filter, and add up the results.

    As in the published code, sample n of the result is the zero-phase output at n + 1. By
    overlap-save, a block of ``size`` samples gives ``hop`` samples; allocating all blocks at once
    would take as long as the FFTs.

    Args:
        x: (N,); its powers keep its type, as in the published code.
        right_halves: (K, M + 1), as from :func:`design_notch_filters`.
        dtype: type of the FFTs, float32 or float64.

    Returns:
        (N,), float64.
    """
    from scipy import fft  # imported late for a fast start-up of the published program

    margin = max(right_halves.shape[1] - 1, 1)
    size = 4 * max(_GAIN_GRID, 1 << (2 * margin).bit_length())
    hop = size - 2 * margin
    blocks = -(-len(x) // hop)
    at_once = max(1, 2**17 // (size * np.dtype(dtype).itemsize))  # the number of blocks that fit into 128 KiB
    # A complex spectrum is stored as pairs of real numbers, so each real factor of a response is repeated.
    responses: NDArray = np.repeat(_zero_phase_response(right_halves, size).astype(dtype), 2, axis=1)

    padded = np.zeros(blocks * hop + 2 * margin, x.dtype)
    padded[margin - 1 :][: len(x)] = x  # one sample early, which gives the output at n + 1
    filtered = np.empty((blocks, hop))
    for first in range(0, blocks, at_once):
        rows = filtered[first : first + at_once]
        segment = padded[first * hop : (first + len(rows)) * hop + 2 * margin]
        total = np.zeros((len(rows), size + 2), dtype)
        for response, power in zip(responses, accumulate(repeat(segment), np.multiply)):
            # The blocks (B, size), a view of the samples, overlap and begin every ``hop`` samples.
            samples = power.astype(dtype, copy=False)
            strides = (hop * samples.itemsize, samples.itemsize)
            spectrum = fft.rfft(np.ndarray((len(rows), size), dtype, samples, strides=strides)).view(dtype)
            spectrum *= response
            total += spectrum
        wrapped = fft.irfft(total.view(np.result_type(dtype, np.complex64)), size)
        # Filters are symmetric about index 0, so both ends of a block are wrapped around.
        rows[:] = wrapped[:, margin : margin + hop]
    return filtered.reshape(-1)[: len(x)]


def _uniform(draw: NDArray, low: float | NDArray, high: float | NDArray) -> NDArray:
    """Draws from [0, 1) → [low, high), like NumPy; ``low`` may be above ``high``."""
    return low + (high - low) * draw


def _peak(x: NDArray) -> np.floating:
    return max(x.max(), -x.min())  # twice as fast as abs(x).max(), which makes a copy


def _limit_peak(y: NDArray) -> NDArray:
    peak = _peak(y)
    if peak > 1:
        y /= peak  # in place: callers pass their own arrays
    return y
