"""Whether a Matroska or WebM file (RFC 9559) is whole.

FFmpeg reads a file that was cut off as a shorter one, and goes on behind damaged elements, without
a word.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

_EBML, _SEGMENT, _CLUSTER, _INFO = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1549A966
# The other elements in a segment: lists of places, tracks, cues, attachments, chapters, tags.
_IN_SEGMENT = {0x114D9B74, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
# Those in a cluster: its time, silent tracks, position, size of the one before, blocks.
_IN_CLUSTER = {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF}
_ANYWHERE = {0xEC, 0xBF}  # void, CRC-32
_KNOWN = {_EBML, _SEGMENT, _CLUSTER, _INFO} | _IN_SEGMENT | _IN_CLUSTER | _ANYWHERE
# A block of silence takes 7 bytes or more.
_MANY_ELEMENTS, _ELEMENT_BYTES = 1 << 20, 7
_DURATION = b"\x44\x89"
_MOST_INFO = 1 << 16  # bytes


class _Element(NamedTuple):
    id: int
    body: int
    """Where its content begins."""
    size: int | None
    """Bytes of its content; None: unknown, as written to a pipe."""


def matroska_fault(file: BinaryIO) -> str | None:
    """The fault of a Matroska file, in words that follow its name; None if it is whole or another format.

    Its elements must follow each other to the end of the file, or of the segment if it states its
    size. A stream that does not may end behind any block.
    """
    size_of_file = end = file.seek(0, 2)
    position = number = 0
    while not number or position < end:
        if number > _MANY_ELEMENTS + size_of_file // _ELEMENT_BYTES:
            return f"has more than {number:,} elements in {size_of_file:,} bytes"
        element = _element(file, position)
        if element is None or element.id not in _KNOWN or (element.id != _EBML and not number):
            return f"is damaged: no element of Matroska begins at byte {position:,}" if number else None
        if element.size is not None and element.body + element.size > size_of_file:
            missing = element.body + element.size - size_of_file
            return f"is cut off: its element at byte {position:,} lacks {missing:,} bytes"
        if element.id == _SEGMENT:
            end = size_of_file if element.size is None else element.body + element.size
        entered = element.id in (_SEGMENT, _CLUSTER)
        position = element.body if entered else element.body + (element.size or 0)
        number += 1
    return None


def states_duration(file: BinaryIO) -> bool:
    """Whether a Matroska file states its duration, which a program that writes to a pipe leaves out."""
    size_of_file, position = file.seek(0, 2), 0
    for number in range(_MANY_ELEMENTS):
        element = _element(file, position) if position < size_of_file else None
        if element is None or element.id == _CLUSTER or (element.id != _EBML and not number):
            return False
        if element.id == _INFO:
            file.seek(element.body)
            return _DURATION in file.read(min(element.size or 0, _MOST_INFO))
        position = element.body if element.id == _SEGMENT else element.body + (element.size or 0)
    return False


def _element(file: BinaryIO, position: int) -> _Element | None:
    """The element at ``position`` (RFC 8794, Sec. 5 and 6); None if there can be none."""
    file.seek(position)
    head = file.read(12)
    id_bytes = 9 - head[0].bit_length() if head else 9
    if id_bytes > 4 or len(head) <= id_bytes:
        return None
    size_bytes = 9 - head[id_bytes].bit_length()
    if size_bytes > 8 or len(head) < id_bytes + size_bytes:
        return None
    most = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & most
    body = position + id_bytes + size_bytes
    return _Element(int.from_bytes(head[:id_bytes], "big"), body, None if size == most else size)
