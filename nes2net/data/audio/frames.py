"""Check files of frames or pages for cuts and damage: MPEG (MP1, MP2, MP3), AAC in ADTS, Ogg, FLAC.

Decoders are lenient, so this module reads the headers. A frame of MPEG or ADTS states its length,
but no header needs to state the number of frames; libsndfile guesses it for MP3, and stops there.
libsndfile and FFmpeg silently skip damaged pages of Ogg, up to a second of audio each, even with
FFmpeg's ``err_detect``.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

_MAX_TAGS = 16
# A file may have this many bytes more than its header states, for one or two frames, an ID3v1 tag and padding.
_SLACK = 4096


def skip_id3v2(file: BinaryIO, position: int = 0) -> int:
    """Move ``file`` behind ID3v2 tags (MP3, AAC, FLAC); return the new offset."""
    for _ in range(_MAX_TAGS):
        file.seek(position)
        tag = file.read(10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            break
        # The size has 28 bits, seven in each byte.
        position += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0)))
    return file.seek(position)


def tag_fault(file: BinaryIO) -> str | None:
    """Return a fault for more than 16 ID3v2 tags: libmpg123 would print a line about each."""
    skip_id3v2(file)
    if file.read(3) == b"ID3":
        return f"begins with more than {_MAX_TAGS} ID3v2 tags"
    return None


def states_length(file: BinaryIO) -> bool:
    """Whether the first MPEG frame states the true number of frames, in a Xing or Info header.

    The number is wrong if another file was appended, for example.
    """
    start = skip_id3v2(file)
    # The Xing or Info header follows the side information. The length of the side information depends on the version
    # and the channels.
    header = re.match(rb"\xff[\xe0-\xff].{11,34}(?:Xing|Info)(.{12})", file.read(60), re.DOTALL)
    if header is None:
        return False
    flags, stated_frames, stated_bytes = struct.unpack(">III", header[1])
    has_frames = flags & 1  # the header states the number of frames
    has_bytes = flags & 2  # the header states the number of bytes
    if not has_frames or (has_bytes and file.seek(0, 2) - start > stated_bytes + _SLACK):
        return False
    # Two frames more than stated are accepted, because some encoders do not count the frame that holds the header.
    return sum(1 for _ in _frame_ends(file)) <= stated_frames + 2


_HEADER_BYTES = 6  # number of bytes that give the length of an MPEG or ADTS frame
_MAX_PADDING = 1 << 16  # most zeros to skip before the first frame; libmpg123 gives up earlier
# ISO 11172-3 and 13818-3: (version, layer) → bit rates in kbit/s of the codes 1, 2, …
_BIT_RATES = {
    (1, 1): range(32, 449, 32),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    **dict.fromkeys(((2, 2), (2, 3)), (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)),
}
_RATES = (44100, 48000, 32000)  # sampling rates of version 1 in Hz; the index of a rate is its code


def frame_fault(file: BinaryIO) -> str | None:
    """Return a fault if the last MPEG or ADTS frame is cut off.

    Of a cut header, only the missing ones of the first 6 bytes count. None also if the only frame
    is cut off, or if there is no frame.
    """
    count = 0
    end = 0
    for count, end in enumerate(_frame_ends(file), start=1):  # noqa: B007  # keeps the values of the last frame
        pass
    size_of_file = file.seek(0, 2)
    if end > size_of_file and count == 1:  # a single header may be a coincidence in a file without frames
        return None
    missing = end - size_of_file
    # Behind the last whole frame, there may be a part of the next frame's header.
    file.seek(end)
    head = file.read(_HEADER_BYTES)
    if count > 0 and len(head) < _HEADER_BYTES and head.startswith(b"\xff"):
        missing = _HEADER_BYTES - len(head)
    return f"is cut off: its last frame lacks at least {missing:,} bytes" if missing > 0 else None


def _frame_ends(file: BinaryIO) -> Iterator[int]:
    # Yield the stated end of each MPEG or ADTS frame; the last may lie behind the end of the file.
    position = skip_id3v2(file)
    # Another tag may follow zeros. skip_id3v2 has moved `file`.
    padding = file.read(_MAX_PADDING)
    position = skip_id3v2(file, position + len(padding) - len(padding.lstrip(b"\0")))
    size_of_file = file.seek(0, 2)
    while position <= size_of_file:
        file.seek(position)
        length = _frame_length(file.read(_HEADER_BYTES))
        if length is None:
            return
        position += length
        yield position


def begins_with_frames(content: bytes) -> bool:
    """Whether ``content`` begins with four MPEG or ADTS frames, one behind the other."""
    return len(list(islice(_frame_ends(io.BytesIO(content)), 4))) == 4


def _frame_length(head: bytes) -> int | None:
    """In bytes; None if unknown or no frame of MPEG or ADTS."""
    if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    layer = 4 - (head[1] >> 1 & 3)
    if layer == 4:  # ADTS: ISO 13818-7, Sec. 6.2
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if head[1] & 0xF0 != 0xF0 or length < 7:
            return None
        return length
    # MPEG: the length follows from the bit rate and the sampling rate.
    divisor = {3: 1, 2: 2, 0: 4}.get(head[1] >> 3 & 3)  # code of version 1, 2 or 2.5 → divisor of the sampling rate
    bit_rate = head[2] >> 4
    rate = head[2] >> 2 & 3
    padding = head[2] >> 1 & 1
    if divisor is None or not 0 < bit_rate < 15 or rate == 3:
        return None
    version = 1 if divisor == 1 else 2
    bits = 1000 * _BIT_RATES[version, layer][bit_rate - 1]
    hertz = _RATES[rate] // divisor
    if layer == 1:
        return 4 * (12 * bits // hertz + padding)
    num_samples = 1152 if layer == 2 or version == 1 else 576  # in a frame
    return num_samples // 8 * bits // hertz + padding


_END_OF_STREAM = 4  # flag of the last Ogg page of a stream
# A table of 256 bytes: the byte at index i has the bits of i in reverse order.
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_fault(file: BinaryIO) -> str | None:
    """Return the fault of an Ogg file, such as "is cut off …"; None also for other formats.

    All pages must be whole. A stopped recorder does not mark the end of the stream, so no mark is
    required.
    """
    end = 0
    ended = False
    for position, head, segments in _ogg_pages(file):
        body = file.read(sum(segments))
        if len(head) < 27 or len(segments) < head[26] or len(body) < sum(segments):
            return f"is cut off within its page at byte {position:,}"
        # RFC 3533, Sec. 6: the checksum is computed over the page with its checksum field set to 0.
        page = head[:22] + bytes(4) + head[26:] + segments + body
        # Ogg's CRC-32 has zlib's polynomial, but Ogg reverses the bits of each byte and of the result. zlib also
        # inverts the checksum at the start and at the end; the two masks undo these inversions.
        reversed_checksum = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        if int(f"{reversed_checksum:032b}"[::-1], 2) != int.from_bytes(head[22:26], "little"):
            return f"is damaged: the checksum of its page at byte {position:,} is wrong"
        ended = bool(head[5] & _END_OF_STREAM)
        end = position + len(page)
    file.seek(end)
    if end and not ended and file.read(1):  # tags may follow the end of the stream
        return f"is damaged: no page begins at byte {end:,}"
    return None


def _ogg_pages(file: BinaryIO) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (offset, header, sizes of the parts of the body) of each page, with ``file`` at its body."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(27)  # the last byte counts the sizes that follow
        if head[:4] != b"OggS":
            return
        segments = file.read(head[-1])
        yield position, head, segments
        position += 27 + len(segments) + sum(segments)


_FIRST_OF_STREAM = 2  # flag of the first Ogg page of a stream
_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the first bytes of FLAC, then the header of STREAMINFO
_FLAC_START_BYTES = 8
_SEARCHED_BYTES = 1 << 22  # this many bytes of a FLAC file are searched at once


def link_starts(file: BinaryIO) -> list[int]:
    """List the offsets where the streams of a file begin: several if the file is a chain.

    A chain is several complete Ogg or FLAC streams, or AU files, in a row. Players play all, but
    libsndfile reads only the first. Ogg streams that begin together form one link (RFC 3533, Sec.
    4).
    """
    # Each is empty for a file of another format.
    return [*_ogg_link_starts(file), *_au_link_starts(file), *_flac_link_starts(file)] or [0]


def _flac_link_starts(file: BinaryIO) -> Iterator[int]:
    position = skip_id3v2(file) + 4
    if file.read(4) != b"fLaC":
        return
    yield 0
    overlap = b""
    while block := file.read(_SEARCHED_BYTES):
        searched = overlap + block
        for match in _FLAC_START.finditer(searched):
            yield position - len(overlap) + match.start()
        overlap = searched[1 - _FLAC_START_BYTES :]  # the first bytes of FLAC may lie across two blocks
        position += len(block)


# First bytes of an AU file → byte order of its header.
_AU_ORDERS: dict[bytes, Literal["little", "big"]] = {b".snd": "big", b"dns.": "little"}
_AU_HEADER_BYTES = 24


def _au_link_starts(file: BinaryIO) -> Iterator[int]:
    position = 0  # the next file begins where the data of this one end
    while True:
        file.seek(position)
        head = file.read(_AU_HEADER_BYTES)
        order = _AU_ORDERS.get(head[:4])
        if order is None or len(head) < _AU_HEADER_BYTES:
            return
        yield position
        data_offset = int.from_bytes(head[4:8], order)
        data_size = int.from_bytes(head[8:12], order)
        position += max(_AU_HEADER_BYTES, data_offset) + data_size


def _ogg_link_starts(file: BinaryIO) -> Iterator[int]:
    """Yield the pages that begin an Ogg stream, the first of several in a row."""
    previous_begins_stream = False
    for position, head, _ in _ogg_pages(file):
        begins_stream = len(head) == 27 and bool(head[5] & _FIRST_OF_STREAM)
        if begins_stream and not previous_begins_stream:
            yield position
        previous_begins_stream = begins_stream


# RFC 9639, Sec. 9.1.2: code of the sampling rate → rate in Hz. For codes 12 to 14, the rate is stated at the end of the
# header.
_RATES_OF_CODES = dict(
    enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), start=1)
)
_RATES_AT_END = {12: (1, 1000), 13: (2, 1), 14: (2, 10)}  # code → (bytes that hold the rate, unit in Hz)
# RFC 9639, Sec. 9.1.1: code of the block size → samples. For codes 6 and 7, the size is stated at the end of the
# header, in 1 or 2 bytes.
_BLOCK_SIZES = {1: 192} | {n: 144 << n for n in range(2, 6)} | {n: 1 << n for n in range(8, 16)}
_BLOCK_SIZES_AT_END = {6: 1, 7: 2}
_INTEGERS = {8: "i1", 16: "<i2", 24: "<i4"}  # bits of a sample → NumPy type of the samples for the MD5 sum
_FRAME_HEADER_BYTES = 16  # the longest header of a frame has this many bytes
_STREAM_INFO_BYTES = 34


class FlacHeader(NamedTuple):
    """The header of a FLAC file: STREAMINFO (RFC 9639, Sec. 8.2) and the start of the first frame."""

    block_size: int
    """Samples of each frame but the last, if the file has a fixed block size."""
    largest_frame: int
    """In bytes; 0 if unknown."""
    sample_rate: int
    """In Hz."""
    bits: int
    num_samples: int
    """Samples per channel; 0 if unknown."""
    md5: bytes
    """MD5 sum of all samples; 16 bytes of 0 if unknown."""
    first_frame: bytes = b""
    exceeded: bool = False
    """Whether the file holds more than ``num_samples``, which libsndfile would not read."""

    @property
    def has_md5(self) -> bool:
        """Whether :func:`md5_content` can verify the MD5 sum."""
        return any(self.md5) and self.bits in _INTEGERS

    @property
    def first_frame_rate(self) -> int | None:
        """In Hz; None if the first frame states none."""
        frame = _parse_flac_frame(self.first_frame)
        return None if frame is None else frame.sample_rate


class _FlacFrame(NamedTuple):
    """The header of a FLAC frame (RFC 9639, Sec. 9.1)."""

    number: int
    """Number of the frame if the block size is fixed; otherwise of its first sample."""
    block_size: int
    """Samples per channel; 0 for the reserved code."""
    sample_rate: int | None
    """In Hz; None if not stated."""
    end: int


def _parse_flac_frame(data: bytes) -> _FlacFrame | None:
    if len(data) != _FRAME_HEADER_BYTES or data[0] != 0xFF or data[1] & 0xFE != 0xF8:
        return None
    # The number of the frame, or of its first sample, is coded like a character in UTF-8.
    num_bytes = min(7, max(1, 8 - (data[4] ^ 0xFF).bit_length()))
    mask = 0x7F if num_bytes == 1 else 0x7F >> num_bytes
    # The leading 1 bits of the first byte say how many bytes the number has; each further byte adds 6 bits.
    number = data[4] & mask
    for byte in data[5 : 4 + num_bytes]:
        number = number << 6 | byte & 0x3F
    size_code = data[2] >> 4
    rate_code = data[2] & 15
    size_bytes = _BLOCK_SIZES_AT_END.get(size_code, 0)
    rate_bytes, hz_per_unit = _RATES_AT_END.get(rate_code, (0, 1))
    size_start = 4 + num_bytes
    rate_start = size_start + size_bytes
    end = rate_start + rate_bytes
    block_size = _BLOCK_SIZES.get(size_code, 0)
    if size_bytes:
        block_size = 1 + int.from_bytes(data[size_start:rate_start], "big")
    sample_rate = _RATES_OF_CODES.get(rate_code)
    if rate_bytes:
        sample_rate = hz_per_unit * int.from_bytes(data[rate_start:end], "big")
    return _FlacFrame(number, block_size, sample_rate, end)


def md5_content(samples: np.ndarray, header: FlacHeader) -> memoryview:
    """Encode ``samples`` (channels, N), float32 in [−1, 1), for FLAC's MD5 sum.

    The bytes are interleaved little-endian integers of ``header.bits`` bits.
    """
    scaled = samples.T * np.float32(2 ** (header.bits - 1))  # exact, because float32 holds 24 bits
    integers = scaled.astype(_INTEGERS[header.bits], order="C")
    if header.bits == 24:
        integers = np.ascontiguousarray(integers[..., None].view(np.uint8)[..., :3])
    return integers.data


def read_flac_header(file: BinaryIO) -> FlacHeader | None:
    """Read the header of a FLAC file, behind any ID3v2 tags; None for other formats."""
    skip_id3v2(file)
    start = file.read(8 + _STREAM_INFO_BYTES)
    if len(start) < 8 + _STREAM_INFO_BYTES or start[:4] != b"fLaC" or start[4] & 0x7F != 0:
        return None
    last_block = start[4] & 0x80  # the mark of the last block of metadata
    for _ in range(1024):  # a file of zeros looks like endless blocks of metadata
        block = b"" if last_block else file.read(4)
        if len(block) < 4:
            break
        last_block = block[0] & 0x80
        file.seek(int.from_bytes(block[1:], "big"), 1)
    return parse_stream_info(start[8:])._replace(
        first_frame=file.read(_FRAME_HEADER_BYTES).ljust(_FRAME_HEADER_BYTES, b"\0")
    )


def parse_stream_info(block: bytes) -> FlacHeader:
    """Decode a STREAMINFO block of 34 bytes or more; ``first_frame`` stays empty."""
    block_size, largest_frame, packed, md5 = struct.unpack_from(">H5x3sQ16s", block)
    # From the highest bit: 20 bits of the rate, 3 of channels − 1, 5 of bits − 1, 36 of the number of samples.
    return FlacHeader(
        block_size=block_size,
        largest_frame=int.from_bytes(largest_frame, "big"),
        sample_rate=packed >> 44,
        bits=(packed >> 36 & 31) + 1,
        num_samples=packed & (1 << 36) - 1,
        md5=md5,
    )


def exceeds_length(file: BinaryIO, header: FlacHeader) -> bool:
    """Whether the file holds more samples than announced, which libsndfile would skip.

    The last frame is searched from the end. Samples may look like a frame's header, so about one
    result in a million is wrongly true. False if the length is not stated.
    """
    first = header.first_frame
    if not header.num_samples or not _parse_flac_frame(first):
        return False
    size = file.seek(0, 2)
    file.seek(max(0, size - (header.largest_frame or 1 << 16) - 1024))  # tags may follow the last frame
    # zeros are appended, because the last frame may be shorter than a header
    tail = file.read() + bytes(_FRAME_HEADER_BYTES)
    position = len(tail)
    while (position := tail.rfind(first[:2], 0, position)) >= 0:
        data = tail[position : position + _FRAME_HEADER_BYTES]
        frame = _parse_flac_frame(data)
        # All frames have the same rate (low bits of byte 2) and the same sample size (low bits of byte 3).
        if frame is None or (data[2] & 15, data[3] & 15) != (first[2] & 15, first[3] & 15):
            continue
        # If the checksum is right, this is the last frame: compare its last sample with the announced length.
        if _crc8(data[: frame.end]) == data[frame.end]:
            first_sample = frame.number
            if not data[1] & 1:  # ``number`` is the number of a frame, not of a sample
                first_sample *= header.block_size
            return first_sample + frame.block_size > header.num_samples
    return False


def _crc8(content: bytes) -> int:
    # With the polynomial x⁸ + x² + x + 1 (RFC 9639, Sec. 9.1.8).
    checksum = 0
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum <<= 1
            if checksum & 0x100:
                checksum ^= 0x107
    return checksum
