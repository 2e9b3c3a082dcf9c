"""Audio files."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from builders.hostile import Case
from builders.recordings import encode
from nes2net.audio.cache import AudioCache
from nes2net.audio.read import (
    MeasuredAudio,
    count_samples,
    load_audio,
    load_excerpt,
    load_head,
    measure_audio,
    stated_length,
    stream_audio,
)
from nes2net.machine.this_process import peak_bytes
from nes2net.scoring.waveforms import WaveformReader

_DAY = 24 * 3600
_BLOCK = 65535  # samples in a frame of FLAC


def _crc_table(polynomial: int, width: int) -> list[int]:
    table = []
    for value in range(256):
        value <<= width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (width - 1) else 0)) & (1 << width) - 1
        table.append(value)
    return table


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


def _crc(data: bytes, table: list[int], width: int) -> int:
    value = 0
    for byte in data:
        value = value << 8 & (1 << width) - 1 ^ table[value >> (width - 8) ^ byte]
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
    stated = length if announced is None else announced
    info += (16000 << 44 | channels - 1 << 41 | 15 << 36 | stated).to_bytes(8, "big")
    with open(path, "wb") as file:
        file.write(b"fLaC\x80" + len(info + bytes(16)).to_bytes(3, "big") + info + bytes(16))
        for number in range(frames):
            head = bytes([0xFF, 0xF8, 0x75, channels - 1 << 4 | 8]) + _coded(number) + struct.pack(">H", _BLOCK - 1)
            frame = head + bytes([_crc(head, _CRC8, 8)]) + bytes(3 * channels)
            file.write(frame + _crc(frame, _CRC16, 16).to_bytes(2, "big"))
    return path


def _wav(
    folder: Path,
    channels: int = 1,
    rate: int = 16000,
    samples: int = 16000,
    announced: int | None = None,
    form: str = "RIFF",
) -> Path:
    """WAV of silence, 16 bits, as a file with a hole; its headers may announce other lengths in bytes."""
    path, frame = folder / "silence.wav", 2 * channels
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


def _patched(folder: Path, file_format: str, at: int, value: bytes, samples: int = 4000) -> Path:
    """A file of libsndfile with some bytes of its header replaced."""
    path = folder / f"noise.{file_format.lower()}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(samples), 16000, format=file_format)
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def _encoded(folder: Path, kind: str, cut: float) -> Path:
    """Two and a half seconds of noise by FFmpeg, of which the part ``cut`` is left."""
    codec, container, sample_format, options = _KINDS[kind]
    path = folder / f"noise.{kind}"
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    encode(path, noise, codec, sample_format, format=container, options=options)
    content = path.read_bytes()
    path.write_bytes(content[: round(cut * len(content))])
    return path


_KINDS = {
    "webm": ("libopus", "webm", "flt", {}),
    "live.webm": ("libopus", "webm", "flt", {"live": "1"}),
    "mka": ("aac", "matroska", "fltp", {}),
    "pcm.mka": ("pcm_s16le", "matroska", "s16", {}),
    "avi": ("pcm_s16le", "avi", "s16", {}),
    "mp3.avi": ("libmp3lame", "avi", "fltp", {}),
    "flv": ("aac", "flv", "fltp", {}),
    "aac": ("aac", "adts", "fltp", {}),
    "mp3": ("libmp3lame", "mp3", "fltp", {"write_xing": "0"}),
    "m4a": ("aac", "mp4", "fltp", {}),
    "wv": ("wavpack", "wv", "s16p", {}),
    "tta": ("tta", "tta", "s16", {}),
}


def _frames_of_mp4(folder: Path, count: int, fragmented: bool, size: int = 0) -> Path:
    """MP4 that announces many frames of a byte each, or in a fragment of no bytes at all.

    A hole behind its content fills it up to ``size`` bytes.
    """
    path = folder / "noise.m4a"
    options = {"movflags": "frag_keyframe+empty_moov"} if fragmented else {}
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    encode(path, noise, "aac", format="mp4", options=options)
    content = bytearray(path.read_bytes())
    if fragmented:
        at = content.index(b"trun")
        content[at + 5 : at + 12] = bytes(3) + struct.pack(">I", count)
    else:
        at = content.index(b"stsz")
        content[at + 8 : at + 16] = struct.pack(">II", 1, count)
        at = content.index(b"stsc")
        content[at + 16 : at + 20] = struct.pack(">I", count)
        at = content.index(b"stts")
        content[at + 12 : at + 16] = struct.pack(">I", count)
    path.write_bytes(content)
    os.truncate(path, max(size, len(content)))
    return path


def _blocks_of_mov(folder: Path) -> Path:
    """MOV of PCM whose forty chunks announce 2^31 samples each: FFmpeg lists blocks of them."""
    path = folder / "noise.mov"
    encode(path, np.zeros(16000, np.float32), "pcm_s16le", "s16")
    content = bytearray(path.read_bytes())
    at = content.index(b"stsc")
    content[at + 16 : at + 20] = b"\x7f\xff\xff\xff"
    at, chunks = content.index(b"stco"), 40
    content[at - 4 : at + 12] = struct.pack(">I4sII", 16 + 4 * chunks, b"stco", 0, chunks)
    content[at + 12 : at + 12] = content[at + 12 : at + 16] * (chunks - 1)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = content.index(name) - 4
        content[place : place + 4] = struct.pack(">I", struct.unpack_from(">I", content, place)[0] + 4 * chunks - 4)
    path.write_bytes(content)
    return path


def _old(folder: Path, file_format: str) -> Path:
    path = folder / f"noise.{file_format.lower()}"
    subtype = soundfile.default_subtype(file_format) if soundfile.check_format(file_format) else "ALAW"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(4000), 16000, subtype, format=file_format)
    return path


def _little(attempt: Callable[[Path], object]) -> Callable[[Path], object]:
    """``attempt``, which must take less than 500 MB of memory."""

    def measured(path: Path) -> object:
        before = peak_bytes()
        try:
            result = attempt(path)
        finally:
            taken = (peak_bytes() - before) / 2**20
            assert taken < 500, f"{taken:.0f} MB were taken"
        return result if isinstance(result, (int, float, MeasuredAudio)) else None

    return measured


def _streamed(path: Path) -> int:
    return sum(map(len, stream_audio(path)))


def _cached(path: Path) -> None:
    AudioCache(path.parent / "cache").load(path, 64600)


def _head_and_length(path: Path) -> int:
    return WaveformReader(64600).read(path).num_samples


_READERS: dict[str, Callable[[Path], object]] = {
    "head": lambda path: load_head(path, 64600),
    "score": _head_and_length,
    "excerpt": lambda path: load_excerpt(path, 20000, 64600),
    "count": count_samples,
    "cache": _cached,
}
_WHOLE: dict[str, Callable[[Path], object]] = {"stream": _streamed, "data check": measure_audio, "load": load_audio}
_ALL = {**_READERS, **_WHOLE}
_EITHER = {name: _ALL[name] for name in ("score", "stream")}  # a part of the file, and all of it
_HUGE = 1 << 60

CASES: list[Case] = [
    *(Case(f"24 h of FLAC silence, {name}", _silence, _little(read), None) for name, read in _READERS.items()),
    *(
        Case(
            f"90 min of FLAC silence in 2 channels, {name}",
            partial(_silence, seconds=90 * 60, channels=2),
            _little(read),
            None,
        )
        for name, read in _WHOLE.items()
        if name != "load"
    ),
    *(
        Case(
            f"FLAC that announces 2^36 samples, {name}",
            partial(_silence, seconds=5, announced=(1 << 36) - 1),
            _little(read),
            says,
        )
        for name, read in _ALL.items()
        for says in ["announces 68,719,476,735 samples" if name not in ("head", "excerpt", "count", "cache") else None]
    ),
    *(
        Case(f"WAV of 1,000 channels, {name}", partial(_wav, channels=1000, samples=80000), _little(read), None)
        for name, read in _ALL.items()
    ),
    *(
        Case(
            f"WAV of {channels:,} channels, {name}",
            partial(_wav, channels=channels, samples=100),
            _little(read),
            "silence",
        )
        for channels in (0, 32767, 65535)
        for name, read in (_ALL if channels else _EITHER).items()
    ),
    *(
        Case(f"WAV of {rate:,} Hz, {name}", partial(_wav, rate=rate, samples=1_000_000), _little(read), "silence")
        for rate in (0, 999, 1_000_001, 4_000_000_000)
        for name, read in _EITHER.items()
    ),
    *(
        Case(
            f"{form} that announces {announced:,} bytes, {name}",
            partial(_wav, announced=announced, form=form),
            _little(read),
            "cut off",
        )
        for form, announced in (("RIFF", 0x7FFFEFFF), ("RF64", _HUGE), ("BW64", _HUGE), ("RF64", (1 << 62) - 2))
        for name, read in (_ALL if form == "RIFF" else _EITHER).items()
    ),
    *(
        Case(
            f"{file_format} that announces too much, {name}",
            partial(_patched, file_format=file_format, at=at, value=value),
            _little(read),
            "noise",
        )
        for file_format, at, value in (
            ("AU", 8, b"\x7f\xff\0\0"),
            ("AIFF", 42, b"\x7f\xff\0\0"),
            ("W64", 16, (_HUGE).to_bytes(8, "little")),
            ("CAF", 56, b"\x0f" + bytes(7)),
        )
        for name, read in _EITHER.items()
    ),
    *(
        Case(
            f"MP4 of {count:,} frames{' in a fragment' * fragmented}{' with a hole' * (size > 0)}",
            partial(_frames_of_mp4, count=count, fragmented=fragmented, size=size),
            _little(load_audio),
            r"announces [\d,]+ frames in [\d,]+ bytes; at most",
        )
        for count, size in ((25 * 10**6, 0), (2**32 - 1, 0), (30 * 10**6, 30_001_000))
        for fragmented in (False, True)
    ),
    Case("MOV of blocks of PCM", _blocks_of_mov, _little(load_audio), r"announces [\d,]+ blocks of PCM"),
    Case("FLAC of 0 Hz", partial(_patched, file_format="FLAC", at=18, value=bytes([0, 0, 0])), load_audio, "noise"),
    Case(
        "length of FLAC of 0 Hz",
        partial(_patched, file_format="FLAC", at=18, value=bytes([0, 0, 0])),
        stated_length,
        None,
    ),
    *(Case(f"{kind}, whole", partial(_encoded, kind=kind, cut=1), load_audio, None) for kind in _KINDS),
    *(
        Case(f"{kind}, cut at {cut:.0%}", partial(_encoded, kind=kind, cut=cut), load_audio, "cut off|damaged|neither")
        for kind in _KINDS
        for cut in (0.02, 0.35, 0.77, 0.985)
    ),
    *(
        Case(
            f"{file_format}, in which a cut is not seen",
            partial(_old, file_format=file_format),
            load_audio,
            "NES2NET_UNCHECKED_AUDIO=1",
        )
        for file_format in ("VOC", "IRCAM", "AVR", "SVX", "MAT4", "MAT5", "MPC2K", "PAF", "PVF", "SDS", "WVE", "XI")
    ),
]
