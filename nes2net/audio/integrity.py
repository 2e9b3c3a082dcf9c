"""What audio files say of themselves, by which a whole file is told from one that was cut off or damaged.

Decoders are lenient: libsndfile takes a WAV file that was cut off for a shorter one, FFmpeg leaves out FLAC frames it cannot decode and
passes on those whose checksum is wrong. Either would be a silent score of other audio than the file held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

# Of FLAC's frame header (RFC 9639, Sec. 9.1.2): what the rate's code stands for; 12 to 14: it stands at the header's end.
_FLAC_RATES = dict(enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), start=1))
_FLAC_RATES_AT_END = {12: (1, 1000), 13: (2, 1), 14: (2, 10)}  # code → bytes, factor
# A chunk of this size or more is what programs write that do not know how long it will be; with sizes of 64 bits, this or more.
_UNKNOWN_SIZE, _UNKNOWN_LONG_SIZE = 0x7FFFF000, 1 << 62
# No file has more chunks or FLAC metadata blocks, but one of zeros would seem to.
_MOST_CHUNKS, _MOST_BLOCKS = 10_000, 1024
# Bytes by which an MP3 file may be longer than its header says: a frame or two, and padding.
_MP3_SLACK = 4096
_FORMATS_OF_WHOLE_SAMPLES = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, μ-law, extensible


class DamagedAudio(ValueError):
    """What was decoded is not what the file says it holds."""


class FlacHeader(NamedTuple):
    """STREAMINFO (RFC 9639, Sec. 8.2): Hz, bits per sample, samples per channel (0: not known) and the MD5 sum of the audio (zeros:
    not known); and the rate that the first frame gives, None where it gives none.
    """

    sample_rate: int
    bits: int
    num_samples: int
    md5: bytes
    first_frame_rate: int | None

    @property
    def has_md5(self) -> bool:
        return any(self.md5) and self.bits in (8, 16, 24)


class FlacDigest:
    """The MD5 sum of decoded audio as FLAC defines it: over the interleaved integers of the fewest bytes that hold ``bits``."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, samples: np.ndarray) -> None:
        """Add ``samples`` (N, channels), float32 in [−1, 1)."""
        scaled = samples * np.float32(2 ** (self.bits - 1))  # exact: float32 holds 24 bits
        if self.bits == 24:
            scaled = np.ascontiguousarray(scaled.astype("<i4")[..., None].view(np.uint8)[..., :3])
        else:
            scaled = np.ascontiguousarray(scaled.astype("<i2" if self.bits == 16 else "i1"))
        self._md5.update(scaled)

    def digest(self) -> bytes:
        return self._md5.digest()


def read_flac_header(file: BinaryIO) -> FlacHeader | None:
    """The header of the FLAC stream that ``file`` begins with, after ID3v2 tags or none; None where it begins with something else."""
    skip_id3v2(file)
    start = file.read(42)
    if len(start) < 42 or start[:4] != b"fLaC" or start[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(start[18:26], "big")  # rate 20 bits, channels − 1: 3, bits − 1: 5, samples: 36
    last_block = start[4] & 0x80
    for _ in range(_MOST_BLOCKS):
        block = b"" if last_block else file.read(4)
        if len(block) < 4:
            break
        last_block = block[0] & 0x80
        file.seek(int.from_bytes(block[1:], "big"), 1)
    rate = _rate_of_frame(file.read(16))
    return FlacHeader(packed >> 44, (packed >> 36 & 31) + 1, packed & (1 << 36) - 1, start[26:42], rate)


def skip_id3v2(file: BinaryIO) -> int:
    """Leave ``file`` behind the ID3v2 tags that it begins with, at the position returned."""
    position = 0
    for _ in range(_MOST_BLOCKS):
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


def _rate_of_frame(header: bytes) -> int | None:
    """Sampling rate in Hz that a FLAC frame header gives."""
    if len(header) < 16 or header[0] != 0xFF or header[1] & 0xFE != 0xF8:
        return None
    block_size, rate = header[2] >> 4, header[2] & 15
    if rate in _FLAC_RATES:
        return _FLAC_RATES[rate]
    if rate not in _FLAC_RATES_AT_END:
        return None
    number_bytes = max(1, 8 - (header[4] ^ 0xFF).bit_length())  # the frame's number, coded as UTF-8 is
    start = 4 + number_bytes + {6: 1, 7: 2}.get(block_size, 0)
    size, factor = _FLAC_RATES_AT_END[rate]
    return factor * int.from_bytes(header[start : start + size], "big")


def missing_audio(file: BinaryIO) -> tuple[int, int, str] | None:
    """Announced and present length of the audio in a WAV (RF64, BW64, W64), AIFF, AU, CAF or NIST SPHERE file that was cut off, and the
    unit.

    None for a whole file, one that does not know its length (written to a pipe), and any other format.
    """
    start = file.read(1024)
    size_of_file = file.seek(0, 2)
    form, kind = start[:4], start[8:12]
    if form == b".snd" and len(start) >= 12:
        offset, size = int.from_bytes(start[4:8], "big"), int.from_bytes(start[8:12], "big")
        return None if size >= _UNKNOWN_SIZE else _cut(size, size_of_file - offset)
    if start[:8] == b"NIST_1A\n":
        return _missing_from_sphere(start, size_of_file)
    if form == b"caff":
        return _missing_from_long_chunks(_caf_chunks(file), size_of_file)
    if form == b"riff" and start[24:28] == b"wave":
        return _missing_from_long_chunks(_w64_chunks(file), size_of_file)
    if form in (b"RIFF", b"RF64", b"BW64") and kind == b"WAVE":
        return _missing_from_chunks(file, "little", size_of_file)
    if (form == b"RIFX" and kind == b"WAVE") or (form == b"FORM" and kind in (b"AIFF", b"AIFC")):
        return _missing_from_chunks(file, "big", size_of_file)
    return None


def _cut(announced: int, present: int, unit_bytes: int = 1, unit: str = "bytes") -> tuple[int, int, str] | None:
    announced, present = announced // unit_bytes, max(0, present) // unit_bytes
    return (announced, present, unit) if announced > present else None


def _missing_from_sphere(start: bytes, size_of_file: int) -> tuple[int, int, str] | None:
    lines = start.decode("latin-1").partition("end_head")[0].split("\n")
    fields = {words[0]: words[2] for words in map(str.split, lines[2:]) if len(words) == 3}
    if fields.get("sample_coding", "pcm") not in ("pcm", "ulaw", "alaw"):  # compressed
        return None
    try:
        unit_bytes = int(fields["sample_n_bytes"]) * int(fields.get("channel_count", 1))
        announced = int(fields["sample_count"]) * unit_bytes
        return _cut(announced, size_of_file - int(lines[1]), unit_bytes, "samples")
    except (KeyError, ValueError, ZeroDivisionError):
        return None


def _chunks(file: BinaryIO, order: Literal["little", "big"]) -> Iterator[tuple[bytes, int, int]]:
    """Name and size of each chunk of a RIFF or AIFF file and where its body begins; it ends at what can be no chunk."""
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


def _missing_from_chunks(
    file: BinaryIO, order: Literal["little", "big"], size_of_file: int
) -> tuple[int, int, str] | None:
    unit_bytes, unit, long_size = 1, "bytes", None
    for name, size, start in _chunks(file, order):
        body = file.read(min(size, 32))
        if name in (b"data", b"SSND"):
            present, limit = size_of_file - start, _UNKNOWN_SIZE
            if size == 0xFFFFFFFF and long_size is not None:  # of which libsndfile and FFmpeg read as much as there is
                size, limit = long_size, _UNKNOWN_LONG_SIZE
            # Whole files of programs that count the chunk's own header, that of the file, or all of the file.
            if size >= limit or size in (present + 8, size_of_file - 8, size_of_file):
                return None
            return _cut(size, present, unit_bytes, unit)
        if name == b"ds64" and len(body) >= 16:
            long_size = int.from_bytes(body[8:16], "little")
        if name == b"fmt " and len(body) >= 14 and int.from_bytes(body[:2], order) in _FORMATS_OF_WHOLE_SAMPLES:
            unit_bytes, unit = max(1, int.from_bytes(body[12:14], order)), "samples"
    return None


def _missing_from_long_chunks(
    chunks: Iterator[tuple[bytes, int, int]], size_of_file: int
) -> tuple[int, int, str] | None:
    for name, size, start in chunks:
        if name == b"data":
            return None if size >= _UNKNOWN_LONG_SIZE else _cut(size, size_of_file - start)
    return None


def _caf_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """As :func:`_chunks`, of Apple's Core Audio Format; a size of −1, "to the end", is 2⁶⁴ − 1 here."""
    position = 8
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(12)
        if not _is_chunk(head[:8]) or len(head) < 12:
            return
        size = int.from_bytes(head[4:], "big")
        yield head[:4], size, position + 12
        position += 12 + size
        if position >= _UNKNOWN_LONG_SIZE:
            return


def _w64_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """As :func:`_chunks`, of Sony's Wave64, whose names are GUIDs that begin with RIFF's, and whose sizes count the chunk's own header."""
    position = 40
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        head = file.read(24)
        size = int.from_bytes(head[16:], "little")
        if len(head) < 24 or size < 24:
            return
        yield head[:4], size - 24, position + 24
        position += size + -size % 8
        if position >= _UNKNOWN_LONG_SIZE:
            return


def lacks_length(file: BinaryIO) -> bool:
    """Whether a WAV file says that it has no samples though there are some: what wrote it was ended before it filled the length in."""
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return False
    for name, size, _ in _chunks(file, "little"):
        if name == b"data":
            head = file.read(8)
            return size == 0 and len(head) > 0 and not _is_chunk(head)  # a chunk: there are none indeed, and it follows
    return False


def states_mp3_length(file: BinaryIO) -> bool:
    """Whether an MP3 file's first frame says how many frames there are in a way that libsndfile knows (a Xing or Info header), after ID3v2
    tags or none; and no more follows than the header counts, as where files were joined.
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
    return not counted or _end_of_mp3(file) - start <= counted + _MP3_SLACK


def _end_of_mp3(file: BinaryIO) -> int:
    """Size of the file without ID3v1 and APE tags at its end."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 128))
    if file.read(3) == b"TAG":
        end -= 128
    file.seek(max(0, end - 32))
    footer = file.read(32)
    if footer[:8] == b"APETAGEX":
        has_header = footer[23] & 0x80
        end -= int.from_bytes(footer[12:16], "little") + (32 if has_header else 0)
    return end
