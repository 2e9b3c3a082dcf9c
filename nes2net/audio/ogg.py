"""Whether an Ogg file (RFC 3533) is whole: decoders leave out pages that are damaged, up to a second of audio each, without a word."""

from __future__ import annotations

import zlib
from typing import BinaryIO

_END_OF_STREAM = 4  # among the flags of a page
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_fault(file: BinaryIO) -> str | None:
    """What is wrong with the Ogg file, to follow its name; None for a whole one and any other format.

    Whole is one of which every page is. That its last page ends the stream is not asked for: recorders that are stopped leave it out.
    """
    position, ended = 0, False
    file.seek(0)
    while (head := file.read(27))[:4] == b"OggS":
        segments = file.read(head[26]) if len(head) == 27 else b""
        body = file.read(sum(segments))
        if len(head) < 27 or len(segments) < head[26] or len(body) < sum(segments):
            return f"is cut off within its page at byte {position:,}"
        page = head[:22] + bytes(4) + head[26:] + segments + body  # RFC 3533, Sec. 6: its own checksum counts as 0
        if _checksum(page) != int.from_bytes(head[22:26], "little"):
            return f"is damaged: the checksum of its page at byte {position:,} is wrong"
        ended = bool(head[5] & _END_OF_STREAM)
        position += len(page)
    if position and head and not ended:  # behind the end of the stream, tags may follow
        return f"is damaged: at byte {position:,}, where a page should begin, there is none"
    return None


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: zlib's, with the bits of every byte and of the result in reverse order, and nothing inverted."""
    reverse = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reverse:032b}"[::-1], 2)
