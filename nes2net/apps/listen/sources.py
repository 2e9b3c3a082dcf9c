"""Open a source of live audio: raw samples, a recording in real time, or the microphone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nes2net.apps.listen.listening import AudioBlock
from nes2net.apps.listen.settings import Keep
from nes2net.data.audio.parts import choose
from nes2net.data.audio.pcm import Encoding, RawAudio
from nes2net.data.audio.read import stream_audio
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, as_input_error
from nes2net.lib.process.installation import optional

#: The source name that stands for the standard input.
STANDARD_INPUT = "-"
_MICROPHONE = "microphone"
_BLOCK = 0.1  # seconds of audio in a block from a recording or the microphone


class LiveSource(NamedTuple):
    """An opened source of audio."""

    blocks: Iterator[AudioBlock]
    rate: float
    """Sample rate in Hz."""
    encoding: str
    """``"recording"`` for a recording."""
    names: list[str]
    """A single name for the mean of all channels."""
    is_live: bool
    """Whether the audio arrives as it is spoken."""
    keep: Keep
    """The default if computing is too slow."""


def channel_names(names: list[str] | None, num_channels: int, setting: str = "split") -> list[str]:
    """Return the names of the channels to judge; without names, ``mix``, their mean.

    Raises:
        InputError: if there is not one distinct name for each channel, or if more than two channels
            would be averaged.

    >>> channel_names(["agent", "caller"], 2), channel_names(None, 2)
    (['agent', 'caller'], ['mix'])
    """
    if names is None:
        if num_channels > 2:
            raise InputError(
                f"only one or two channels are averaged, not {num_channels}, which may be of several speakers: name each "
                f"channel with `{setting}`"
            )
        return ["mix"]
    if len(names) != num_channels or len(set(names)) < len(names) or "" in names:
        raise InputError(
            f"`{setting}` must have a different name for each of {num_channels} channels, not {','.join(names)!r}"
        )
    return names


def open_source(
    source: str, encoding: Encoding | None, rate: float | None, channels: int, split: str | None, speed: float
) -> LiveSource:
    """Open a source: ``-``, a named pipe, a file of raw samples, a recording, or ``microphone[:DEVICE]``.

    With a rate or an encoding, a file has raw samples, otherwise it is a recording. Further arguments
    are those of :class:`nes2net.apps.listen.command.AudioInput`.

    Raises:
        InputError: if the source does not exist, if an argument does not fit the source, or if raw
            samples have no rate.
        MissingLibrary: if the microphone needs a library.
    """
    names = None if split is None else split.split(",")
    # Open the microphone if ``source`` names the microphone and no file has this name.
    kind, _, device = source.partition(":")
    if kind == _MICROPHONE and not os.path.exists(source):
        rate = rate or SAMPLE_RATE
        blocks = _microphone(device, rate, channels)
        return LiveSource(blocks, rate, "f32le", channel_names(names, channels), is_live=True, keep="latest")
    if source != STANDARD_INPUT and not os.path.exists(source):
        raise InputError(f"{source} does not exist: name a recording, a named pipe, - or microphone")
    is_pipe = source == STANDARD_INPUT or Path(source).is_fifo()
    if is_pipe or rate is not None or encoding is not None:
        if rate is None:
            raise InputError(
                f"{source} is read as raw samples, which do not state their rate: add `rate`, such as 16000, or 8000 for telephony"
            )
        raw = RawAudio(_arriving_bytes(source), rate, encoding or "s16le", channels)
        blocks = (AudioBlock(samples) for samples, _ in raw.blocks())
        return LiveSource(blocks, rate, raw.encoding, channel_names(names, channels), is_live=is_pipe, keep="all")
    if channels != 1:
        raise InputError(
            f"{source} is a recording, which states its channels: remove `channels`; `split` judges each by itself"
        )
    num_channels = 1 if names is None else len(names)
    blocks = _at_speed(_recording_blocks(source, num_channels), speed)
    names = channel_names(names, num_channels)
    return LiveSource(blocks, SAMPLE_RATE, "recording", names, is_live=speed == 1, keep="all")


def _arriving_bytes(source: str) -> Iterator[bytes]:
    """Open without a buffer: a thread waiting for standard input would lock it, even at exit."""
    with as_input_error(f"{source} cannot be read", OSError):
        with open(
            0 if source == STANDARD_INPUT else source, "rb", buffering=0, closefd=source != STANDARD_INPUT
        ) as file:
            while content := file.read(1 << 16):
                yield content


def _recording_blocks(path: str, num_channels: int) -> Iterator[np.ndarray]:
    """Yield (channels, N) at 16 kHz; a single channel is the mean of all."""
    channels = [None] if num_channels == 1 else range(num_channels)
    for blocks in zip(*(stream_audio(choose(path, channel)) for channel in channels), strict=True):
        yield np.stack(blocks)


def _at_speed(blocks: Iterator[np.ndarray], speed: float) -> Iterator[AudioBlock]:
    """Yield (channels, N) at 16 kHz in tenths of a second; ``speed`` is 1 for real time."""
    step = round(_BLOCK * SAMPLE_RATE)
    began = time.monotonic()
    num_samples = 0
    for samples in blocks:
        for first in range(0, samples.shape[1], step):
            block = samples[:, first : first + step]
            num_samples += block.shape[1]
            time.sleep(max(0.0, began + num_samples / SAMPLE_RATE / speed - time.monotonic()))
            yield AudioBlock(block)


def _microphone(device: str, rate: float, num_channels: int) -> Iterator[AudioBlock]:
    """Open a microphone; lost samples leave a gap between blocks."""
    sounddevice = optional("sounddevice", "the microphone is read with sounddevice", "listen")
    name_or_number = int(device) if device.isdecimal() else device or None
    with as_input_error("the microphone cannot be used", sounddevice.PortAudioError, ValueError):
        stream = sounddevice.InputStream(rate, device=name_or_number, channels=num_channels, dtype="float32")
    return _microphone_blocks(stream, round(_BLOCK * rate))


def _microphone_blocks(stream: Any, step: int) -> Iterator[AudioBlock]:
    with closing(stream):
        stream.start()
        began = time.monotonic()
        while True:
            samples, has_lost = stream.read(step)
            # If samples were lost before this block, take the time of its first sample from the clock.
            lost_until = time.monotonic() - began - len(samples) / stream.samplerate
            yield AudioBlock(samples.T, lost_until if has_lost else None)
