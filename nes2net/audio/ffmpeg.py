"""Decoding by FFmpeg (PyAV), the second decoder, for the files that libsndfile does not read."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
from av.audio.plane import AudioPlane

from nes2net.audio.flac import parse_stream_info
from nes2net.audio.integrity import DamagedAudio, check_format
from nes2net.audio.libsndfile import BLOCK_VALUES
from nes2net.audio.matroska import states_duration
from nes2net.audio.mp3 import states_length
from nes2net.audio.packed import RecordingBytes, open_recording

# A FLAC frame whose checksum is wrong is an error instead of being left out. Other codecs find no
# more damage with it.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}

# Formats whose headers state how long the longest stream is, or each one.
_DURATION_OF_ALL = ("matroska,webm", "flv")
_DURATION_OF_STREAM = ("mov", "avi", "wv", "tta", "ape")
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}  # of samples


def ffmpeg_blocks(path: Path | RecordingBytes, *, strict: bool = True) -> Generator[tuple[np.ndarray, int], None, None]:
    """The samples in blocks (channels, N) float32, with their rate in Hz; a frame or more in each.

    Args:
        strict: stop at a FLAC frame whose checksum is wrong.

    Raises:
        DamagedAudio: if a frame is damaged or the file holds less than its header announces.
        ValueError: if there is no audio in the file.
        av.FFmpegError: if FFmpeg does not read the file.
    """
    count, kind, channels = 0, None, 0
    frames: list[np.ndarray] = []
    held = 0  # samples in ``frames``
    begin = end = latest = 0.0  # seconds: of the frames, and of what lies beside them
    with open_recording(path) as file:
        has_duration = states_duration(file) or states_length(file)
    # An open file and no protocols: otherwise FFmpeg would open the files that a playlist called
    # .flac names.
    with open_recording(path) as file, av.open(file, options={"protocol_whitelist": ""}) as container:
        if not container.streams.audio:
            raise ValueError("no audio stream")
        check_format(path, container.format.name)
        stream = container.streams.audio[0]
        seconds = _stated_seconds(container, stream, has_duration)
        if strict and stream.codec_context.name == "flac":
            stream.codec_context.options = _STRICT
        stream_info = stream.codec_context.extradata if stream.codec_context.name == "flac" else None
        announced = parse_stream_info(stream_info).num_samples if stream_info else 0
        if container.format.name == "nistsphere":
            announced = stream.duration or 0  # in samples
        try:
            for packet in container.demux(*(() if container.format.name in _DURATION_OF_ALL else (stream,))):
                if packet.stream.index != stream.index:
                    latest = max(latest, float((packet.pts or 0) * packet.time_base))
                    continue
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise DamagedAudio("a frame is damaged")
                    if frame.time is not None:
                        begin = begin if count else frame.time
                        end = frame.time + frame.samples / frame.sample_rate
                    if kind is None:
                        kind, channels = (frame.sample_rate, frame.layout.name), len(frame.layout.channels)
                    elif kind != (frame.sample_rate, frame.layout.name):
                        raise DamagedAudio("its rate or channels change")
                    count += frame.samples
                    frames.append(samples_of(frame, channels))
                    held += frame.samples
                    if held * channels >= BLOCK_VALUES:
                        yield np.concatenate(frames, axis=1), stream.rate
                        frames, held = [], 0
            if frames:
                yield np.concatenate(frames, axis=1), stream.rate
        except (av.FFmpegError, DamagedAudio) as error:
            if announced:
                raise _incomplete(announced, count, error) from error
            raise
        if announced and count != announced:
            raise _incomplete(announced, count)
        if container.format.name == "caf" and count < stream.frames:  # each has a sample or more
            raise _incomplete(stream.frames, count)
        # Recorders that lose packets leave out their time; it is in the duration and in the time
        # stamps alike.
        found = max(count / stream.rate, end - begin, latest)
        # Matroska counts the samples that the encoder put before the first one, which are left out.
        delay = 4096 / stream.rate if container.format.name in _DURATION_OF_ALL else 0.0
        if found < 0.998 * seconds - max(0.1, delay):
            raise DamagedAudio(f"cut off: its header announces {seconds:.2f} s, {found:.2f} s could be decoded")
        if not count:
            raise ValueError("no audio frames")


def _stated_seconds(container: av.container.InputContainer, stream: av.AudioStream, has_duration: bool) -> float:
    """The duration in the header; 0 if it states none, whatever FFmpeg makes of the bit rate.

    Args:
        has_duration: whether a Matroska or MP3 file states one.
    """
    name = container.format.name
    if name in _DURATION_OF_ALL:
        return (container.duration or 0) / av.time_base if has_duration or name == "flv" else 0.0
    if (
        (name.split(",")[0] in _DURATION_OF_STREAM or (name == "mp3" and has_duration))
        and stream.duration
        and stream.time_base
    ):
        return float(stream.duration * stream.time_base)
    return 0.0


def samples_of(frame: av.AudioFrame, channels: int) -> np.ndarray:
    """The samples of a frame, (channels, N) float32 in [−1, 1].

    PyAV's own conversions are not safe. ``AudioResampler`` has filters with threads: in a process
    forked later, such as a worker of a DataLoader, the garbage collector would wait for these
    threads for ever. ``frame.to_ndarray`` ends the process at 8 planes and more (PyAV 18) or raises
    an error (PyAV 19).
    """
    name, count = frame.format.name, frame.samples
    planar = name.endswith("p")
    dtype = np.dtype(_TYPES[name.removesuffix("p")])
    samples = np.empty((channels, count), np.float32)
    if planar:
        for i in range(channels):
            samples[i] = _plane(frame, i, dtype, count)
    else:
        samples[:] = _plane(frame, 0, dtype, count * channels).reshape(count, channels).T
    if dtype == np.uint8:
        samples -= 128
    if dtype.kind != "f":
        samples *= np.float32(2.0 ** (1 - 8 * dtype.itemsize))
    return samples


def _plane(frame: av.AudioFrame, index: int, dtype: np.dtype, count: int) -> np.ndarray:
    return np.frombuffer(AudioPlane(frame, index), dtype, count)  # type: ignore[call-overload]  # it is a buffer


def _incomplete(announced: int, count: int, reason: Exception | None = None) -> DamagedAudio:
    suffix = f": {reason}" if reason else ""
    return DamagedAudio(
        f"cut off or damaged: its header announces {announced:,} samples, {count:,} could be decoded{suffix}"
    )
