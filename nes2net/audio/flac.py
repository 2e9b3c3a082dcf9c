"""FLAC (RFC 9639): the headers of a stream and of its frames, and the MD5 sum of its samples."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import numpy as np

from nes2net.audio.mp3 import skip_id3v2

# Sec. 9.1.2, code of the sampling rate → Hz. With the codes 12 to 14 the rate follows at the end of
# the header.
_RATES = dict(enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), start=1))
_RATES_AT_END = {12: (1, 1000), 13: (2, 1), 14: (2, 10)}  # code → bytes, factor
# Sec. 9.1.1, code of the block size → samples. With the codes 6 and 7 the size follows in so many
# bytes.
_BLOCK_SIZES = {1: 192} | {n: 144 << n for n in range(2, 6)} | {n: 1 << n for n in range(8, 16)}
_BLOCK_SIZES_AT_END = {6: 1, 7: 2}
_INTEGERS = {8: "i1", 16: "<i2", 24: "<i4"}  # bits of a sample → type of the samples in the MD5 sum
_FRAME_HEADER_BYTES = 16  # at most
_STREAM_INFO_BYTES = 34
_BEHIND_LAST_FRAME = 1024  # bytes of tags looked through for the last frame
_MOST_BLOCKS = 1024  # of metadata; a file of zeros would seem to have more


class FlacHeader(NamedTuple):
    """STREAMINFO (Sec. 8.2) and the beginning of the first frame."""

    block_size: int
    """Samples in every frame but the last, unless the frames state where they begin."""
    largest_frame: int
    """Bytes; 0: unknown."""
    sample_rate: int
    """Hz."""
    bits: int
    """Bits of a sample."""
    num_samples: int
    """Samples per channel; 0: unknown."""
    md5: bytes
    """MD5 sum of all samples; zeros: unknown."""
    first_frame: bytes = b""
    """The first bytes of the first frame."""

    @property
    def has_md5(self) -> bool:
        return any(self.md5) and self.bits in _INTEGERS

    @property
    def first_frame_rate(self) -> int | None:
        """Sampling rate in Hz that the first frame states, None if it states none."""
        frame = self.first_frame
        code = frame[2] & 15 if _begins_frame(frame) else 0
        if code not in _RATES_AT_END:
            return _RATES.get(code)
        size, factor = _RATES_AT_END[code]
        end = _checksum_place(frame)
        return factor * int.from_bytes(frame[end - size : end], "big")


def md5_content(samples: np.ndarray, header: FlacHeader) -> memoryview:
    """What ``samples`` (channels, N), float32 in [−1, 1), contribute to the MD5 sum in ``header``.

    It is that of the interleaved samples as integers in the fewest bytes that hold them.
    """
    scaled = samples.T * np.float32(2 ** (header.bits - 1))  # exact: float32 holds 24 bits
    integers = scaled.astype(_INTEGERS[header.bits], order="C")
    if header.bits == 24:
        integers = np.ascontiguousarray(integers[..., None].view(np.uint8)[..., :3])
    return integers.data


def read_flac_header(file: BinaryIO) -> FlacHeader | None:
    """The header of a FLAC file, before which ID3v2 tags may stand; None for other formats."""
    skip_id3v2(file)
    start = file.read(8 + _STREAM_INFO_BYTES)
    if len(start) < 8 + _STREAM_INFO_BYTES or start[:4] != b"fLaC" or start[4] & 0x7F != 0:
        return None
    last_block = start[4] & 0x80
    for _ in range(_MOST_BLOCKS):
        block = b"" if last_block else file.read(4)
        if len(block) < 4:
            break
        last_block = block[0] & 0x80
        file.seek(int.from_bytes(block[1:], "big"), 1)
    return parse_stream_info(start[8:])._replace(
        first_frame=file.read(_FRAME_HEADER_BYTES).ljust(_FRAME_HEADER_BYTES, b"\0")
    )


def parse_stream_info(block: bytes) -> FlacHeader:
    """The header in a STREAMINFO block of 34 bytes."""
    # rate 20 bits, channels − 1: 3, bits − 1: 5, samples: 36
    packed = int.from_bytes(block[10:18], "big")
    return FlacHeader(
        block_size=int.from_bytes(block[:2], "big"),
        largest_frame=int.from_bytes(block[7:10], "big"),
        sample_rate=packed >> 44,
        bits=(packed >> 36 & 31) + 1,
        num_samples=packed & (1 << 36) - 1,
        md5=block[18:34],
    )


def exceeds_length(file: BinaryIO, header: FlacHeader) -> bool:
    """Whether the file goes on behind the announced samples, where libsndfile stops reading.

    The last frame is sought from the end of the file. Samples may look like the header of a frame;
    a wrong yes comes about once in a million files.
    """
    first = header.first_frame
    if not header.num_samples or not _begins_frame(first):
        return False
    size = file.seek(0, 2)
    file.seek(max(0, size - (header.largest_frame or 1 << 16) - _BEHIND_LAST_FRAME))
    tail = file.read() + bytes(_FRAME_HEADER_BYTES)  # the last frame may be shorter
    place = len(tail)
    while (place := tail.rfind(first[:2], 0, place)) >= 0:
        frame = tail[place : place + _FRAME_HEADER_BYTES]
        same_format = _begins_frame(frame) and frame[2] & 15 == first[2] & 15 and frame[3] & 15 == first[3] & 15
        if same_format and _crc8(frame[: _checksum_place(frame)]) == frame[_checksum_place(frame)]:
            states_sample = frame[1] & 1
            start = _coded_number(frame) * (1 if states_sample else header.block_size)
            return start + _block_size(frame) > header.num_samples
    return False


def _begins_frame(data: bytes) -> bool:
    return len(data) == _FRAME_HEADER_BYTES and data[0] == 0xFF and data[1] & 0xFE == 0xF8


def _number_bytes(frame: bytes) -> int:
    """Bytes of the number of the frame, or of its first sample, coded like a character in UTF-8."""
    return min(7, max(1, 8 - (frame[4] ^ 0xFF).bit_length()))


def _coded_number(frame: bytes) -> int:
    count = _number_bytes(frame)
    number = frame[4] & (0x7F if count == 1 else 0x7F >> count)
    for byte in frame[5 : 4 + count]:
        number = number << 6 | byte & 0x3F
    return number


def _block_size(frame: bytes) -> int:
    """Samples per channel in a frame (Sec. 9.1.1); 0 for the reserved code."""
    code = frame[2] >> 4
    if code in _BLOCK_SIZES_AT_END:
        start = 4 + _number_bytes(frame)
        return 1 + int.from_bytes(frame[start : start + _BLOCK_SIZES_AT_END[code]], "big")
    return _BLOCK_SIZES.get(code, 0)


def _checksum_place(frame: bytes) -> int:
    """Where the header of a frame ends with its checksum."""
    block_size_bytes = _BLOCK_SIZES_AT_END.get(frame[2] >> 4, 0)
    rate_bytes, _ = _RATES_AT_END.get(frame[2] & 15, (0, 1))
    return 4 + _number_bytes(frame) + block_size_bytes + rate_bytes


def _crc8(data: bytes) -> int:
    """The checksum of a frame's header, polynomial x⁸ + x² + x + 1."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
    return value
