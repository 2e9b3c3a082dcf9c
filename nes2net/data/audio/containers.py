"""Check files of chunks, boxes or elements for cuts: WAV, AIFF, AVI, ASF, FLV, CAF, MP4, Matroska.

Decoders read a cut file as a shorter recording. FFmpeg lists all frames of an MP4 file before it
decodes the first one, and skips damaged elements of Matroska. So stated sizes are checked first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np

_ByteOrder: TypeAlias = Literal["little", "big"]

#: First bytes of a file → byte order of its sizes.
RIFF_FORMATS: dict[bytes, _ByteOrder] = {
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64"), "little"),
    **dict.fromkeys((b"RIFX", b"FORM"), "big"),
}
# A program that does not know the length of a chunk writes one of these sizes, perhaps less the bytes of headers. Any
# other size may be true, because a WAV file may have 4 GiB.
_PLACEHOLDERS = (0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)
_HEADERS_BYTES = 64  # a size this close to a placeholder counts as one
#: A size of 64 bits is a placeholder if it is at least this large.
UNKNOWN_LONG_SIZE = 1 << 62
_MAX_CHUNKS = 10_000  # most chunks to read: a file of zeros looks like endless empty chunks


def cut_off(announced: int, present: int, unit: str) -> str:
    return f"is cut off: its header announces {announced:,} {unit}, {present:,} are there"


def chunk_fault(file: BinaryIO) -> str | None:
    """Return the fault of a WAV (also RF64, BW64), AIFF, AVI, ASF, FLV or CAF file that was cut off.

    None also if the file states no size, or has another format.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(30)
    order = RIFF_FORMATS.get(start[:4])
    expected = None
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return _avi_fault(file, size)
    if order is not None and start[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        return _wave_fault(file, order, size)
    if start[:16] == _ASF_HEADER:
        expected = _stated_asf_size(file, start)
    elif start[:4] == b"FLV\1":
        expected = _end_of_flv(file, int.from_bytes(start[5:9], "big"), size)
    elif start[:4] == b"caff":
        expected = _end_of_caf(file, size)
    if expected is None or expected <= size:
        return None
    return f"is cut off: {expected - size:,} bytes are missing at its end"


def _avi_fault(file: BinaryIO, size_of_file: int) -> str | None:
    # Each RIFF chunk must end before the end of the file.
    for name, size, body_start in _chunks(file, "little", position=0):
        present = size_of_file - body_start
        if name != b"RIFF" or not size or is_placeholder(size):
            return None
        if size > present + 8:  # some programs count the 8 bytes of the chunk's header in its size
            return cut_off(size, present, "bytes")
    return None


def _wave_fault(file: BinaryIO, order: _ByteOrder, size_of_file: int) -> str | None:
    # The chunk of samples must end before the end of the file.
    unit_bytes = 1
    unit = "bytes"
    long_size = None  # size of the samples in 64 bits, in RF64 and BW64 files
    for name, size, body_start in _chunks(file, order):
        body = file.read(min(size, 32))  # all that is looked at
        if name in (b"data", b"SSND"):
            present = size_of_file - body_start
            is_unknown = is_placeholder(size)
            if size == 0xFFFFFFFF and long_size is not None:  # the size does not fit into 32 bits
                size = long_size
                is_unknown = long_size >= UNKNOWN_LONG_SIZE
            # libsndfile and FFmpeg read a chunk of unknown size to the end of the file. Some programs add the chunk's
            # header to the size, or state that of the outermost chunk or of the file.
            if is_unknown or size in (present + 8, size_of_file - 8, size_of_file):
                return None
            announced = size // unit_bytes
            present = max(0, present) // unit_bytes
            return cut_off(announced, present, unit) if announced > present else None
        if name == b"ds64" and len(body) >= 16:
            long_size = int.from_bytes(body[8:16], "little")  # behind the size of the file
        # codes of PCM, float, A-law, μ-law, extensible
        if name == b"fmt " and len(body) >= 14 and int.from_bytes(body[:2], order) in {1, 3, 6, 7, 0xFFFE}:
            unit_bytes = max(1, int.from_bytes(body[12:14], order))  # of one sample of all channels
            unit = "samples"
    return None


def is_placeholder(size: int) -> bool:
    """Whether 32 bits of a size stand for an unknown length."""
    return any(abs(size - placeholder) <= _HEADERS_BYTES for placeholder in _PLACEHOLDERS)


def lacks_length(file: BinaryIO) -> bool:
    """Whether a WAV file announces 0 samples but holds some, because the recorder was killed."""
    for name, size, _ in _chunks(file, "little"):
        if name == b"data":
            head = file.read(8)  # of its content
            # If the chunk of samples is empty, the bytes after it may be the next chunk, and not samples.
            return size == 0 and len(head) > 0 and not _is_chunk(head)
    return False


def _chunks(
    file: BinaryIO, order: _ByteOrder, position: int = 12, size_bytes: int = 4, alignment: int = 2
) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, stated size, start of the content) of each chunk from ``position`` on, by default of a WAV file.

    Then the caller may read the content, where ``file`` is.

    Args:
        size_bytes: number of bytes that state a size.
        alignment: the bytes of a content are filled up to a multiple of this.
    """
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        head = file.read(4 + size_bytes)
        if len(head) < 4 + size_bytes or not _is_chunk(head):
            return
        size = int.from_bytes(head[4:], order)
        position += len(head)
        yield head[:4], size, position
        position += size + -size % alignment


def _is_chunk(head: bytes) -> bool:
    return len(head) >= 8 and all(32 <= byte < 127 for byte in head[:4])


_MAX_HEADER_BYTES = 1 << 20  # at most this many bytes of an ASF file's header are read


# Ids of objects (ASF specification, Sec. 10).
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _stated_asf_size(file: BinaryIO, start: bytes) -> int | None:
    """Read the size that the header states, if any; ``start`` has the 30 bytes before it."""
    header = file.read(min(int.from_bytes(start[16:24], "little"), _MAX_HEADER_BYTES))
    properties = header.find(_ASF_FILE_PROPERTIES)
    # Behind id and size (24 bytes): id of the file (16), its size (8), five times and numbers (40), flags; flag 1
    # means that it is still being recorded.
    fields = header[properties + 24 : properties + 104]
    if properties < 0 or len(fields) < 68 or fields[64] & 1:
        return None  # no size is stated, because the recording was not finished
    return int.from_bytes(fields[16:24], "little")


def _end_of_flv(file: BinaryIO, header_end: int, size: int) -> int | None:
    """Return the byte at which the last tag should end; None if none is cut off."""
    expected = header_end  # later where a tag ends
    while True:
        file.seek(expected + 4)  # skip the 4 bytes with the size of the previous tag
        head = file.read(11)
        if not any(head):  # the file ends, or only zeros follow, as in a sparse file
            return None
        expected += 15  # 4 bytes, and the header of the tag
        if len(head) == 11:
            expected += int.from_bytes(head[1:4], "big")
        if expected >= size:
            return expected


def _end_of_caf(file: BinaryIO, size: int) -> int | None:
    """Return the byte at which the last chunk should end; None if its length is unknown or none is cut off."""
    for _, length, body_start in _chunks(file, "big", position=8, size_bytes=8, alignment=1):
        if length >= UNKNOWN_LONG_SIZE:  # a placeholder
            return None
        if body_start + length >= size:
            return body_start + length
    return None


# Boxes whose inner boxes are checked, too, because FFmpeg reads the tables in them.
_ENTERED = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"mvex", b"moof", b"traf"}
_DEEPEST = 10  # greatest depth of a box that FFmpeg enters
# Boxes that may begin a file, and boxes that may be at the top level of a file.
_FIRST = {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx"}
_OUTERMOST = _FIRST | {b"mfra", b"uuid", b"emsg", b"prft", b"meta"}
# Name of a table → offset of the number of entries in the table's body.
_TABLES = dict.fromkeys((b"stts", b"ctts", b"stsc", b"stco", b"co64", b"stss", b"trun"), 4) | {b"stsz": 8, b"stz2": 8}
_COUNTED = {b"hdlr", *_TABLES}
# An entry takes 40 bytes of FFmpeg's memory. 24 hours of AAC at 48 kHz have 4 million entries (frames).
_MAX_ENTRIES = 10_000_000
# FFmpeg divides PCM into blocks of at least 160 samples, mostly 1024. A block takes 24 bytes of FFmpeg's memory.
_BLOCK = 160
_MAX_BLOCKS = 16_000_000


class _Box(NamedTuple):
    """A box of an MP4 file, with its offsets in the file in bytes."""

    name: bytes
    depth: int
    """0 for a box at the top."""
    position: int
    body: int
    """Start of the content."""
    end: int
    """Stated end, possibly behind the end of the file."""


class _Track:
    """Counts what FFmpeg would keep in memory of a track: table entries and blocks of PCM."""

    def __init__(self) -> None:
        self.entries: Counter[bytes] = Counter()
        self.kinds: set[bytes] = set()
        self.steps: set[bytes] = set()
        """Number of entries and first duration of each ``stts`` table, in bytes."""
        self.longest_chunk = 0

    def add(self, file: BinaryIO, box: _Box) -> None:
        file.seek(box.body)
        head = file.read(16)
        if box.name == b"hdlr":
            self.kinds.add(head[8:12])
            return
        count = int.from_bytes(head[_TABLES[box.name] :][:4], "big")
        self.entries[box.name] += count
        if box.name == b"stts":
            self.steps.add(head[4:8] + head[12:])  # skips the number of samples of the first entry
        if box.name == b"stsc" and 0 < count <= _MAX_ENTRIES:
            file.seek(box.body + 8)
            content = file.read(12 * count)
            # Entries of three numbers: first chunk, samples in each chunk, description.
            table = np.frombuffer(content[: len(content) // 4 * 4], ">u4")  # the file may end within a number
            self.longest_chunk = max(self.longest_chunk, int(table[1::3].max(initial=0)))

    def count_in_memory(self) -> tuple[int, int]:
        # Return the numbers of table entries and of blocks of PCM.
        frames = self.entries[b"stsz"] + self.entries[b"stz2"]
        is_sound = b"soun" in self.kinds and not self.kinds & {b"vide", b"subp", b"clcp"}
        # FFmpeg treats a sound track as PCM if the track's only table of durations has one entry: a duration of 1
        # sample.
        is_pcm = is_sound and self.steps == {b"\0\0\0\1" * 2}
        entries = self.entries.total()
        if not is_pcm:
            return entries, 0
        chunks = self.entries[b"stco"] + self.entries[b"co64"]
        return entries - frames, chunks * -(-self.longest_chunk // _BLOCK)


def mp4_fault(file: BinaryIO) -> str | None:
    """Return the fault of an MP4 file, such as "is cut off: …"; None also for other formats.

    Faults are a box that ends behind the end of the file, a fragment without its data, far too many
    boxes, and too large tables: a few bytes can make FFmpeg take hundreds of megabytes.
    """
    size = file.seek(0, 2)
    tracks = [_Track()]  # the first item is for tables outside of tracks
    last = None
    for number, box in enumerate(_boxes(file, 0, size)):
        if number == 0 and box.name not in _FIRST:
            return None
        # A whole file always passes: its boxes have 45 bytes or more on average, even with a fragment for each frame.
        if number > (1 << 20) + size // 32:
            return f"has more than {number:,} boxes in {size:,} bytes"
        if box.depth == 0:
            last = box
            if box.end > size and (box.name in _OUTERMOST or len(box.name) < 4):
                return f"is cut off: its box at byte {box.position:,} lacks {box.end - size:,} bytes"
        if box.name == b"trak":
            tracks.append(_Track())
        elif box.name in _COUNTED:
            tracks[-1].add(file, box)
    # The data of a fragment (``moof``) follow in the next box.
    if last and last.name == b"moof":
        return f"is cut off: its fragment at byte {last.position:,} lacks its data"
    num_entries, num_blocks = np.sum([track.count_in_memory() for track in tracks], axis=0)
    limits = (("frames", num_entries, min(size, _MAX_ENTRIES)), ("blocks of PCM", num_blocks, _MAX_BLOCKS))
    for unit, count, limit in limits:
        if count > limit:
            return f"announces {count:,} {unit} in {size:,} bytes; at most {limit:,} are accepted"
    return None


def _boxes(file: BinaryIO, position: int, end: int, depth: int = 0) -> Iterator[_Box]:
    """Yield boxes, each before the boxes inside it, up to bytes that cannot be a box."""
    while position < end:
        file.seek(position)
        head = file.read(min(16, end - position))
        padded = head.ljust(16, b"\0")  # the file may end within the header of the box
        length = int.from_bytes(padded[:4], "big")
        header = 8
        if length == 1:  # the size follows, in 64 bits
            length = int.from_bytes(padded[8:], "big")
            header = 16
        elif length == 0:  # the box extends to the end of the file or of the box around it
            length = end - position
        # Fewer than 8 bytes that begin with 0 may be a large box cut off within its header; other bytes are no box.
        if length < header or (len(head) < 8 and head[0]):
            return
        yield _Box(head[4:8], depth, position, position + header, position + length)
        if head[4:8] in _ENTERED and depth < _DEEPEST:
            yield from _boxes(file, position + header, min(end, position + length), depth + 1)
        position += length


# Ids of elements of Matroska (RFC 9559, Sec. 5). An id outside of _KNOWN is a sign of damage.
_EBML = 0x1A45DFA3  # begins a file
_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_INFO = 0x1549A966
_KNOWN = {
    *(_EBML, _SEGMENT, _CLUSTER, _INFO),
    # Elements in a segment: seek head, tracks, cues, attachments, chapters and tags.
    *(0x114D9B74, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),
    # Elements in a cluster: timestamp, silent tracks, position, size of the previous cluster and kinds of blocks.
    *(0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF),
    # Elements that may be anywhere: void and CRC-32.
    *(0xEC, 0xBF),
}
# A file may have 2²⁰ elements, and one more for each 7 bytes of the file. The smallest block, which holds
# silence, has 7 bytes.
_MANY_ELEMENTS = 1 << 20
_ELEMENT_BYTES = 7


class _Element(NamedTuple):
    position: int
    """Offset in the file, as of ``body``."""
    id: int
    """0 for bytes that cannot be an element."""
    body: int
    """Start of the content."""
    size: int | None
    """Bytes of the content; None if the file was written to a pipe."""


def matroska_fault(file: BinaryIO) -> str | None:
    """Return the fault of a Matroska file, such as "is cut off: …"; None also for other formats.

    Elements must follow each other to the end of the file, or of a segment of stated size. A stream
    of unknown size may end behind any block.
    """
    size_of_file = file.seek(0, 2)
    for number, element in enumerate(_elements(file)):
        if number > _MANY_ELEMENTS + size_of_file // _ELEMENT_BYTES:
            return f"has more than {number:,} elements in {size_of_file:,} bytes"
        if element.id not in _KNOWN:
            return f"is damaged: no element of Matroska begins at byte {element.position:,}"
        if element.size is not None and element.body + element.size > size_of_file:
            missing = element.body + element.size - size_of_file
            return f"is cut off: its element at byte {element.position:,} lacks {missing:,} bytes"
    return None


def states_duration(file: BinaryIO) -> bool:
    """Whether a Matroska file states its duration, as one written to a pipe cannot."""
    for element in _elements(file):
        if element.id == _INFO:
            file.seek(element.body)
            return b"\x44\x89" in file.read(min(element.size or 0, 1 << 16))  # id of the element with the duration
        if element.id == _CLUSTER:  # the duration stands before the first cluster
            return False
    return False


def _elements(file: BinaryIO) -> Iterator[_Element]:
    """Yield the elements of a Matroska file, each before its inner elements; the last may be no element."""
    end = file.seek(0, 2)
    file.seek(0)
    if int.from_bytes(file.read(4), "big") != _EBML:
        return  # another format
    position = 0
    while position < end:
        file.seek(position)
        head = file.read(12)  # RFC 8794, Sec. 5 and 6
        # An id has 1 + n bytes, where n is the number of zero bits before the first 1 bit. The size is coded like the
        # id.
        id_bytes = 9 - head[0].bit_length()
        size_bytes = 9
        if id_bytes <= 4 and len(head) > id_bytes:
            size_bytes -= head[id_bytes].bit_length()
        if size_bytes > 8 or len(head) < id_bytes + size_bytes:
            yield _Element(position, 0, position, None)
            return
        unknown = (1 << 7 * size_bytes) - 1  # in an unknown size, all bits are 1
        stated = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & unknown
        size = None if stated == unknown else stated
        id = int.from_bytes(head[:id_bytes], "big")
        body = position + id_bytes + size_bytes
        yield _Element(position, id, body, size)
        position = body
        if id == _SEGMENT and size is not None:
            end = min(end, body + size)
        elif id not in (_SEGMENT, _CLUSTER):
            position += size or 0
