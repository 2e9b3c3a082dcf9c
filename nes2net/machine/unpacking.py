"""Unpacking of ZIP and tar archives of others, into one folder and within limits."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from stat import S_IFMT, S_ISLNK
from typing import IO, Any, NamedTuple

from nes2net.errors import InputError, Unfinished, counted, readable_size, shown
from nes2net.machine.files import replacing
from nes2net.machine.progress import ProgressDisplay

#: Suffixes of the archives that :func:`unpack` reads.
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_CHUNK = 1 << 20
_MB = 1_000_000
# An archive of recordings grows a little; one that grows a hundredfold is a trap.
_MOST_GROWTH, _ALWAYS_ALLOWED = 100, 1_000_000_000
_MOST_MEMBERS = 20_000_000


class _Member(NamedTuple):
    """``open`` gives its content; None if it is a folder."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None


def is_archive(name: str) -> bool:
    """Whether the name is that of an archive that can be unpacked here.

    >>> is_archive("flac_T_aa.tar"), is_archive("LA.ZIP"), is_archive("habla.rar")
    (True, True, False)
    """
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, folder: Path, title: str) -> int:
    """Unpack ``archive`` into ``folder`` and return the number of its files.

    Each file appears whole or not at all. One that is there already with the same size is left as
    it is, so an interrupted call can be repeated.

    Raises:
        InputError: if the archive is damaged or encrypted, holds a path that leads out of
            ``folder``, a link or a device, or grows to more than a hundred times its size.
        Unfinished: if the disk is full.
    """
    count = written = 0
    most = max(_ALWAYS_ALLOWED, _MOST_GROWTH * archive.stat().st_size)
    with _readable(archive), open(archive, "rb") as file:
        total = max(1, archive.stat().st_size // _MB)
        with ProgressDisplay[Any](title=title, unit="MB", total=total) as display:
            for member in (_of_zip if zipfile.is_zipfile(archive) else _of_tar)(file, archive):
                target = _place(member.name, folder, archive)
                if member.open is None:
                    with _room_for(target):
                        target.mkdir(parents=True, exist_ok=True)
                    continue
                count += 1
                written += member.size
                if written > most or count > _MOST_MEMBERS:
                    raise InputError(
                        f"{archive}: grows to more than {readable_size(most)} or {_MOST_MEMBERS:,} files, which no archive of "
                        "recordings does; unpack it by hand if you trust it"
                    )
                if not (target.is_file() and target.stat().st_size == member.size):
                    _write(member, target)
                display.facts = [counted(count, "file")]
                display.update(max(0, file.tell() // _MB - display.done))
    return count


def _of_zip(file: IO[bytes], archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:
        members = opened.infolist()
        for info in members:  # all names, before the first file is written
            _place(info.filename, Path(), archive)
            kind = info.external_attr >> 16
            if S_ISLNK(kind) or (S_IFMT(kind) and not (info.is_dir() or S_IFMT(kind) == 0o100000)):
                raise _refused(archive, info.filename, "a link or a device")
            if info.flag_bits & 1:
                raise InputError(f"{archive}: is encrypted; unpack it by hand with its password")
        for info in members:
            yield _Member(info.filename, info.file_size, None if info.is_dir() else partial(opened.open, info))


def _of_tar(file: IO[bytes], archive: Path) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, mode="r:*") as opened:
        for info in opened:
            if info.isdir():
                yield _Member(info.name, 0, None)
            elif info.isfile() and not info.issparse():
                yield _Member(info.name, info.size, partial(_content, opened, info))
            else:
                raise _refused(archive, info.name, "a link or a device")
            opened.members = []  # type: ignore[attr-defined]  # else it keeps all of them


def _content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = opened.extractfile(info)
    assert content is not None  # of a file
    return content


def _place(name: str, folder: Path, archive: Path) -> Path:
    """Where a member goes, in ``folder`` or below."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name or not any(parts):
        raise _refused(archive, name, "a path that leads out of the folder")
    return folder.joinpath(*(part for part in parts if part not in ("", ".")))


def _refused(archive: Path, name: str, what: str) -> InputError:
    return InputError(f"{archive}: {shown(name)} is {what}: refused; unpack it by hand if you trust it")


def _write(member: _Member, target: Path) -> None:
    assert member.open is not None
    with _room_for(target), member.open() as source, replacing(target) as temporary, open(temporary, "wb") as out:
        left = member.size
        while block := source.read(min(_CHUNK, left + 1)):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.name} is longer than it says")
            out.write(block)
        if left:
            raise zipfile.BadZipFile(f"{member.name} is shorter than it says")


@contextmanager
def _room_for(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # of the archive: gzip says so by an OSError
            raise
        raise Unfinished(
            f"{target}: cannot be written ({os.strerror(error.errno)}); make room, and run the same command again"
        ) from error


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InputError(
            f"{archive}: cannot be unpacked ({error or type(error).__name__}); remove it and run the same command again"
        ) from error
