"""Whether an Ogg file (RFC 3533) is whole.

Both decoders leave out damaged pages, up to a second of audio each, without a word. FFmpeg's
``err_detect`` changes nothing about it: its reader of Ogg looks for the next good page and reports
no error.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

_END_OF_STREAM = 4  # among the flags of a page
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_fault(file: BinaryIO) -> str | None:
    """The fault of an Ogg file, in words that follow its name; None if it is whole or not Ogg.

    An Ogg file is whole if all its pages are. Its last page need not end the stream: recorders that
    are stopped leave that page out.
    """
    position, ended = 0, False
    file.seek(0)
    while (head := file.read(27))[:4] == b"OggS":
        segments = file.read(head[26]) if len(head) == 27 else b""
        body = file.read(sum(segments))
        if len(head) < 27 or len(segments) < head[26] or len(body) < sum(segments):
            return f"is cut off within its page at byte {position:,}"
        # RFC 3533, Sec. 6: its own checksum counts as 0
        page = head[:22] + bytes(4) + head[26:] + segments + body
        if _checksum(page) != int.from_bytes(head[22:26], "little"):
            return f"is damaged: the checksum of its page at byte {position:,} is wrong"
        ended = bool(head[5] & _END_OF_STREAM)
        position += len(page)
    if position and head and not ended:  # tags may follow the end of the stream
        return f"is damaged: no page begins at byte {position:,}"
    return None


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: zlib's with the bits of all bytes and of the result reversed, not inverted."""
    reverse = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reverse:032b}"[::-1], 2)
