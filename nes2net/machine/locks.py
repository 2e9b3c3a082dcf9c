"""A lock that one process at a time can hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nes2net.errors import InputError
from nes2net.machine.files import no_empty_folders

if sys.platform != "win32":
    import fcntl


@contextmanager
def exclusive_lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; it is released even if the process is killed.

    The file is made for the lock and removed with it. So is a folder that was made for it, if it is
    empty then. Processes forked meanwhile do not hold the lock. Nothing is locked if the file system
    has no locks, or if the file cannot be made: then nothing else can be written there either.

    Raises:
        InputError: if another process holds the lock; ``refusal`` is the message.
    """
    with no_empty_folders(path.parent):
        held = _acquire(path, refusal)
        try:
            yield
        finally:
            if held is not None:
                path.unlink(missing_ok=True)
                os.close(held)


def _acquire(path: Path, refusal: str) -> int | None:
    if sys.platform == "win32":  # without this kind of lock
        return None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            if not path.parent.exists():
                continue  # the last holder removed the empty folder meanwhile
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(file)
            raise InputError(refusal) from None
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)  # the last holder removed the file after it was opened here: make a new one
