"""Archives of a corpus: ZIP and tar files, as servers send them."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from builders.hostile import Case
from nes2net.machine.unpacking import unpack

_MB = 1 << 20


def _header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more: object) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    for key, value in more.items():
        setattr(entry, key, value)
    return entry.tobuf(tarfile.GNU_FORMAT)


def _tar(folder: Path, parts: Callable[[], Iterable[bytes]]) -> Path:
    """A small tar.gz file of ``parts``, which may be very long."""
    path = folder / "corpus.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        for part in parts():
            file.write(part)
        file.write(bytes(1024))
    return path


def _named(kind: bytes, size: int) -> Iterable[bytes]:
    """A member whose name, or whose pax header, has ``size`` bytes."""
    yield _header("././@LongLink", kind, size)
    yield from (b"a" * _MB for _ in range(size // _MB))
    yield _header("a", size=0)


def _long_name() -> Iterable[bytes]:
    yield _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 5000)
    yield (b"a" * 5000).ljust(5120, b"\0")
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


def _members(kind: bytes, count: int) -> Iterable[bytes]:
    yield from (_header(f"folder/{number}", kind) for number in range(count))


def _both(folder: Path, make: Callable[[Path, dict[str, bytes]], Path], names: tuple[str, str]) -> Path:
    return make(folder, dict.fromkeys(names, b"1"))


def _tar_of(folder: Path, files: dict[str, bytes]) -> Path:
    return _tar(folder, lambda: (_header(name, size=len(of)) + of.ljust(512, b"\0") for name, of in files.items()))


def _zip_of(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "corpus.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _overlapping(folder: Path, count: int, size: int) -> Path:
    """One member of ``size`` zeros, named ``count`` times in the directory."""
    path = _zip_of(folder, {"a": bytes(size)})
    content = path.read_bytes()
    at = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    directory = content[at:end] * count
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), at, 0)
    path.write_bytes(content[:at] + directory + last)
    return path


def _quoting(folder: Path, count: int, size: int) -> Path:
    """Members whose data is the headers of all later ones as they stand, and then ``size`` zeros that all share.

    Fifield, "A better zip bomb", WOOT 2019: stored blocks of DEFLATE quote the headers.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(bytes(size)) + deflate.flush()
    plain = bytes(size)
    directory = b""
    for number in reversed(range(count)):
        name = f"{number:04d}".encode()
        fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, zlib.crc32(plain), len(body), len(plain))
        header = b"PK\3\4" + fields + struct.pack("<HH", len(name), 0) + name
        directory += b"PK\1\2" + struct.pack("<H", 20) + fields
        directory += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
        quoted = header + body
        plain = header + plain
        body = b"\0" + struct.pack("<HH", len(header), len(header) ^ 0xFFFF) + quoted
    content = body[5:]
    places = [number * (len(header) + 5) for number in reversed(range(count))]
    for place, at in enumerate(places):
        start = place * (46 + 4) + 42
        directory = directory[:start] + struct.pack("<I", at) + directory[start + 4 :]
    last = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(content), 0)
    path = folder / "corpus.zip"
    path.write_bytes(content + directory + last)
    return path


def _nested(folder: Path) -> Path:
    """Ten archives in one, of 100 MB each."""
    (folder / "inner").mkdir()
    inner = _zip_of(folder / "inner", {"a": bytes(100 * _MB)}).read_bytes()
    return _zip_of(folder, {f"{number}.zip": inner for number in range(10)})


def _spoiled(folder: Path, content: bytes) -> Path:
    """A tar.xz file with another byte in its middle."""
    spoiled = bytearray(lzma.compress(content))
    spoiled[len(spoiled) // 2] ^= 255
    path = folder / "corpus.tar.xz"
    path.write_bytes(spoiled)
    return path


def _noise_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("a.bin")
        entry.size = 100_000
        archive.addfile(entry, io.BytesIO(bytes(range(200)) * 500))
    return out.getvalue()


def _unpacked(path: Path) -> int:
    return unpack(path, path.parent / "out", "unpacking")


_HEADER = "the header of a member has more than 65,536 bytes, or numbers of 100 digits"
_TARS: dict[str, tuple[Callable[[], Iterable[bytes]], str | None]] = {
    "a name of 256 MB": (partial(_named, tarfile.GNUTYPE_LONGNAME, 256 * _MB), _HEADER),
    "a link of 256 MB": (partial(_named, tarfile.GNUTYPE_LONGLINK, 256 * _MB), _HEADER),
    "a pax header of 256 MB": (partial(_named, tarfile.XHDTYPE, 256 * _MB), _HEADER),
    "a pax header for all of 256 MB": (partial(_named, tarfile.XGLTYPE, 256 * _MB), _HEADER),
    "holes without end": (partial(_sparse, 1 << 19), _HEADER),
    "digits without end": (_digits, _HEADER),
    "a name of 5,000 characters": (_long_name, "File name too long"),
    "20,000 folders": (partial(_members, tarfile.DIRTYPE, 20_000), "10,001 members"),
    "20,000 empty files": (partial(_members, tarfile.REGTYPE, 20_000), "10,001 members"),
    "a file of 8 GB": (lambda: [_header("a", size=(8 << 30) - 1)], r"8\.6 GB of members"),
}
CASES = [
    *(Case(f"tar, {name}", partial(_tar, parts=parts), _unpacked, says) for name, (parts, says) in _TARS.items()),
    *(
        Case(
            f"{make.__name__[1:4]}, {' and '.join(names)}", partial(_both, make=make, names=names), _unpacked, "hostile"
        )
        for make in (_tar_of, _zip_of)
        for names in (("a", "a/b"), ("a/b", "a"))
    ),
    Case("zip, overlapping", partial(_overlapping, count=1000, size=100 * _MB), _unpacked, r"1\.\d GB of members"),
    Case("zip, quoting", partial(_quoting, count=120, size=10 * _MB), _unpacked, r"1\.\d GB of members"),
    Case("zip, nested", _nested, _unpacked, None),
    Case(
        "zip, 20,000 empty files",
        lambda folder: _zip_of(folder, {f"f{n}": b"" for n in range(20_000)}),
        _unpacked,
        r"\d\d,\d\d\d members",
    ),
    Case("tar.xz, spoiled", lambda folder: _spoiled(folder, _noise_tar()), _unpacked, "cannot be unpacked"),
]
