"""Files read within limits, and written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

from nes2net.errors import InputError, readable_size


@contextmanager
def replacing(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary file to write to, which replaces ``path`` at the end of this context.

    An interruption leaves the old file, or none. The file gets the permissions that the umask gives
    to new files, whatever wrote it. A symbolic link is replaced, and what it leads to stays: in a
    folder from elsewhere it may lead anywhere.

    Args:
        durable: whether this holds after a power cut too. The data is then on the disk before the
            file is renamed, and the new name before this returns. Waiting for the disk takes too
            long for many small files that can be made again.

    Raises:
        InputError: if ``path`` is a device, a pipe or a socket, which a file must not replace.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("a 0.5")
    >>> target.read_text(), [file.name for file in target.parent.iterdir()]
    ('a 0.5', ['scores.txt'])
    """
    path = Path(path)
    check_no_device(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != mode:  # safetensors replaces the file by one for its owner alone
            temporary.chmod(stat.S_IMODE(mode))
        if durable:
            _to_disk(temporary)
        os.replace(temporary, path)
        if durable and os.name == "posix":
            with suppress(OSError):  # some file systems cannot sync a folder
                _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def no_empty_folders(*paths: str | Path) -> Iterator[None]:
    """Remove at the end what was made meanwhile of ``paths`` and the folders above them, and is empty.

    Folders are made before the long work whose results go into them, and the work may fail.
    """
    above = (folder for path in map(Path, paths) for folder in (path, *path.parents))
    new = [folder for folder in dict.fromkeys(above) if not os.path.lexists(folder)]
    try:
        yield
    finally:
        for folder in sorted(new, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError, ValueError):  # it was not made, or is not empty, or no path
                folder.rmdir()


@contextmanager
def writing(path: str | Path, remedy: str = "name a file in a folder of yours") -> Iterator[None]:
    """Turn an :class:`OSError` in this context into an :class:`InputError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error


def check_no_device(path: str | Path) -> None:
    """Raise :class:`InputError` if ``path`` is, or leads to, anything but a file or a folder."""
    with suppress(OSError):  # nothing is there, or writing will say what is wrong
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{path}: is a device or a pipe, which cannot hold this output; name a file")


def check_writable(
    path: str | Path, remedy: str = "name a file in a folder that exists", *, stream: bool = False
) -> None:
    """Try whether a file can be written at ``path``, before hours are spent on what goes into it.

    Args:
        stream: whether it is written by :func:`write_output`, also to a device or a pipe.

    Raises:
        InputError: if ``path`` is a folder, or lies in none that can be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    if stream and _is_stream(path):
        return
    check_no_device(path)
    folder = Path(os.path.realpath(path)).parent if stream else path.parent
    with writing(path, remedy), TemporaryFile(dir=folder):
        pass


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sha256_of(*paths: str | Path) -> str:
    """Return the SHA-256 of the content of files, one after the other, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, as a whole or not at all, even in a power cut; make its folders.

    Raises:
        InputError: if the file cannot be written.
    """
    with writing(path), replacing(path, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_output(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to what a person has named as output, as a shell's ``>`` does.

    A file appears as by :func:`write_text`, and a symbolic link to it stays. A device or a pipe
    gets the text itself. So does the standard output of this process, ``/dev/stdout``, even if it
    is a file.

    Raises:
        InputError: if it cannot be written.
    """
    if not _is_stream(path):
        write_text(os.path.realpath(path) if os.path.islink(path) else path, text)
        return
    with writing(path), _stream(path) as stream:
        stream.write(text)


def _is_stream(path: str | Path) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode) or _own_stream(status) is not None


def _stream(path: str | Path) -> TextIO:
    own = _own_stream(os.stat(path))
    # Opened anew, a file behind /dev/stdout would be written from its start.
    opened = os.open(path, os.O_WRONLY) if own is None else os.dup(own)
    return open(opened, "w", encoding="utf-8")


def _own_stream(status: os.stat_result) -> int | None:
    """Find the descriptor of this process's output that ``status`` belongs to, and flush it."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        with suppress(OSError):  # closed
            if os.path.samestat(status, os.fstat(number)):
                if stream is not None:
                    stream.flush()
                return number
    return None


def json_text(content: Any, *, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """Write ``content`` as JSON, in which a number that is not finite becomes null.

    >>> json_text({"loss": float("nan"), "seconds": 1.5})
    '{"loss": null, "seconds": 1.5}'
    """
    try:
        return json.dumps(content, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
        return json.dumps(plain, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


_CHUNK = 1 << 24  # bytes read at once from what may not end


def read_bounded(path: str | Path, most: int, remedy: str = "give the path of a file") -> bytes:
    """Read a file of at most ``most`` bytes.

    Args:
        remedy: ends the message with what to do.

    Raises:
        InputError: if the file cannot be read or is longer, or if it is a named pipe, in which a
            reader would wait for ever. A pipe of the shell, such as ``<(command)``, is read.
    """
    if "\0" in str(path):
        raise InputError(f"{path}: no file has a null byte in its name; {remedy}")
    chunks: list[bytes] = []
    left = most + 1
    try:
        status = os.stat(path)
        if stat.S_ISFIFO(status.st_mode) and not os.path.realpath(path).startswith(("/proc/", "/dev/fd/")):
            raise InputError(f"{path}: is a named pipe, not a file or /dev/stdin; {remedy}")
        if status.st_size > most:
            left = 0
        with open(path, "rb", buffering=0) as file:
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                chunks.append(chunk)
                left -= len(chunk)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    if left <= 0:
        raise InputError(f"{path}: is longer than {readable_size(most)}; {remedy}")
    return b"".join(chunks)
