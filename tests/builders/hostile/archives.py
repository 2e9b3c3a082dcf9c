"""Archives of a corpus: ZIP and tar files, as servers send them."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from builders.hostile import Case, cases
from nes2net.machine.unpacking import unpack

_MB = 1 << 20


def _header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def _tar(parts: Callable[[], Iterable[bytes]]) -> Callable[[Path], Path]:
    """A small tar.gz file of ``parts``, which may be very long."""

    def make(folder: Path) -> Path:
        with gzip.open(folder / "corpus.tar.gz", "wb", 1) as file:
            file.writelines(parts())
            file.write(bytes(1024))
        return folder / "corpus.tar.gz"

    return make


def _long_name(size: int) -> Iterable[bytes]:
    yield _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, size)
    yield from (b"a" * min(_MB, size) for _ in range(max(1, size // _MB)))
    yield bytes(-size % 512)
    yield _header("a")


def _sparse(blocks: int) -> Iterable[bytes]:
    """A member with ``blocks`` times 21 holes."""
    first = bytearray(_header("a", tarfile.GNUTYPE_SPARSE))
    first[482] = 1  # more of them follow
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first[:512])
    yield bytes(first)
    block = (b"%011o\0%011o\0" % (1, 1)) * 21 + b"\1" + bytes(7)
    yield from (block * 2048 for _ in range(blocks // 2048))


def _digits() -> Iterable[bytes]:
    """Pax headers of digits, for which some versions of Python take a time that is quadratic in their number."""
    for _ in range(4):
        yield _header("pax", tarfile.XHDTYPE, 60_000)
        yield (b"1" * 60_000).ljust(60_416, b"\0")
    yield _header("a")


def _zip(names: Iterable[str], content: bytes = b"") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "corpus.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, content)
        return folder / "corpus.zip"

    return make


def _overlapping(folder: Path) -> Path:
    """One member of 100 MB of zeros, named a thousand times in the directory."""
    path = _zip(["a"], bytes(100 * _MB))(folder)
    content = path.read_bytes()
    at = content.index(b"PK\1\2")
    directory = content[at : content.index(b"PK\5\6")] * 1000
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1000, 1000, len(directory), at, 0)
    path.write_bytes(content[:at] + directory + last)
    return path


def _spoiled(folder: Path) -> Path:
    """A tar.xz file with another byte in its middle."""
    member = _header("a.bin", size=100_000) + bytes(range(200)) * 500
    spoiled = bytearray(lzma.compress(member.ljust(102_400, b"\0")))
    spoiled[len(spoiled) // 2] ^= 255
    path = folder / "corpus.tar.xz"
    path.write_bytes(spoiled)
    return path


def _unpacked(path: Path) -> int:
    return unpack(path, path.parent / "out", "unpacking")


_HEADER = "the header of a member has more than 65,536 bytes, or numbers of 100 digits"
_TARS: dict[str, tuple[Callable[[], Iterable[bytes]], str]] = {
    "a name of 256 MB": (lambda: _long_name(256 * _MB), _HEADER),
    "holes without end": (lambda: _sparse(1 << 19), _HEADER),
    "digits without end": (_digits, _HEADER),
    "a name of 5,000 characters": (lambda: _long_name(5000), "File name too long"),
    "20,000 empty files": (lambda: (_header(f"f/{number}") for number in range(20_000)), "10,001 members"),
    "a file of 8 GB": (lambda: [_header("a", size=(8 << 30) - 1)], r"8\.6 GB of members"),
    "a file, then a folder": (lambda: [_header("a"), _header("a/b")], "hostile"),
    "a folder, then a file": (lambda: [_header("a/b"), _header("a")], "hostile"),
}
CASES: list[Case] = [
    *cases(_unpacked, {name: (_tar(parts), says) for name, (parts, says) in _TARS.items()}, "tar: "),
    Case("zip: overlapping", _overlapping, _unpacked, r"1\.\d GB of members"),
    Case("zip: 20,000 empty files", _zip(map(str, range(20_000))), _unpacked, r"\d\d,\d\d\d members"),
    Case("tar.xz: spoiled", _spoiled, _unpacked, "cannot be unpacked"),
]
