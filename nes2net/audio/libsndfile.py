"""Decoding by libsndfile (soundfile), the first decoder: what it reads, held against what the file says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nes2net.audio.integrity import DamagedAudio, FlacDigest, FlacHeader, lacks_length, states_mp3_length
from nes2net.errors import InputError

if TYPE_CHECKING:
    import soundfile

#: Its own are RuntimeErrors; the last two come of a damaged header that announces more samples than there is memory.
LIBSNDFILE_ERRORS = (RuntimeError, OSError, ValueError, MemoryError)

# Samples that the length in an MP3 header may be too long by: encoders count their own delay in different ways.
_MP3_FRAMES = 2 * 1152


def libsndfile_blocks(path: Path, header: FlacHeader | None, length: int) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks of ``length`` samples (−1: one of all). What was read is checked in the end; :class:`DamagedAudio` says what is wrong."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        check_length(file, path)
        if not file.seekable():  # G.721 and its like, of which soundfile gives only so many samples
            length = 1 << 18 if length < 0 else length
        md5 = FlacDigest(header.bits) if header and header.has_md5 else None
        count = 0
        while True:
            samples = file.read(length, dtype="float32", always_2d=True)
            count += len(samples)
            if md5:
                md5.update(samples)
            if len(samples) or not count:
                yield samples.T, file.samplerate
            if length < 0 or len(samples) < length:
                break
        if file.format in ("MP3", "MPEG"):
            if count < file.frames - _MP3_FRAMES:  # FFmpeg would read it, without a word
                raise InputError(
                    f"audio file {path} is cut off: its header announces {file.frames:,} samples, {count:,} are there"
                )
        elif count < file.frames:
            raise DamagedAudio(f"its header announces {file.frames:,} samples, {count:,} could be decoded")
        if md5 and md5.digest() != header.md5:
            raise DamagedAudio("the MD5 sum of its samples is not that of its header")


def check_length(file: soundfile.SoundFile, path: Path) -> None:
    """:class:`DamagedAudio` where the length that libsndfile believes, and stops at, is none that the file states."""
    with open(path, "rb") as raw:
        if file.format in ("MP3", "MPEG") and not states_mp3_length(raw):
            raise DamagedAudio(
                "libsndfile guesses the length of MP3 files that do not state that of all they hold, and stops there"
            )
        if file.format in ("WAV", "WAVEX") and not file.frames and lacks_length(raw):
            raise DamagedAudio("its header says that there are no samples, which was never filled in")
