"""Audio files."""

from __future__ import annotations

import functools
import os
import shutil
import struct
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from builders.hostile import Case
from builders.hostile.making import maker
from builders.recordings import encode, load_excerpt, measure_audio, noise
from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.read import MeasuredAudio, load_audio, stream_audio
from nes2net.lib.process.this_process import peak_bytes
from nes2net.scoring.waveforms import WaveformReader


@functools.cache
def _hours():
    """150 min of silence as FLAC: 576 MB of samples in less than 1 MB."""
    path = Path(tempfile.mkdtemp(prefix="hostile-audio-")) / "silence.flac"
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(15):
            file.write(np.zeros(16000 * 600, np.int16))
    return path


def _silence(folder):
    return Path(shutil.copy(_hours(), folder))


def _wav(
    folder,
    channels=1,
    rate=16000,
    samples=16000,
    announced=None,
    form="RIFF",
):
    """WAV of silence, 16 bits, as a file with a hole; its headers may announce other lengths in bytes."""
    path = folder / "silence.wav"
    frame = 2 * channels
    size = samples * frame
    stated = size if announced is None else announced
    small = min(stated, 0xFFFFFFFF) if form == "RIFF" else 0xFFFFFFFF
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, 16)
    if form != "RIFF":
        chunks = b"ds64" + struct.pack("<IQQQI", 28, stated + 80, stated, stated // frame, 0) + chunks
    header = form.encode() + struct.pack("<I", min(small + 36, 0xFFFFFFFF)) + b"WAVE" + chunks
    path.write_bytes(header + b"data" + struct.pack("<I", small))
    os.truncate(path, path.stat().st_size + size)
    return path


@maker
def _patched(folder, file_format, offset, value):
    """A file of libsndfile with some bytes of its header replaced."""
    path = folder / f"noise.{file_format.lower()}"
    soundfile.write(path, noise(4000), 16000, format=file_format)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    return path


def _frames_of_mp4(folder, size=0):
    """MP4 that announces 30 million frames in a fragment; a hole behind its content fills it up to ``size`` bytes."""
    path = folder / "noise.m4a"
    encode(path, noise(16000), "aac", format="mp4", options={"movflags": "frag_keyframe+empty_moov"})
    content = bytearray(path.read_bytes())
    fragment = content.index(b"trun")
    content[fragment + 5 : fragment + 12] = bytes(3) + struct.pack(">I", 30 * 10**6)
    path.write_bytes(content)
    os.truncate(path, max(size, len(content)))
    return path


def _little(attempt):
    """``attempt``, which must take less than 500 MB of memory."""

    def measured(path):
        before = peak_bytes()
        try:
            result = attempt(path)
        finally:
            megabytes = (peak_bytes() - before) / 2**20
            assert megabytes < 500, f"{megabytes:.0f} MB were used"
        return result if isinstance(result, (int, float, MeasuredAudio)) else None

    return measured


_READERS = {
    "score": lambda path: WaveformReader(64600).read(path).num_samples,
    "excerpt": lambda path: load_excerpt(path, 20000, 64600),
    "cache": lambda path: AudioCache(path.parent / "cache").load(path, 64600),
    "stream": lambda path: sum(map(len, stream_audio(path))),
    "data check": measure_audio,
    "load": load_audio,
}


_HUGE = 1 << 60
_TOO_MUCH = b"\x7f\xff\0\0"
# What makes a file, what is said of it, and how it is read.
_FILES = {
    "150 min of FLAC": (_silence, None, ("score", "excerpt", "cache", "stream", "data check")),
    "FLAC that announces 2^36 samples": (_patched("FLAC", 21, b"\xff" * 5), "68,719,476,735 samples", tuple(_READERS)),
    "WAV of 1,000 channels": (partial(_wav, channels=1000, samples=80000), None, ("score", "excerpt", "load")),
    "WAV of 0 channels": (partial(_wav, channels=0), "silence", ("score",)),
    "WAV of 999 Hz": (partial(_wav, rate=999, samples=10**6), "to 1,000,000 Hz", ("score",)),
    "WAV of 1,000,001 Hz": (partial(_wav, rate=1_000_001, samples=10**6), "to 1,000,000 Hz", ("score",)),
    "WAV that announces 2 GB": (partial(_wav, announced=0x7FFFEF00), "cut off", ("score", "stream")),
    "BW64 that announces 2^60 bytes": (partial(_wav, announced=_HUGE, form="BW64"), "cut off", ("score", "stream")),
    "AU that announces too much": (_patched("AU", 8, _TOO_MUCH), "cut off", ("score",)),
    "AIFF that announces too much": (_patched("AIFF", 42, _TOO_MUCH), "cut off", ("score",)),
    "W64 that announces too much": (_patched("W64", 16, _HUGE.to_bytes(8, "little")), "cut off", ("score",)),
    "CAF that announces too much": (_patched("CAF", 56, b"\x0f" + bytes(7)), "cut off", ("score",)),
    "MP4 of many frames": (_frames_of_mp4, "announces 30,000,000 frames in .* at most", ("load",)),
    "MP4 with a hole": (partial(_frames_of_mp4, size=30_001_000), "at most 10,000,000 are accepted", ("load",)),
    "FLAC of 0 Hz": (_patched("FLAC", 18, bytes(3)), "its header says 0 Hz", ("load",)),
}

CASES = [
    Case(f"{name}, {reading}", make, _little(_READERS[reading]), says)
    for name, (make, says, readings) in _FILES.items()
    for reading in readings
]
