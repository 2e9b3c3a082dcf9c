"""Frames of MPEG audio (MP1, MP2, MP3) and of AAC in ADTS: whether the last one is complete.

No header states how many frames these streams have. Each frame states its own length.
"""

from __future__ import annotations

from typing import BinaryIO

from nes2net.audio.mp3 import skip_id3v2

_HEADER_BYTES = 6
_MOST_PADDING = 1 << 16  # bytes of zeros before the first frame; libmpg123 gives up earlier
# ISO 11172-3 and 13818-3: kilobits a second by the version (1, 2) and the layer.
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # by the code of the version: 1, 2, 2.5


def missing_of_last_frame(file: BinaryIO) -> int | None:
    """Bytes that the last frame of a stream lacks at least; None if it is complete or there are no frames."""
    position, count = skip_id3v2(file), 0
    padding = file.read(_MOST_PADDING)
    position = skip_id3v2(file, position + len(padding) - len(padding.lstrip(b"\0")))
    size_of_file = file.seek(0, 2)
    while True:
        file.seek(position)
        head = file.read(_HEADER_BYTES)
        length = _frame_length(head)
        if length is None:
            is_cut = count > 0 and len(head) < _HEADER_BYTES and head.startswith(b"\xff")
            return _HEADER_BYTES - len(head) if is_cut else None
        position, count = position + length, count + 1
        if position > size_of_file:  # one header alone may stand in any file
            return position - size_of_file if count > 1 else None


def _frame_length(head: bytes) -> int | None:
    """Bytes of the frame that begins with ``head``; None if no frame does, or it does not say."""
    if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    layer = 4 - (head[1] >> 1 & 3)
    if layer == 4:  # ADTS: ISO 13818-7, Sec. 6.2
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return length if head[1] & 0xF0 == 0xF0 and length >= 7 else None
    divisor = _RATE_DIVISORS.get(head[1] >> 3 & 3)
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if divisor is None or not 0 < bit_rate < 15 or rate == 3:
        return None
    bits = 1000 * _BIT_RATES[1 if divisor == 1 else 2, layer][bit_rate - 1]
    hertz = _RATES[rate] // divisor
    if layer == 1:
        return 4 * (12 * bits // hertz + padding)
    return (144 if layer == 2 or divisor == 1 else 72) * bits // hertz + padding
