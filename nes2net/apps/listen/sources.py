"""Sources of live audio: pipes of raw samples, a recording in real time, the microphone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from nes2net.apps.listen.listening import Block, Keep
from nes2net.data.audio.packed import ChannelOf
from nes2net.data.audio.pcm import Encoding, RawAudio
from nes2net.data.audio.read import stream_audio
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, MissingLibrary
from nes2net.lib.installation import how_to_install

#: The source that is the standard input.
STANDARD_INPUT = "-"
_MICROPHONE = "microphone"
_BLOCK = 0.1  # seconds of a recording, or of the microphone, that arrive at once


class Source(NamedTuple):
    """Where audio comes from."""

    blocks: Iterator[Block]
    rate: float
    """In Hz."""
    encoding: str
    names: list[str]
    """Of the channels; of a single one that is the mean of all, also one."""
    is_live: bool
    """Whether the audio arrives as it is spoken."""
    keep: Keep
    """What suits the source."""


def channel_names(names: list[str] | None, num_channels: int) -> list[str]:
    """Check the names of the channels that are judged each by itself; None for their mean.

    Raises:
        InputError: if the names are not one for each channel, or there are more than two to average.

    >>> channel_names(["agent", "caller"], 2), channel_names(None, 2)
    (['agent', 'caller'], ['mix'])
    """
    if names is None:
        if num_channels > 2:
            raise InputError(f"{num_channels} channels are those of several speakers: name each, with `split`")
        return ["mix"]
    if len(names) != num_channels or len(set(names)) < len(names) or "" in names:
        raise InputError(f"`split` names each of {num_channels} channels once, such as A,B, not '{','.join(names)}'")
    return names


def opened(
    source: str, encoding: Encoding | None, rate: float | None, channels: int, split: str | None, speed: float
) -> Source:
    """Open a source: ``-``, a named pipe, a file of raw samples, a recording, or ``microphone[:DEVICE]``.

    A file is a recording unless a rate or an encoding is given.

    Args:
        encoding, rate, channels: of raw samples, and of the microphone; None for what is usual.
        split: the names of the channels, with commas between.
        speed: of a recording; 1 for real time, infinite for no waiting.

    Raises:
        InputError: if the source cannot be opened so, or lacks its rate.
        MissingLibrary: if the microphone needs a library.
    """
    if not speed > 0:
        raise InputError(f"`speed` is a number above 0, not {speed}")
    names = None if split is None else split.split(",")
    kind, _, device = source.partition(":")
    if kind == _MICROPHONE and not os.path.exists(source):
        rate = rate or SAMPLE_RATE
        blocks = _microphone(device, rate, channels)
        return Source(blocks, rate, "f32le", channel_names(names, channels), True, "latest")
    if source != STANDARD_INPUT and not os.path.exists(source):
        raise InputError(f"{source} does not exist: name a recording, a named pipe, - or microphone")
    is_pipe = source == STANDARD_INPUT or _is_pipe(source)
    if is_pipe or rate is not None or encoding is not None:
        if rate is None:
            raise InputError("raw samples do not state their rate: name it with `rate`, such as 16000, or 8000")
        raw = RawAudio(_pieces(source), rate, encoding or "s16le", channels)
        blocks = (Block(samples) for samples, _ in raw.blocks())
        return Source(blocks, rate, raw.encoding, channel_names(names, channels), is_pipe, "all")
    if channels != 1:
        raise InputError("a recording states its channels: leave out `channels`; `split` judges each by itself")
    num_channels = 1 if names is None else len(names)
    blocks = _paced(_recording(source, num_channels), speed)
    return Source(blocks, SAMPLE_RATE, "recording", channel_names(names, num_channels), speed == 1, "all")


def _is_pipe(source: str) -> bool:
    """Whether a file is a named pipe."""
    try:
        return stat.S_ISFIFO(os.stat(source).st_mode)
    except (OSError, ValueError):
        return False


def _pieces(source: str) -> Iterator[bytes]:
    """The bytes of a file, as soon as they arrive.

    Without a buffer, which a thread that still waits for the standard input would keep locked at the
    end of the process.
    """
    try:
        with open(
            0 if source == STANDARD_INPUT else source, "rb", buffering=0, closefd=source != STANDARD_INPUT
        ) as file:
            while content := file.read(1 << 16):
                yield content
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror})") from None


def _recording(path: str, num_channels: int) -> Iterator[np.ndarray]:
    """Blocks (channels, N) of a recording at 16 kHz; (1, N) for the mean of all."""
    if num_channels == 1:
        for block in stream_audio(path):
            yield block[None]
        return
    for blocks in zip(*(stream_audio(ChannelOf(path, number)) for number in range(num_channels)), strict=True):
        yield np.stack(blocks)


def _paced(blocks: Iterator[np.ndarray], speed: float) -> Iterator[Block]:
    """Give 16 kHz audio (channels, N) when it would have been spoken, in blocks of a tenth of a second."""
    step = round(_BLOCK * SAMPLE_RATE)
    began = time.monotonic()
    num_samples = 0
    for samples in blocks:
        for first in range(0, samples.shape[1], step):
            block = samples[:, first : first + step]
            num_samples += block.shape[1]
            time.sleep(max(0.0, began + num_samples / SAMPLE_RATE / speed - time.monotonic()))
            yield Block(block)


def _microphone(device: str, rate: float, num_channels: int) -> Iterator[Block]:
    """What a microphone hears, without end; samples that were lost leave a hole.

    Args:
        device: number or name; empty for the usual one.

    Raises:
        MissingLibrary: if sounddevice, or its library PortAudio, is not installed.
        InputError: if the microphone cannot be used.
    """
    try:
        import sounddevice  # optional
    except (ImportError, OSError) as error:
        raise MissingLibrary(
            f"the microphone is read with sounddevice ({error}): {how_to_install('listen')}"
        ) from error
    chosen: Any = int(device) if device.isdecimal() else device or None
    try:
        stream = sounddevice.InputStream(rate, device=chosen, channels=num_channels, dtype="float32")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(f"the microphone cannot be used: {error}") from error
    return _heard(stream, round(_BLOCK * rate))


def _heard(stream: Any, step: int) -> Iterator[Block]:
    """Blocks of ``step`` samples of a microphone."""
    with closing(stream):
        stream.start()
        began = time.monotonic()
        while True:
            samples, has_lost = stream.read(step)
            # The clock says how much was lost.
            at = time.monotonic() - began - len(samples) / stream.samplerate if has_lost else None
            yield Block(samples.T, at)
