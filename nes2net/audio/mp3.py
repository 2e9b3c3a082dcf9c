"""Whether an MP3 file states its length, which libsndfile otherwise guesses, reading no further."""

from __future__ import annotations

from typing import BinaryIO

from nes2net.audio.tags import skip_id3v2

# Bytes by which a file may be longer than its header says: a frame or two, an ID3v1 tag, padding.
_SLACK = 4096


def states_length(file: BinaryIO) -> bool:
    """Whether the first frame states how many frames there are, in a Xing or Info header.

    If more follows than the header counts, such as a second file joined to the first, the answer is
    no.
    """
    start = skip_id3v2(file)
    frame = file.read(192)
    if len(frame) < 60 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return False
    version_1, mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    side_information = (17 if mono else 32) if version_1 else (9 if mono else 17)
    tag = frame[4 + side_information :][:16]
    flags = int.from_bytes(tag[4:8], "big")
    if tag[:4] not in (b"Xing", b"Info") or not flags & 1:
        return False
    counted = int.from_bytes(tag[12:16], "big") if flags & 2 else 0
    return not counted or file.seek(0, 2) - start <= counted + _SLACK
