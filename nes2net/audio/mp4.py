"""The number of frames that an MP4 file (ISO 14496-12) announces: FFmpeg lists them all before it reads one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_ENTERED = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}
_FIRST = {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx"}
_COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}  # box → where it counts frames
_MOST_BOXES = 1 << 20


def mp4_fault(file: BinaryIO) -> str | None:
    """The fault of an MP4 file, in words that follow its name; None if there is none or it is another format.

    A few bytes can announce a thousand million frames. Each has a byte or more.
    """
    size = file.seek(0, 2)
    frames = 0
    for name, place in _boxes(file, size):
        if name in _COUNTS:
            file.seek(place + _COUNTS[name])
            frames += int.from_bytes(file.read(4), "big")
            if frames > size:
                return f"is damaged: it announces {frames:,} frames in {size:,} bytes"
    return None


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Name and place of the content of each box, also of those inside others."""
    position = 0
    for number in range(_MOST_BOXES):
        if position >= size:
            return
        file.seek(position)
        head = file.read(16)
        length, name, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        if len(head) < 8 or length < header or (number == 0 and name not in _FIRST):
            return
        yield name, position + header
        position += header if name in _ENTERED else length
