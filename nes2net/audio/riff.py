"""The length that a WAV, AIFF or AVI file announces: decoders read less without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Literal, TypeAlias

_ByteOrder: TypeAlias = Literal["little", "big"]

#: First bytes of the file → byte order of its sizes.
RIFF_FORMATS: dict[bytes, _ByteOrder] = {
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64"), "little"),
    **dict.fromkeys((b"RIFX", b"FORM"), "big"),
}
# Programs that do not know how long a chunk will be write this size or more; with sizes of 64 bits,
# the second.
_UNKNOWN_SIZE, _UNKNOWN_LONG_SIZE = 0x7FFFF000, 1 << 62
_MOST_CHUNKS = 10_000  # a file of zeros would seem to have more
_FORMATS_OF_WHOLE_SAMPLES = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, μ-law, extensible


def missing_audio(file: BinaryIO) -> tuple[int, int, str] | None:
    """Announced and present length and their unit, if a WAV, RF64, BW64, AIFF or AVI file was cut off.

    None for a whole file, a file that does not know its length (written to a pipe), and other
    formats.
    """
    file.seek(0)
    start = file.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"AVI ":
        return _missing_video(file)
    order = RIFF_FORMATS.get(start[:4])
    if order is None or start[8:] not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    unit_bytes, unit, long_size = 1, "bytes", None
    size_of_file = file.seek(0, 2)
    for name, size, place in _chunks(file, order):
        body = file.read(min(size, 32))
        if name in (b"data", b"SSND"):
            present, limit = size_of_file - place, _UNKNOWN_SIZE
            # libsndfile and FFmpeg then read to the end
            if size == 0xFFFFFFFF and long_size is not None:
                size, limit = long_size, _UNKNOWN_LONG_SIZE
            # Some programs count the chunk's own header, the header of the file, or the whole file.
            if size >= limit or size in (present + 8, size_of_file - 8, size_of_file):
                return None
            announced, present = size // unit_bytes, max(0, present) // unit_bytes
            return (announced, present, unit) if announced > present else None
        if name == b"ds64" and len(body) >= 16:
            long_size = int.from_bytes(body[8:16], "little")
        if name == b"fmt " and len(body) >= 14 and int.from_bytes(body[:2], order) in _FORMATS_OF_WHOLE_SAMPLES:
            unit_bytes, unit = max(1, int.from_bytes(body[12:14], order)), "samples"
    return None


def _missing_video(file: BinaryIO) -> tuple[int, int, str] | None:
    """The same of an AVI file, which may consist of several RIFF chunks."""
    size_of_file, position = file.seek(0, 2), 0
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(8)
        size, present = int.from_bytes(head[4:], "little"), size_of_file - position - 8
        if head[:4] != b"RIFF" or not 0 < size < _UNKNOWN_SIZE:
            return None
        if size > present + 8:  # see above
            return size, present, "bytes"
        position += 8 + size + size % 2
    return None


def lacks_length(file: BinaryIO) -> bool:
    """Whether a WAV file holds samples but announces none, as after a recorder was killed."""
    for name, size, _ in _chunks(file, "little"):
        if name == b"data":
            head = file.read(8)
            # another chunk may follow an empty one
            return size == 0 and len(head) > 0 and not _is_chunk(head)
    return False


def _chunks(file: BinaryIO, order: _ByteOrder) -> Iterator[tuple[bytes, int, int]]:
    """Name, size and place of the body of each chunk, up to what cannot be a chunk."""
    position = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if not _is_chunk(head):
            return
        size = int.from_bytes(head[4:], order)
        yield head[:4], size, position + 8
        position += 8 + size + size % 2


def _is_chunk(head: bytes) -> bool:
    return len(head) == 8 and all(32 <= byte < 127 for byte in head[:4])
