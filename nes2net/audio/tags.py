"""ID3v2 tags, which may stand before the audio in FLAC and MP3 files."""

from __future__ import annotations

from typing import BinaryIO

_MOST_TAGS = 1024  # a file made to be read for ever could hold more


def skip_id3v2(file: BinaryIO) -> int:
    """Leave ``file`` behind the ID3v2 tags at its beginning; return that position."""
    position = 0
    for _ in range(_MOST_TAGS):
        file.seek(position)
        start = file.read(10)
        if start[:3] != b"ID3" or len(start) < 10:
            break
        size = 0
        for byte in start[6:]:
            size = size << 7 | byte & 0x7F
        position += 10 + size
    file.seek(position)
    return position
