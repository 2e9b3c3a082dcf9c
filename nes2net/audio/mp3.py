"""MP3: the ID3v2 tags before the audio, and whether the file states its length.

libsndfile guesses a length that the file does not state, and reads no further.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

_MOST_TAGS = 16
# Bytes by which a file may be longer than its header says: a frame or two, an ID3v1 tag, padding.
_SLACK = 4096


def skip_id3v2(file: BinaryIO, position: int = 0) -> int:
    """Leave ``file`` behind the ID3v2 tags that begin at ``position``; return where they end.

    Such tags may stand before FLAC, too.
    """
    for _ in range(_MOST_TAGS):
        file.seek(position)
        tag = file.read(10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            break
        # 28 bits, seven in each byte
        position += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0)))
    return file.seek(position)


def tag_fault(file: BinaryIO) -> str | None:
    """The fault of a file that begins with too many ID3v2 tags, in words that follow its name.

    libmpg123 would write a line on standard error about each one that is empty.
    """
    skip_id3v2(file)
    return f"begins with more than {_MOST_TAGS} ID3v2 tags" if file.read(3) == b"ID3" else None


def states_length(file: BinaryIO) -> bool:
    """Whether the first frame states how many frames there are, in a Xing or Info header.

    If more follows than the header counts, such as a second file joined to the first, the answer is
    no.
    """
    start = skip_id3v2(file)
    # behind the side information, whose length depends on the version and the channels
    header = re.match(rb"\xff[\xe0-\xff].{11,34}(?:Xing|Info)(.{12})", file.read(60), re.DOTALL)
    if header is None:
        return False
    flags, _, counted = struct.unpack(">III", header[1])
    has_frames, has_bytes = flags & 1, flags & 2
    return bool(has_frames) and (not has_bytes or file.seek(0, 2) - start <= counted + _SLACK)
