"""Decoding by FFmpeg (PyAV), the second decoder: what libsndfile does not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nes2net.audio.integrity import DamagedAudio, FlacHeader


def ffmpeg_blocks(path: Path, header: FlacHeader | None, strict: bool = True) -> Iterator[tuple[np.ndarray, int]]:
    """The audio of ``path`` frame after frame: float32 (channels, N) and the rate in Hz.

    Args:
        header: of a FLAC file, whose length is then held against what was decoded.
        strict: a FLAC frame whose checksum is wrong is an error, whatever container it is in.

    Raises:
        DamagedAudio: a frame is damaged, or the file holds less than its header announces.
        ValueError: there is no audio in it.
        av.FFmpegError: FFmpeg does not read it.
    """
    import av

    count, complete = 0, False
    begin = end = None  # seconds, of the first frame and behind the last one
    # A file and no path, and no protocols: a playlist that is called .flac would otherwise have FFmpeg open what it names.
    with open(path, "rb") as file, av.open(file, options={"protocol_whitelist": ""}) as container:
        if not container.streams.audio:
            raise ValueError("no audio stream")
        stream = container.streams.audio[0]
        if strict and stream.codec_context.name == "flac":
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        resampler = av.AudioResampler(format="fltp")
        announced = header.num_samples if header else 0
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise DamagedAudio("a frame is damaged")
                if frame.time is not None:
                    begin = frame.time if begin is None else begin
                    end = frame.time + frame.samples / frame.sample_rate
                for out in resampler.resample(frame):
                    count += out.samples
                    yield out.to_ndarray(), stream.rate
            for out in resampler.resample(None):
                count += out.samples
                yield out.to_ndarray(), stream.rate
            complete = True
        except (av.FFmpegError, DamagedAudio) as error:
            if announced and not complete:
                raise DamagedAudio(
                    f"its header announces {announced:,} samples, {count:,} could be decoded: {error}"
                ) from error
            raise
        if announced and count != announced:
            raise DamagedAudio(f"its header announces {announced:,} samples, {count:,} could be decoded")
        if "mp4" in container.format.name and stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
            # Time that the stream leaves out, as recorders do that lose packets, is in its duration and its time stamps alike.
            found = max(count / stream.rate, 0 if end is None else end - begin)
            if found < 0.998 * seconds - 0.1:
                raise DamagedAudio(f"its header announces {seconds:.2f} s, {found:.2f} s could be decoded")
        if not count:
            raise ValueError("no audio frames")
