"""Files that appear complete or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from nes2net.errors import InputError


@contextmanager
def replacing(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary file to write to, which replaces ``path`` at the end of this context.

    An interruption leaves the old file, or none. The file gets the permissions that the umask gives
    to new files, whatever wrote it.

    Args:
        durable: whether this holds after a power cut too. The data is then on the disk before the
            file is renamed, and the new name before this returns. Waiting for the disk takes too
            long for many small files that can be made again.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("a 0.5")
    >>> target.read_text(), [file.name for file in target.parent.iterdir()]
    ('a 0.5', ['scores.txt'])
    """
    path = Path(path)
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
def writing(path: str | Path, remedy: str = "name a file in a folder of yours") -> Iterator[None]:
    """Turn an :class:`OSError` in this context into an :class:`InputError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error


def check_writable(path: str | Path, remedy: str = "name a file in a folder that exists") -> None:
    """Try whether a file can be written at ``path``, before hours are spent on what goes into it.

    Raises:
        InputError: if ``path`` is a folder, or lies in none that can be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    with writing(path, remedy), TemporaryFile(dir=path.parent):
        pass


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    digest = hashlib.sha256()
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
