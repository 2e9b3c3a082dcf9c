"""From decoded samples to what detectors take: 16 kHz, one channel, float32 in [−1, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from nes2net.errors import InputError

#: Hz; every detector works at this rate.
SAMPLE_RATE = 16000

# Hz. Recordings lie within; a damaged header may say anything, and resampling would make gigabytes
# of it.
_RATES = (1000, 1_000_000)
# Larger sample values are not loud recordings but integers in floating-point numbers.
_LOUDEST = 16.0


def to_mono_16k(samples: np.ndarray, sample_rate: float, what: str = "audio") -> np.ndarray:
    """The mean of the channels of ``samples`` ((N,) or (channels, N)), resampled to 16 kHz.

    The result is that of ``librosa.load``: soxr in high quality, and a last sample of 0 if soxr
    gives one sample less than the length asks for.

    Raises:
        InputError: if ``samples`` has another shape or is empty, or the rate is below 1 kHz or
            above 1 MHz; the message begins with ``what``.
    """
    samples = mean_of_channels(samples)
    check_rate(sample_rate, what)
    if sample_rate != SAMPLE_RATE and len(samples):
        length = resampled_length(len(samples), sample_rate)
        samples = soxr.resample(samples, sample_rate, SAMPLE_RATE, quality="HQ")[:length]
        samples = np.pad(samples, (0, length - len(samples)))
    if not len(samples):
        raise InputError(f"{what} has no samples")
    return np.ascontiguousarray(samples, dtype=np.float32)


def blocks_at_16k(blocks: Iterable[tuple[np.ndarray, int]], what: str = "audio") -> Iterator[np.ndarray]:
    """The result of :func:`to_mono_16k` in blocks, to the last bit.

    Args:
        blocks: consecutive samples (channels, N), and their rate in Hz, the same in all blocks.

    Raises:
        InputError: as :func:`to_mono_16k`.
    """
    resampler, rate = None, SAMPLE_RATE
    read = found = 0
    for samples, rate in blocks:
        block = mean_of_channels(samples)
        read += len(block)
        if rate != SAMPLE_RATE:
            if resampler is None:
                check_rate(rate, what)
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            block = resampler.resample_chunk(block)
        found += len(block)
        if len(block):
            yield np.ascontiguousarray(block, np.float32)
    if not read:
        raise InputError(f"{what} has no samples")
    if resampler is not None:
        missing = resampled_length(read, rate) - found
        tail = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
        if missing > 0:
            yield np.pad(tail, (0, missing - len(tail)))


def mean_of_channels(samples: np.ndarray) -> np.ndarray:
    """(N,) of ``samples``, (N,) or (channels, N). :class:`InputError` if they have more axes."""
    if samples.ndim == 2:
        if len(samples) == 1:
            samples = samples[0]
        elif len(samples) == 2:  # to the bits of NumPy's mean, in a quarter of its time
            samples = samples[0] + samples[1]
            samples += 0  # which makes −0 to 0
            samples /= 2
        else:
            samples = samples.mean(axis=0, dtype=samples.dtype)
    if samples.ndim != 1:
        raise InputError(f"audio is (samples,) or (channels, samples), not an array of {samples.ndim} axes")
    return samples


def check_rate(sample_rate: float, what: str) -> None:
    """:class:`InputError`, beginning with ``what``, if no recording has this rate in Hz."""
    if not _RATES[0] <= sample_rate <= _RATES[1]:  # also catches NaN
        raise InputError(
            f"{what} is said to have {sample_rate:g} samples a second; {_RATES[0]:,} to {_RATES[1]:,} Hz are accepted"
        )


def resampled_length(num_samples: int, sample_rate: float) -> int:
    """Samples at 16 kHz, in librosa's arithmetic."""
    return math.ceil(num_samples * (SAMPLE_RATE / sample_rate))


def fault_of(samples: np.ndarray) -> str | None:
    """Why ``samples`` are not audio in [−1, 1], in words that follow a name; None if they are."""
    if not samples.size:
        return None
    loudest = max(samples.max(), -samples.min())
    if not np.isfinite(loudest):
        return "holds NaN or infinite samples"
    if loudest > _LOUDEST:
        return f"has samples that reach {loudest:g}; values in [-1, 1] are expected: divide by full scale, 32768 for 16-bit audio"
    return None
