"""Whether an MP4 file (ISO 14496-12) is whole, and how many frames it announces.

FFmpeg lists all frames before it reads the first, and leaves out a fragment that was cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

# Those boxes of boxes in which FFmpeg reads tables.
_ENTERED = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"mvex", b"moof", b"traf"}
_DEEPEST = 10  # FFmpeg goes no deeper
_FIRST = {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx"}
_OUTERMOST = _FIRST | {b"mfra", b"uuid", b"emsg", b"prft", b"meta"}
# A fragment for each frame of speech takes 45 bytes a box.
_MANY_BOXES, _BOX_BYTES = 1 << 20, 32
# Table → where it counts its entries.
_TABLES = dict.fromkeys((b"stts", b"ctts", b"stsc", b"stco", b"co64", b"stss", b"trun"), 4) | {b"stsz": 8, b"stz2": 8}
_COUNTED = {b"hdlr", *_TABLES}
# Of 40 bytes of FFmpeg's memory each. 24 hours of AAC at 48 kHz have 4 million frames.
_MOST_ENTRIES = 10_000_000
# Samples of PCM are listed in blocks of 160 or more, mostly 1024, of 24 bytes of memory each.
_BLOCK, _MOST_BLOCKS = 160, 16_000_000
_NO_SOUND = {b"vide", b"subp", b"clcp"}


class _Box(NamedTuple):
    name: bytes
    depth: int
    position: int
    body: int
    """Where its content begins."""
    end: int
    """Where it says to end, maybe behind the end of the file."""


class _Track:
    def __init__(self) -> None:
        self.entries: Counter[bytes] = Counter()
        self.kinds: set[bytes] = set()
        self.steps: set[bytes] = set()
        """Of each table of durations: how many entries it has, and the first duration."""
        self.longest_chunk = 0
        """Frames."""

    def add(self, file: BinaryIO, box: _Box) -> None:
        """Count the entries of a table, or note what ``hdlr`` says that the track holds."""
        file.seek(box.body)
        head = file.read(16)
        if box.name == b"hdlr":
            self.kinds.add(head[8:12])
            return
        count = int.from_bytes(head[_TABLES[box.name] :][:4], "big")
        self.entries[box.name] += count
        if box.name == b"stts":
            self.steps.add(head[4:8] + head[12:])
        if box.name == b"stsc" and 0 < count <= _MOST_ENTRIES:
            file.seek(box.body + 8)
            table = np.frombuffer(file.read(12 * count), ">u4")
            self.longest_chunk = max(self.longest_chunk, int(table[1::3].max(initial=0)))

    def listed(self) -> tuple[int, int]:
        """Entries and blocks of PCM that FFmpeg lists."""
        frames = self.entries[b"stsz"] + self.entries[b"stz2"]
        is_pcm = b"soun" in self.kinds and not self.kinds & _NO_SOUND and self.steps == {b"\0\0\0\1" * 2}
        chunks = self.entries[b"stco"] + self.entries[b"co64"]
        blocks = chunks * -(-self.longest_chunk // _BLOCK) if is_pcm else 0
        return self.entries.total() - (frames if is_pcm else 0), blocks


def mp4_fault(file: BinaryIO) -> str | None:
    """The fault of an MP4 file, in words that follow its name; None if there is none or it is another format.

    A box that leads behind the end of the file is one, and so are tables for which FFmpeg would
    take hundreds of megabytes: a few bytes can announce a thousand million frames.
    """
    size = file.seek(0, 2)
    tracks = [_Track()]  # the first for what lies outside of tracks
    last = None
    for number, box in enumerate(_boxes(file, 0, size)):
        if number == 0 and box.name not in _FIRST:
            return None
        if number > _MANY_BOXES + size // _BOX_BYTES:
            return f"has more than {number:,} boxes in {size:,} bytes"
        if box.depth == 0:
            last = box
            if box.end > size and (box.name in _OUTERMOST or len(box.name) < 4):
                return f"is cut off: its box at byte {box.position:,} lacks {box.end - size:,} bytes"
        if box.name == b"trak":
            tracks.append(_Track())
        elif box.name in _COUNTED:
            tracks[-1].add(file, box)
    if last and last.name == b"moof":
        return f"is cut off: its fragment at byte {last.position:,} lacks its data"
    entries, blocks = map(sum, zip(*(track.listed() for track in tracks)))
    for count, what, most in ((entries, "frames", min(size, _MOST_ENTRIES)), (blocks, "blocks of PCM", _MOST_BLOCKS)):
        if count > most:
            return f"announces {count:,} {what} in {size:,} bytes; at most {most:,} are accepted"
    return None


def _boxes(file: BinaryIO, position: int, end: int, depth: int = 0) -> Iterator[_Box]:
    """The boxes from ``position`` to ``end``, each followed by those in it; what is none ends them."""
    while position < end:
        file.seek(position)
        head = file.read(min(16, end - position))
        padded = head.ljust(16, b"\0")  # as the file may end within it
        length, header = int.from_bytes(padded[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(padded[8:], "big"), 16
        elif length == 0:
            length = end - position
        if length < header or (len(head) < 8 and head[0]):
            return
        yield _Box(head[4:8], depth, position, position + header, position + length)
        if head[4:8] in _ENTERED and depth < _DEEPEST:
            yield from _boxes(file, position + header, min(end, position + length), depth + 1)
        position += length
