"""Turn samples into a detector's input: 16 kHz, one channel, float32 in [−1, 1], cropped or padded."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nes2net.lib.errors import InputError

#: Sampling rate in Hz at which every detector works.
SAMPLE_RATE = 16000
#: Quality in which soxr resamples recordings to this rate. Other resamplers give other scores.
SOXR_QUALITY = "HQ"
#: Full scale of 16-bit samples.
FULL_SCALE = np.float32(32768)

# Lowest and highest accepted rate in Hz. A damaged header may state any rate, and resampling from a very
# low rate would make gigabytes of samples.
_RATES = (1000, 1_000_000)


def as_16_bits(samples: NDArray) -> NDArray:
    """Return float32 ``samples`` as int16 if no bit is lost."""
    with np.errstate(invalid="ignore"):  # NaN remains float32
        as_int16 = np.rint(np.clip(samples * FULL_SCALE, -32768, 32767)).astype(np.int16)
    restored = as_int16.astype(np.float32) / FULL_SCALE
    # Bits are compared, not values, because −0 equals 0.
    if np.array_equal(restored.view(np.uint32), samples.view(np.uint32)):
        return as_int16
    return samples


def mean_of_channels(samples: NDArray) -> NDArray:
    """Average the channels of ``samples``, (N,) or (channels, N), to (N,).

    Raises:
        InputError: if ``samples`` has no axis, or more than two axes.
    """
    if samples.ndim == 2:
        if len(samples) == 1:
            samples = samples[0]
        elif len(samples) == 2:  # same bits as NumPy's mean, in a quarter of the time
            samples = samples[0] + samples[1]
            samples += 0  # turns −0 into 0, like NumPy's mean
            samples /= 2
        else:
            samples = samples.mean(axis=0, dtype=samples.dtype)
    if samples.ndim != 1:
        raise InputError(
            f"audio must have the shape (samples,) or (channels, samples), not {samples.shape}: give one recording"
        )
    return samples


def check_rate(sample_rate: float, subject: str) -> None:
    """Raise :class:`InputError` if ``sample_rate``, in Hz, is impossible."""
    if not _RATES[0] <= sample_rate <= _RATES[1]:  # also catches NaN
        raise InputError(
            f"has a stated sampling rate of {sample_rate:g} Hz; expected {_RATES[0]:,} to {_RATES[1]:,} Hz: correct the rate",
            subject=subject,
        )


def check_samples(samples: NDArray, sample_rate: float, subject: str, start: float = 0.0) -> None:
    """Check that ``samples``, (N,) or (channels, N), are audio, and not NaN or 16-bit integers.

    Loud audio may exceed [−1, 1].

    Args:
        sample_rate: in Hz, for the time in the message.
        subject: the beginning of the message.
        start: time of the first sample in the recording, in seconds.

    Raises:
        InputError: if a sample is NaN, infinite or beyond ±16; the message states the time of the
            first such sample.
    """
    if not samples.size:
        return
    loudest = max(samples.max(), -samples.min())
    if loudest <= _LOUDEST:  # False for NaN
        return
    is_audio = np.atleast_2d(np.abs(samples) <= _LOUDEST).all(axis=0)
    first = f"the first at {start + int(is_audio.argmin()) / sample_rate:.3f} s"
    if not np.isfinite(loudest):
        raise InputError(f"holds NaN or infinite samples ({first}): repair or remove it", subject=subject)
    raise InputError(
        f"has samples that reach {loudest:g} ({first}); expected values in [-1, 1]: divide by full scale, 32768 for "
        "16-bit audio",
        subject=subject,
    )


# Even a very loud recording has no samples beyond ±16. Larger numbers are probably integers that were stored as
# floating-point numbers.
_LOUDEST = 16

#: Number of samples to take of an utterance on ASVspoof 2019 and 2021: in training, in development and in '4sec'
#: scoring.
ASVSPOOF_SAMPLES = 64600
#: Number of samples to take of an utterance in '4sec' scoring on In-the-Wild, and in the single-file demo (deviation
#: 3).
IN_THE_WILD_SAMPLES = 64000
#: Ten minutes, the most to which a recording is filled up: a model or recipe of unknown origin may ask for too much
#: memory.
MAX_CROP_SAMPLES = 600 * 16000
#: How a recording that is too short is filled up: repeat it, or append zeros.
Padding: TypeAlias = Literal["repeat", "zeros"]


def pieces(length: int, num_samples: int, min_piece: int) -> list[tuple[int, int]]:
    """Cut ``length`` samples into consecutive pieces of ``num_samples``; the last may be shorter.

    A last piece of fewer than ``min_piece`` samples is omitted, unless it is the only one (Wang and
    Yamagishi, Odyssey 2022).

    Returns:
        (first sample, number of samples) of each piece.

    >>> pieces(10, 4, 2), pieces(9, 4, 2), pieces(1, 4, 2), pieces(0, 4, 2)
    ([(0, 4), (4, 4), (8, 2)], [(0, 4), (4, 4)], [(0, 1)], [])
    """
    cut = [(start, min(num_samples, length - start)) for start in range(0, length, num_samples)]
    if len(cut) > 1 and cut[-1][1] < min_piece:
        cut.pop()
    return cut


def pad(waveform: NDArray, num_samples: int) -> NDArray:
    """Cut ``waveform`` to ``num_samples``, or append zeros.

    >>> pad(np.array([1, 2, 3]), 5), pad(np.array([1, 2, 3]), 2)
    (array([1, 2, 3, 0, 0]), array([1, 2]))
    """
    return np.pad(waveform[:num_samples], (0, max(0, num_samples - len(waveform))))


def peak_normalized(waveform: NDArray) -> NDArray:
    """Divide ``waveform`` by its largest absolute sample; digital silence stays as it is.

    >>> peak_normalized(np.array([0.25, -0.5])), peak_normalized(np.zeros(2))
    (array([ 0.5, -1. ]), array([0., 0.]))
    """
    peak = np.abs(waveform).max(initial=0)
    return waveform / peak if peak > 0 else waveform


def pre_emphasised(waveform: NDArray, coefficient: float) -> NDArray:
    """Subtract from each sample but the first ``coefficient`` times the sample before it.

    The whole recording is filtered, before it is cut or repeated. 0 returns ``waveform`` itself.

    >>> pre_emphasised(np.array([1.0, 2.0, 4.0]), 0.5)
    array([1. , 1.5, 3. ])
    """
    if coefficient == 0:
        return waveform
    emphasised = waveform.copy()
    emphasised[1:] -= np.float32(coefficient) * waveform[:-1]
    return emphasised


def head_crop(
    waveform: NDArray, num_samples: int, utterance: str = "the waveform", padding: Padding = "repeat"
) -> NDArray:
    """Take the first ``num_samples``; a shorter waveform is repeated, or padded with zeros.

    Args:
        utterance: name of the utterance for messages.

    Raises:
        InputError: if the utterance is empty, or would be filled up to more than ten minutes.

    >>> head_crop(np.array([1, 2, 3]), 7)
    array([1, 2, 3, 1, 2, 3, 1])
    >>> head_crop(np.array([1, 2, 3]), 7, padding="zeros")
    array([1, 2, 3, 0, 0, 0, 0])
    """
    length = len(waveform)
    if length == 0:
        raise InputError(f"{utterance} has no samples to crop or repeat: replace or remove it")
    if length >= num_samples:
        return waveform[:num_samples]
    if num_samples > MAX_CROP_SAMPLES:
        raise InputError(
            f"{utterance} would be filled up to {num_samples:,} samples; at most {MAX_CROP_SAMPLES:,} are possible: use fewer samples"
        )
    if padding == "zeros":
        return pad(waveform, num_samples)
    return np.tile(waveform, -(-num_samples // length))[:num_samples]


def random_crop(
    waveform: NDArray,
    num_samples: int,
    rng: np.random.Generator,
    utterance: str = "the waveform",
    padding: Padding = "repeat",
) -> NDArray:
    """Take ``num_samples`` from a random start.

    All starts are equally likely; the last one is included, unlike in the published ASVspoof 5 code
    (deviation 15). A shorter utterance is filled up as in :func:`head_crop`, with the same errors.

    >>> random_crop(np.arange(100), 4, np.random.default_rng(0))
    array([82, 83, 84, 85])
    """
    start = int(rng.integers(len(waveform) - num_samples + 1)) if len(waveform) > num_samples else 0
    return head_crop(waveform[start:], num_samples, utterance, padding)


def random_tiled_crop(
    waveform: NDArray, num_samples: int, rng: np.random.Generator, utterance: str = "the waveform"
) -> NDArray:
    """Take ``num_samples`` from a random start by the rule of the CtrSVDD recipe.

    An utterance of ``num_samples`` or less is first repeated ⌊``num_samples``/length⌋ + 1 times;
    one of exactly ``num_samples`` is thus rotated. As in the published code, the last possible
    start is never drawn.

    Raises:
        InputError: if the utterance is empty.

    >>> random_tiled_crop(np.arange(3), 7, np.random.default_rng(0))
    array([1, 2, 0, 1, 2, 0, 1])
    """
    length = len(waveform)
    if length == 0:
        return head_crop(waveform, num_samples, utterance)  # raises the error
    if length <= num_samples:
        waveform = np.tile(waveform, num_samples // length + 1)
    start = int(rng.integers(len(waveform) - num_samples))
    return waveform[start : start + num_samples]
