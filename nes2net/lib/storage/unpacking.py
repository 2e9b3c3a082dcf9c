"""Unpack untrusted ZIP and tar archives into a folder, within limits."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from stat import S_IFMT, S_ISLNK, S_ISREG
from typing import IO, Any, NamedTuple, cast

from nes2net.lib.errors import InputError, Unfinished, as_input_error, pluralise, short_repr
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.process.this_process import enough_memory
from nes2net.lib.storage.files import FULL_DISK, Budget, check_arrived, make_folder, path_below, replacing

#: Suffixes of the archives that :func:`unpack` reads.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_CHUNK = 1 << 20
_MB = 1_000_000
# An archive of recordings grows only a little when it is unpacked, so an archive that grows a
# hundredfold is hostile.
_MAX_GROWTH = 100  # largest number of unpacked bytes for each byte of the archive
_ALWAYS_ALLOWED = 1_000_000_000  # number of unpacked bytes that every archive may have
_BLOCK = 4096  # number of bytes on the disk that even an empty file or folder takes
_MEMBERS_ALWAYS_ALLOWED = 10_000  # number of files and folders that every archive may contain
# An archive with more than _MEMBERS_ALWAYS_ALLOWED members must have this number of bytes for each member.
_BYTES_OF_MEMBER = 256
_MAX_HEADER_BYTES = 1 << 16  # largest number of bytes of a member's header in a tar file, including a long name
_COMPRESSION: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class _Member(NamedTuple):
    name: str
    size: int
    open: Callable[[], IO[bytes]] | None
    """Opens the content of the file; None for a folder."""


def is_archive(name: str) -> bool:
    """Whether :func:`unpack` reads files with this name.

    >>> is_archive("flac_T_aa.tar"), is_archive("LA.ZIP"), is_archive("habla.rar")
    (True, True, False)
    """
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, folder: Path, title: str) -> int:
    """Unpack ``archive`` into ``folder`` and return the number of files in the archive.

    Files are complete or missing; those of the right size are skipped, so that the call can be
    repeated.

    Raises:
        InputError: if the archive cannot be read, is damaged or encrypted, has too many members,
            grows to more than 1 GB and a hundred times its size, or contains a link, a device, or a
            path that leads out of ``folder``.
        Unfinished: if the disk is full.
    """
    count = 0
    with as_input_error(f"{archive}: cannot be read", OSError, remedy="give the path of an archive"):
        size = archive.stat().st_size
    budget = Budget(
        str(archive),
        most_bytes=max(_ALWAYS_ALLOWED, _MAX_GROWTH * size),
        most_steps=max(_MEMBERS_ALWAYS_ALLOWED, size // _BYTES_OF_MEMBER),
        size=size,
        remedy="no archive of recordings grows like that; unpack it by hand if you trust it",
    )
    check_arrived(archive, packed=True)
    problem = f"{archive}: cannot be unpacked"
    too_large = f"{archive}: needs more memory than there is; unpack it by hand if you trust it"
    # A damaged archive can cause errors of any class.
    with (
        as_input_error(problem, Exception, remedy="remove it and run the same command again"),
        enough_memory(lambda: too_large),
    ):
        with open(archive, "rb") as file:
            with ProgressDisplay[Any](title=title, unit="MB", total=max(1, size // _MB)) as display:
                members_of = _zip_members if zipfile.is_zipfile(archive) else _tar_members
                for member in members_of(file, archive, budget):
                    target = _target_path(member.name, folder, archive)
                    if member.open is None:
                        with _explain_disk_errors(target, archive):
                            make_folder(target)
                        continue
                    count += 1
                    if not (target.is_file() and target.stat().st_size == member.size):
                        _write(member, target, archive)
                    display.facts = [pluralise(count, "file")]
                    display.update(max(0, file.tell() // _MB - display.done))
    return count


def _zip_members(file: IO[bytes], archive: Path, budget: Budget) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as zip_file:
        members = zip_file.infolist()
        for info in members:  # check all names and sizes before the first file is written
            _target_path(info.filename, Path(), archive)
            budget.take("members", bytes=info.file_size + _BLOCK, steps=1)
            kind = info.external_attr >> 16  # the mode of the file on Unix; 0 if the archive does not state a mode
            if S_ISLNK(kind) or (S_IFMT(kind) and not (info.is_dir() or S_ISREG(kind))):
                raise _refused_member(archive, info.filename, "a link or a device")
            if info.flag_bits & 1:  # encrypted
                raise InputError(f"{archive}: is encrypted; unpack it by hand with its password")
        for info in members:
            open_member = None if info.is_dir() else partial(zip_file.open, info)
            yield _Member(info.filename, info.file_size, open_member)


def _tar_members(file: IO[bytes], archive: Path, budget: Budget) -> Iterator[_Member]:
    beginning = file.read(8)
    file.seek(0)
    for magic, opener in _COMPRESSION.items():
        if beginning.startswith(magic):
            file = opener(file)
    with open_tar(file, str(archive)) as tar:
        for info in tar_headers(tar):
            budget.take("members", bytes=info.size + _BLOCK, steps=1)
            if info.isdir():
                yield _Member(info.name, 0, None)
            elif info.isfile() and not info.issparse():
                # cast: extractfile() returns None only for folders.
                yield _Member(info.name, info.size, cast(Any, partial(tar.extractfile, info)))
            else:
                raise _refused_member(archive, info.name, "a link or a device")


def open_tar(file: Any, name: str) -> tarfile.TarFile:
    """Open an uncompressed tar file for :func:`tar_headers`, with the same errors."""
    source: Any = _TarSource(file, name)
    return tarfile.open(fileobj=source, mode="r:")


def tar_headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar file without keeping earlier ones in memory.

    Raises:
        tarfile.TarError: if the file is damaged, or if the size of a member is below 0, with which
            Python before 3.11.14, 3.12.12 and 3.13.6 reads the same header for ever.
        InputError: if a header is longer than 64 kB; tarfile would read even a name of gigabytes.
    """
    source: Any = tar.fileobj  # a _TarSource, see open_tar()
    end = 0
    while True:
        source.left = _MAX_HEADER_BYTES
        entry = tar.next()
        source.left = None
        if entry is None:
            return
        if entry.size < 0 or tar.offset <= end:
            raise tarfile.ReadError("the size of a member is below 0")
        end = tar.offset
        yield entry
        tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all headers


class _TarSource:
    """Reads a file for tarfile, up to ``left`` bytes of a header (None while tarfile reads no header)."""

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self._name = name
        self.seek = file.seek
        self.tell = file.tell
        self.left: int | None = _MAX_HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        if self.left is None:
            return self._file.read(size)  # type: ignore[no-any-return]
        self.left -= size if size >= 0 else _MAX_HEADER_BYTES
        content = self._file.read(size) if self.left >= 0 else b""
        # In some versions of Python, tarfile reads long numbers slowly: the time grows with the
        # square of a number's length.
        if self.left < 0 or re.search(rb"\d{100}", content):
            raise InputError(
                f"{self._name}: the header of a member has more than {_MAX_HEADER_BYTES:,} bytes, or numbers of 100 digits: "
                "it is damaged or hostile; download it again"
            )
        return content


def _target_path(name: str, folder: Path, archive: Path) -> Path:
    folders = name.replace("\\", "/").split("/")
    # A colon may follow a drive of Windows.
    if name.startswith(("/", "\\")) or ".." in folders or ":" in folders[0] or "\0" in name or not any(folders):
        raise _refused_member(archive, name, "a path that leads out of the folder")
    *above, last = (name for name in folders if name not in ("", "."))
    return path_below(folder, *above) / last


def _refused_member(archive: Path, name: str, problem: str) -> InputError:
    return InputError(f"{archive}: {short_repr(name)} is {problem}: refused; unpack it by hand if you trust it")


def _write(member: _Member, target: Path, archive: Path) -> None:
    assert member.open is not None  # the caller makes the folders itself
    with (
        _explain_disk_errors(target, archive),
        member.open() as source,
        replacing(target) as temporary,
        open(temporary, "wb") as out,
    ):
        unread = member.size
        while block := source.read(min(_CHUNK, unread + 1)):
            unread -= len(block)
            if unread < 0:
                raise zipfile.BadZipFile(f"{member.name} is longer than it says")
            out.write(block)
        if unread:
            raise zipfile.BadZipFile(f"{member.name} is shorter than it says")


@contextmanager
def _explain_disk_errors(target: Path, archive: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # for a damaged archive, gzip raises an OSError without an error number
            raise
        reason = os.strerror(error.errno)
        problem = f"{target}: cannot be written ({reason})"
        if error.errno in FULL_DISK:
            raise Unfinished(problem, remedy="make room, and run the same command again") from error
        remedy = "correct that, and run the same command again"
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
            remedy = (
                "a file stands where a folder is needed, or the other way round. "
                f"Remove it; if {archive} holds both, it is damaged or hostile"
            )
        raise InputError(problem, remedy=remedy) from error
