"""ASF (WMA) and FLV: FFmpeg reads a file that was cut off as a shorter one."""

from __future__ import annotations

from typing import BinaryIO

# ASF specification, Sec. 10
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1  # flag of a recording that was not finished
_MOST_HEADER = 1 << 20  # bytes


def missing_bytes(file: BinaryIO) -> int | None:
    """Bytes that an ASF or FLV file lacks at its end; None if it is whole or of another format."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(30)
    if start[:16] == _ASF_HEADER:
        expected = _asf_size(file, int.from_bytes(start[16:24], "little"))
    elif start[:4] == b"FLV\1":
        expected = _flv_size(file, int.from_bytes(start[5:9], "big"), size)
    else:
        return None
    return expected - size if expected > size else None


def _asf_size(file: BinaryIO, header_bytes: int) -> int:
    """The size that the file properties state; 0 if they do not."""
    header = file.read(min(header_bytes, _MOST_HEADER))
    place = header.find(_ASF_FILE_PROPERTIES)
    fields = header[place + 24 : place + 104]
    if place < 0 or len(fields) < 68 or fields[64] & _ASF_BROADCAST:
        return 0
    return int.from_bytes(fields[16:24], "little")


def _flv_size(file: BinaryIO, start: int, size: int) -> int:
    """Where the last tag ends; a tag states its own size."""
    position = start + 4
    while True:
        file.seek(position)
        head = file.read(11)
        if not any(head):  # the end, or the zeros of a file with a hole, which may be of any size
            return 0
        if len(head) < 11:
            return position + 11
        position += 11 + int.from_bytes(head[1:4], "big")
        if position >= size:
            return position
        position += 4  # the size once more
