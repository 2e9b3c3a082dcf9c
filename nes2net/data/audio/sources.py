"""Turn recordings of any kind (files, arrays, iterators, raw bytes) into blocks at 16 kHz."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.audio.blocks import BlocksAt16k, push_all
from nes2net.data.audio.packed import AnyRecording, RecordingBytes
from nes2net.data.audio.pcm import RawAudio
from nes2net.data.audio.read import join_blocks, stream_audio
from nes2net.data.audio.remarks import Channels
from nes2net.lib.errors import InputError, as_input_error, refuse, short_repr

Method = TypeVar("Method", bound=Callable[..., Any])
#: A recording: a file, a part or channel of it, a file object in binary mode or the bytes of a file, floating-point
#: samples (N,) or (channels, N) in [−1, 1] on any device, an iterator of blocks of such samples, raw bytes without a
#: header, or a dictionary of one of these and its rate.
Audio: TypeAlias = (
    "AnyRecording | os.PathLike[str] | BinaryIO | bytes | np.ndarray | Tensor | Iterator[np.ndarray] | RawAudio"
    " | Mapping[str, Any]"
)
# Keys of the recording and its rate in dictionaries of datasets, transformers and pyannote.audio; the first that has a
# value counts.
_AUDIO_KEYS = ("array", "raw", "waveform", "audio", "bytes", "path")
_RATE_KEYS = ("sampling_rate", "sample_rate")
_OTHER_RATES = {"sr", "fs", "samplerate", "sampling_rate"}  # names of `sample_rate` in other libraries
_MAX_CHANNELS = 2  # an array of more rows is refused, because it may be a batch of waveforms
_BLOCK_SAMPLES = 1 << 20  # length of the blocks into which an array is cut


def hinting_at_rate(method: Method) -> Method:
    """Let ``method`` raise an :class:`InputError` that names ``sample_rate`` for other libraries' names of it."""

    @wraps(method)
    def checked(*args: Any, **options: Any) -> Any:
        for name in _OTHER_RATES.intersection(options):
            raise InputError(f"the rate in Hz is called `sample_rate`, not '{name}'")
        return method(*args, **options)

    return checked  # type: ignore[return-value]


def recording_of(
    audio: Audio, sample_rate: float | None = None, channels: Channels | None = None
) -> AnyRecording | NDArray:
    """Return ``audio`` as a file to be read later, or as 16 kHz mono float32 samples (N,).

    Args:
        audio: the recording; a file object is read from its current position.
        sample_rate: in Hz, needed for samples and blocks; files, raw bytes and dictionaries state
            their own rate.
        channels: if given, compares the channels before they are averaged; not used for a file.

    Raises:
        InputError: if samples have no ``sample_rate``; if there are no samples; if samples are
            integers, far outside [−1, 1], NaN or infinite; if the shape is (samples, channels) or
            the shape of a batch; or if a file object is not open in binary mode or is at its end.
    """
    audio, sample_rate = _unpack(audio, sample_rate)
    file = _file_of(audio)
    if file is not None:
        return file
    return join_blocks(blocks_of(audio, sample_rate, channels))


def blocks_of(audio: Audio, sample_rate: float | None = None, channels: Channels | None = None) -> Iterator[NDArray]:
    """Yield the samples of a recording, at 16 kHz mono, in blocks (N,) as they arrive.

    Args:
        audio, sample_rate: as for :func:`recording_of`.
        channels: if given, compares the channels before they are averaged.

    Raises:
        InputError: as :func:`recording_of` and :func:`nes2net.data.audio.read.stream_audio`.
    """
    audio, sample_rate = _unpack(audio, sample_rate)
    file = _file_of(audio)
    if file is not None:
        return stream_audio(file, channels)
    return push_all(_blocks_and_rate(audio, sample_rate), BlocksAt16k("the recording", channels))


def _unpack(audio: Any, sample_rate: float | None) -> tuple[Any, float | None]:
    """Take the recording and its rate out of a dictionary; other recordings are returned unchanged."""
    if not isinstance(audio, Mapping):
        return audio, sample_rate
    recording, rate = (
        next((audio[key] for key in keys if audio.get(key) is not None), None) for keys in (_AUDIO_KEYS, _RATE_KEYS)
    )
    refuse(
        (
            recording is None,
            f"a dictionary with the keys {short_repr(list(audio))} is no recording: expected samples under 'array', 'raw' "
            "or 'waveform', and 'sampling_rate'",
        ),
        (
            rate and sample_rate not in (None, rate),
            f"the recording states {rate} Hz, not sample_rate={sample_rate}: remove `sample_rate`",
        ),
    )
    return _unpack(recording, rate or sample_rate)


def _file_of(audio: Any) -> AnyRecording | None:
    if isinstance(audio, AnyRecording):
        return audio
    if isinstance(audio, os.PathLike):
        return Path(audio)
    if isinstance(audio, bytes):
        audio = BytesIO(audio)
    if hasattr(audio, "read"):
        return _rest_of_file(audio)
    return None


def _rest_of_file(file: BinaryIO) -> RecordingBytes:
    name = getattr(file, "name", None)
    if not isinstance(name, str):  # the attribute ``name`` of a pipe is an integer
        name = "the file object"
    content = file.read()
    refuse(
        (
            not isinstance(content, bytes),
            f"{name} gives {type(content).__name__}, not bytes: open it in binary mode, 'rb'",
        ),
        (not content, f"{name} was read to its end, so no bytes are left: call seek(0) first"),
    )
    return RecordingBytes(name, content)


def _blocks_and_rate(audio: Any, sample_rate: float | None) -> Iterator[tuple[NDArray, float]]:
    """Yield (block, rate in Hz); a block is (N,) or (channels, N)."""
    if isinstance(audio, RawAudio):
        yield from audio.blocks()
        return
    if isinstance(audio, (list, tuple)):
        raise InputError(
            f"one recording is expected, not a {type(audio).__name__} of {len(audio)}: use score_files for several files, "
            "score_batch for several waveforms"
        )
    arrays = audio if isinstance(audio, Iterator) else [audio]
    for array in arrays:
        samples = samples_of(array)
        rate = parse_rate(sample_rate)
        for first in range(0, samples.shape[-1], _BLOCK_SAMPLES):
            yield samples[..., first : first + _BLOCK_SAMPLES], rate


def samples_of(array: Any) -> NDArray:
    """Copy an array or tensor of samples, (N,) or (channels, N), to float32.

    Raises:
        InputError: if ``array`` does not hold floating-point numbers, or if the shape is (samples,
            channels) or the shape of a batch.
    """
    remedy = "expected floating-point samples, (N,) or (channels, N)"  # lists of unequal length raise such an error
    with as_input_error("the samples are not an array", TypeError, ValueError, RuntimeError, remedy=remedy):
        if isinstance(array, Tensor):
            array = array.detach().cpu()
            if array.dtype in (torch.bfloat16, torch.float16):
                array = array.float()
            array = array.numpy()
        samples = np.asarray(array)
    if fault := _fault(samples):
        raise InputError(fault)
    return samples.astype(np.float32)


def _fault(samples: NDArray) -> str:
    """Say why ``samples`` are not those of one recording; empty if they are."""
    # Only floating-point samples are accepted, because only their scale is known.
    if samples.dtype.kind != "f":
        expected = "expected floating-point samples in [-1, 1]"
        if samples.dtype.kind in "iub":
            return (
                f"the samples are whole numbers ({samples.dtype}); {expected}: divide by full scale, 32768 for 16 bits"
            )
        return f"the samples are of type {samples.dtype}; {expected}"
    if samples.ndim not in (1, 2):
        return f"audio must have the shape (samples,) or (channels, samples), not {samples.shape}: give one recording"
    if samples.ndim == 1 or len(samples) <= _MAX_CHANNELS:
        return ""
    shape = f"samples of shape {samples.shape[0]:,} × {samples.shape[1]:,}"
    if samples.shape[0] > samples.shape[1] > 0:
        return f"{shape} have more channels than samples; expected (channels, samples): transpose the array"
    return (
        f"{shape} mean one recording of {samples.shape[0]:,} channels: use score_batch for several waveforms; if it is "
        "one recording, give the mean of its channels or one of them"
    )


def parse_rate(sample_rate: float | None) -> float:
    """Return the sampling rate in Hz as a float.

    Raises:
        InputError: if the rate is missing or not a number.
    """
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float, np.number)):
        raise InputError(f"the sample rate must be a number of Hz, such as sample_rate=16000, not {sample_rate!r}")
    return float(sample_rate)
