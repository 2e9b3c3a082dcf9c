"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nes2net.errors import InputError


@contextmanager
def replacing(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to, which takes its place in the end; an interruption leaves the old file or none.

    Whatever writes it, the file gets the permissions that the umask gives to new files.

    Args:
        durable: also after a power cut: what was written is on the disk before it takes the place, and the new name before this returns.
            It takes the disk's time, too long for many small files that can be made again.

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
        if temporary.stat().st_mode != mode:  # safetensors makes a file of its own, for its owner alone
            temporary.chmod(stat.S_IMODE(mode))
        if durable:
            _to_disk(temporary)
        os.replace(temporary, path)
        if durable and os.name == "posix":
            with suppress(OSError):  # a file system that has no such thing
                _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all, power cuts included; folders are made.

    :class:`InputError` if it cannot be written.
    """
    try:
        with replacing(path, durable=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name a file in a folder of yours") from error
