"""Decoding by libsndfile (soundfile), the first decoder, which stops at the length it assumes."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import numpy as np
import soundfile

from nes2net.audio.flac import FlacHeader, exceeds_length
from nes2net.audio.integrity import DamagedAudio, check_format, cut_off
from nes2net.audio.mp3 import states_length
from nes2net.audio.packed import AnyRecording, RecordingBytes, open_recording
from nes2net.audio.riff import lacks_length

#: libsndfile's own are RuntimeErrors. The last two come from damaged headers with more samples than
#: there is memory for.
LIBSNDFILE_ERRORS = (RuntimeError, OSError, ValueError, MemoryError)
#: What ``SoundFile.format`` may say of an MP3 file.
MP3 = ("MP3", "MPEG")

#: Samples of all channels together that are decoded at a time.
BLOCK_VALUES = 1 << 20
# Samples that the length in an MP3 header may be too long by: encoders count their own delay in
# different ways.
_MP3_FRAMES = 2 * 1152
# libsndfile's log alone says that a file of these formats was cut off.
# Programs that do not know the length write these sizes or more.
_LOGGING_CUTS = {"AU": 0x7FFFF000, "CAF": 1 << 62, "W64": 1 << 62}


class _InOrder(soundfile.SoundFile):
    """A file that is read from its beginning on, without going back.

    soundfile seeks after each block; MP3 would then be decoded to other bits than in one piece.
    """

    def seekable(self) -> bool:
        return False


def open_with_libsndfile(
    path: AnyRecording, kind: type[soundfile.SoundFile] = soundfile.SoundFile
) -> soundfile.SoundFile:
    """``kind(path)``, with one of :data:`LIBSNDFILE_ERRORS` if it cannot be opened."""
    in_memory = open_recording(path) if isinstance(path, RecordingBytes) else None
    try:
        return kind(in_memory or path)
    except TypeError as error:  # soundfile looks at the name only
        if Path(in_memory.name if in_memory else str(path)).suffix.lower() != ".raw":
            raise
        raise ValueError("a file whose name ends in .raw is taken for samples without a header") from error


def libsndfile_blocks(
    path: Path | RecordingBytes, header: FlacHeader | None
) -> Generator[tuple[np.ndarray, int], None, None]:
    """The samples in blocks (channels, N) float32, with their rate in Hz; at least one block.

    Args:
        header: that of a FLAC file.

    Raises:
        DamagedAudio: if the file holds other audio than announced; maybe only after the last block.
        InputError: if the file was cut off.
    """
    with open_with_libsndfile(path, _InOrder) as file:
        check_length(file, path, header)
        length = max(1, BLOCK_VALUES // file.channels)
        count = 0
        while True:
            samples = file.read(min(length, file.frames - count), dtype="float32", always_2d=True)
            count += len(samples)
            if len(samples) or not count:
                yield samples.T, file.samplerate
            if len(samples) < length:
                break
        if file.format in MP3:
            if count < file.frames - _MP3_FRAMES:  # FFmpeg would not notice
                raise cut_off(path, file.frames, count, "samples")
        elif count < file.frames:
            raise DamagedAudio(f"its header announces {file.frames:,} samples, {count:,} could be decoded")


def check_length(file: soundfile.SoundFile, path: Path | RecordingBytes, header: FlacHeader | None) -> None:
    """Compare the length at which libsndfile stops reading with what the file holds.

    Raises:
        DamagedAudio: if libsndfile would stop too early.
        InputError: if the file was cut off, or is of a format in which that cannot be noticed.
    """
    check_format(path, file.format)
    if file.format in _LOGGING_CUTS and (sizes := re.search(r": (\d+) \(should be (\d+)\)", file.extra_info)):
        announced, present = map(int, sizes.groups())
        if present < announced < _LOGGING_CUTS[file.format]:
            raise cut_off(path, announced, present, "bytes")
    if file.format == "NIST":
        raise DamagedAudio("libsndfile reads SPHERE files that were cut off as shorter ones")
    if header is None and file.format not in MP3 and file.frames:
        return
    with open_recording(path) as raw:
        if file.format in MP3 and not states_length(raw):
            raise DamagedAudio("libsndfile guesses the length of MP3 files that do not state it, and stops there")
        if file.format in ("WAV", "WAVEX") and not file.frames and lacks_length(raw):
            raise DamagedAudio("its header announces no samples, but was never filled in")
        if header is not None and exceeds_length(raw, header):
            raise DamagedAudio(f"it holds more than the {header.num_samples:,} samples that its header announces")
