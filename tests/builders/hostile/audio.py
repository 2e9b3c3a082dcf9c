"""Audio files."""

from __future__ import annotations

import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from builders.hostile import Case
from nes2net.audio.cache import AudioCache
from nes2net.audio.read import count_samples, load_audio, load_excerpt, load_head, measure_audio, stream_audio
from nes2net.scoring.waveforms import WaveformReader

_DAY = 24 * 3600
_BLOCK = 65535  # samples in a frame of FLAC


def _crc(data: bytes, polynomial: int, width: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (width - 1) else 0)) & (1 << width) - 1
    return value


def _coded(number: int) -> bytes:
    """The number of a frame, coded like a character in UTF-8 (RFC 9639, Sec. 9.1.5)."""
    if number < 0x80:
        return bytes([number])
    tail = []
    limit = 0x40
    while number >= limit:
        tail.insert(0, 0x80 | number & 0x3F)
        number >>= 6
        limit >>= 1
    return bytes([0xFF & ~(2 * limit - 1) | number, *tail])


def _silence(folder: Path, seconds: int = _DAY, channels: int = 1, announced: int | None = None) -> Path:
    """FLAC of silence at 16 kHz: frames of one value in each channel, 15 bytes and more for 4 s."""
    path = folder / "silence.flac"
    frames = -(-seconds * 16000 // _BLOCK)
    length = frames * _BLOCK
    info = struct.pack(">HH", _BLOCK, _BLOCK) + bytes(6)
    info += (16000 << 44 | channels - 1 << 41 | 15 << 36 | (length if announced is None else announced)).to_bytes(8, "big")
    with open(path, "wb") as file:
        file.write(b"fLaC\x80" + len(info + bytes(16)).to_bytes(3, "big") + info + bytes(16))
        for number in range(frames):
            head = bytes([0xFF, 0xF8, 0x75, channels - 1 << 4 | 8]) + _coded(number) + struct.pack(">H", _BLOCK - 1)
            frame = head + bytes([_crc(head, 0x07, 8)]) + bytes(3 * channels)
            file.write(frame + _crc(frame, 0x8005, 16).to_bytes(2, "big"))
    return path
