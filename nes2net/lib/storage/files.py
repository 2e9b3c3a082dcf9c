"""Read files within limits, replace files atomically, and lock a file for one process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, TypeAlias

from nes2net.lib.errors import InputError, as_input_error, concerning, readable_size, refuse
from nes2net.lib.output.terminal import printable, standard_output

if sys.platform != "win32":
    import fcntl

#: Error numbers of a full file system, of a full quota, and of a file that is larger than the process may write.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: The path of a file or folder, as a caller may name it.
AnyPath: TypeAlias = str | Path


@dataclass
class Budget:
    """Limits the memory and the time for reading a file; each part is counted before it is expanded.

    Args:
        name: beginning of messages, such as ``shard FILE``.
        most_bytes: largest size in bytes of the expanded content.
        most_steps: largest number of rows, values, members or similar parts that cost time.
        size: size of the file in bytes, if the limits depend on it.

    >>> budget = Budget("a file", most_bytes=1000, most_steps=10)
    >>> budget.take("rows", steps=9)
    >>> budget.take("text", bytes=2000)
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: a file was refused to save memory and time: it grows to 2.0 kB of text, and at most 1.0 kB are accepted
    """

    name: str
    most_bytes: int
    most_steps: int
    size: int | None = None
    remedy: str | None = None
    bytes: int = 0
    steps: int = 0

    @classmethod
    def of(cls, name: str, size: int, remedy: str | None = None) -> Budget:
        """Allow a file of ``size`` bytes 16 · ``size`` bytes (at least 2²⁷) and ``size`` / 64 steps (at least 100,000)."""
        # Assumptions: far above what real files need.
        return cls(name, max(1 << 27, 16 * size), max(100_000, size // 64), size, remedy)

    def take(self, content: str, *, bytes: int = 0, steps: int = 0) -> None:
        """Count the ``bytes`` and ``steps`` of parts before they are expanded; ``content`` names the parts in messages.

        Raises:
            InputError: if the file exceeds a limit.
        """
        self.bytes += bytes
        self.steps += steps
        if self.bytes > self.most_bytes:
            raise self._exceeded(f"{readable_size(self.bytes)} of {content}", readable_size(self.most_bytes))
        if self.steps > self.most_steps:
            raise self._exceeded(f"{self.steps:,} {content}", f"{self.most_steps:,}")

    def _exceeded(self, amount: str, limit: str) -> InputError:
        of_size = "" if self.size is None else f" of a file of {readable_size(self.size)}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return InputError(
            f"{self.name} was refused to save memory and time: it grows to {amount}, and at most {limit} are "
            f"accepted{of_size}{remedy}"
        )


@contextmanager
def replacing(path: AnyPath, *, durable: bool = False, in_series: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary file to write, which replaces ``path`` at the end of this context unless an error is raised.

    A symbolic link is replaced, not its target, which may be any file.

    Args:
        durable: survive a power cut: data are on the disk before the file is renamed, and its new
            name before the context ends. :func:`remove_leftovers` for ``path`` comes first.
        in_series: one of many durable files in a folder. The caller removes leftovers first, and
            writes the last file without ``in_series``, to wait until all names are on the disk.
        mode: permissions, restricted by the umask.

    Raises:
        InputError: if ``path`` is a device, a pipe or a socket.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("a 0.5")
    >>> target.read_text(), [file.name for file in target.parent.iterdir()]
    ('a 0.5', ['scores.txt'])
    """
    path = Path(path)
    check_no_device(path)
    make_folder(path.parent)
    if durable and not in_series:
        remove_leftovers(path.parent, path.name)
    temporary, lock = _temporary_beside(path, mode)
    try:
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(stat.S_IMODE(mode))  # safetensors replaces the file by one that only the owner can read
        if durable:
            _sync_to_disk(temporary)
        os.replace(temporary, path)
        if durable and not in_series and os.name == "posix":
            with suppress(OSError):  # some file systems cannot sync a folder
                _sync_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def _temporary_beside(path: Path, mode: int) -> tuple[Path, int | None]:
    """Make and lock a temporary file with a random name, so that nobody can put a link under this name beforehand.

    Returns:
        The path, and the descriptor that holds the lock (None on Windows).
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        if sys.platform == "win32":  # Windows cannot rename an open file
            os.close(descriptor)
            return temporary, None
        _lock_while_alive(descriptor)
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # another process removed the file as a leftover before this process locked it


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the file ``path``, and remove it at the end; first remove leftovers for ``path``."""
    make_folder(path.parent)
    remove_leftovers(path.parent, path.name)
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as folder:
        if sys.platform == "win32":
            yield Path(folder)
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _lock_while_alive(descriptor)
            yield Path(folder)
        finally:
            os.close(descriptor)


def _lock_while_alive(descriptor: int) -> None:
    """Lock an open file or folder, waiting if necessary; held until all copies of the descriptor are closed."""
    # While a temporary file is locked, remove_leftovers does not remove it. locked() uses this lock, too.
    if sys.platform != "win32":
        with suppress(OSError):  # the file system has no locks; remove_leftovers then removes nothing
            fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Lock an open file, if locks are possible; released even if a process that was forked meanwhile has it open."""
    _lock_while_alive(descriptor)
    try:
        yield
    finally:
        if sys.platform != "win32":
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)


#: Name of a temporary file or folder; group 1 is the name of the file for which it was made.
_LEFTOVER = re.compile(r"\.(.+)\.\w+\.tmp")


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove from ``folder`` temporary files and folders of ended processes: all, or only those for the file ``name``.

    Those of living processes are locked, and stay. On Windows and without locks, all stay.
    """
    if sys.platform == "win32":
        return
    try:
        entries = os.listdir(folder)
    except OSError:  # there is no such folder; or it cannot be read, and the caller gets an error when it writes there
        return
    leftovers = [match for entry in entries if (match := _LEFTOVER.fullmatch(entry))]
    for leftover in (folder / match[0] for match in leftovers if name is None or match[1] == name):
        with suppress(OSError):  # the file is locked, belongs to another user, or is a link
            mode = leftover.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                continue
            # On some file systems, a file can be locked only if it is open for writing.
            access = os.O_RDONLY if stat.S_ISDIR(mode) else os.O_RDWR
            descriptor = os.open(leftover, access | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISDIR(mode):
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            finally:
                os.close(descriptor)


def never_linked(path: AnyPath, flags: int) -> int:
    """Open ``path`` like :func:`os.open`, as an ``opener`` for :func:`open`.

    Raises:
        InputError: if ``path`` is a link, which may lead to any file, or a pipe, which would wait
            for its other end.
    """
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError:
        check_not_linked(path)
        check_no_device(path)
        raise
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # check_no_device() then raises
        os.close(descriptor)
        check_no_device(path)
    return descriptor


def check_not_linked(path: AnyPath) -> None:
    """Raise :class:`InputError` if ``path`` is a symbolic link."""
    if os.path.islink(path):
        raise InputError(f"{path}: is a link, so writing would change a file in another place: remove the link")


def path_below(folder: AnyPath, *names: str) -> Path:
    """Join ``names`` to ``folder``; raise :class:`InputError` if one is a link, which a stranger may have made."""
    path = Path(folder)
    for name in names:
        path /= name
        check_not_linked(path)
    return path


#: Absolute paths of the folders that :func:`make_folder` has made.
_MADE_HERE: set[str] = set()


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, and record them for :func:`no_empty_folders`."""
    missing = [
        os.path.abspath(folder_above) for folder_above in (folder, *folder.parents) if not os.path.lexists(folder_above)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _MADE_HERE.update(missing)


@contextmanager
def no_empty_folders(*paths: AnyPath) -> Iterator[None]:
    """Remove new folders among ``paths`` and their parents that are empty at the end, because long work failed.

    Only folders of :func:`make_folder` are removed.
    """
    above = (folder for path in map(Path, paths) for folder in (path, *path.parents))
    new_folders = [folder for folder in dict.fromkeys(above) if not os.path.lexists(folder)]
    try:
        yield
    finally:
        made_here = [folder for folder in new_folders if os.path.abspath(folder) in _MADE_HERE]
        # Inner folders first.
        for folder in sorted(made_here, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):  # the folder is not empty
                folder.rmdir()


def writing(
    path: AnyPath, remedy: str = "name a file in a folder that you may write to"
) -> AbstractContextManager[None]:
    """Make a context in which an :class:`OSError` becomes an :class:`InputError` with ``path`` and ``remedy``."""
    return as_input_error(f"{path}: cannot be written", OSError, remedy=remedy)


def check_no_device(path: AnyPath) -> None:
    """Raise :class:`InputError` if ``path`` is a device, a pipe or a socket, or a link to one of them."""
    with suppress(OSError):  # there is no such file, or the caller gets an error when it writes the file
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{path}: is a device or a pipe, which cannot hold this output; name a file")


def check_writable(path: AnyPath, remedy: str = "name a file in a folder that exists", *, stream: bool = False) -> None:
    """Check that ``path`` can be written, before hours are spent on its content.

    Args:
        stream: allow a device or a pipe, because :func:`write_output` will write.

    Raises:
        InputError: if ``path`` is empty, a folder, or a device or a pipe without ``stream``, or if
            its folder cannot be written to.
    """
    refuse(
        (not str(path), f"an output has an empty name; {remedy}"),
        (os.path.isdir(path), f"{path}: is a folder; name a file to write"),
    )
    path = Path(path)
    if stream and is_stream(path):
        return
    check_no_device(path)
    folder = Path(os.path.realpath(path)).parent if stream else path.parent  # write_output keeps links
    with writing(path, remedy), TemporaryFile(dir=folder):
        pass


def _sync_to_disk(path: Path) -> None:
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, access)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(*paths: AnyPath) -> str:
    """Compute the hexadecimal SHA-256 of the joined content of ``paths``."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def changed_error(path: AnyPath) -> InputError:
    return InputError(
        f"{path}: was replaced or changed while it was read; do not change it, and run the same command again"
    )


class Unchanged:
    """Notices files that change while they are read; devices and pipes are not compared."""

    def __init__(self, *paths: AnyPath) -> None:
        self._stamps = {path: _stamp(path) for path in paths}

    def check(self) -> None:
        """Raise :class:`InputError` if a file was replaced or changed since this object was made."""
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise changed_error(path)

    def digests(self) -> dict[AnyPath, str]:
        """Map each path to its SHA-256 ("" for a device, a pipe or a missing file); raise as :meth:`check`."""
        self.check()
        digests = {path: sha256_of(path) if stamp else "" for path, stamp in self._stamps.items()}
        self.check()
        return digests


def _stamp(path: AnyPath) -> tuple[int, ...]:
    """Return numbers that change if a file is written or replaced; empty for a device, a pipe or a missing file."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    if not stat.S_ISREG(status.st_mode):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


_NOT_UTF8 = (
    "backslashreplace"  # how to write bytes of a file name that are not UTF-8: escaped, as a terminal shows them
)


def write_text(path: AnyPath, text: str) -> None:
    """Write ``text`` in UTF-8 to ``path``, atomically and durably, or raise :class:`InputError`; make missing folders."""
    with writing(path), replacing(path, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=_NOT_UTF8)


def write_output(path: AnyPath, text: str) -> None:
    """Write ``text`` in UTF-8 to the output that a user has named, as a shell's ``>`` does.

    Files are replaced, but links stay. A device, a pipe and our standard output (``/dev/stdout``)
    are written to directly.

    Raises:
        InputError: if the output cannot be written.
    """
    if not is_stream(path):
        target = os.path.realpath(path) if os.path.islink(path) else path
        write_text(target, text)
        return
    with writing(path):
        own_stream = _standard_stream_of(os.stat(path))
        # Opening /dev/stdout, if it is a file, would overwrite it from the start: use the open descriptor.
        file_number = os.open(path, os.O_WRONLY) if own_stream is None else os.dup(own_stream)
        with open(file_number, "w", encoding="utf-8", errors=_NOT_UTF8) as stream:
            stream.write(text)


def is_stream(path: AnyPath) -> bool:
    """Whether ``path`` is a device, a pipe, or the standard output or error of this process."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode) or _standard_stream_of(status) is not None


def _standard_stream_of(status: os.stat_result) -> int | None:
    """Return 1 or 2 if the file is our standard output or error, which is flushed for direct writing; otherwise None."""
    for number, stream in ((1, standard_output()), (2, sys.stderr)):
        with suppress(OSError):  # the stream is closed
            if os.path.samestat(status, os.fstat(number)):
                if stream is not None:
                    stream.flush()
                return number
    return None


def json_text(content: Any, *, indent: int | None = None) -> str:
    """Write ``content`` as printable JSON, in ASCII without ``indent``; numbers that are not finite become null.

    >>> json_text({"loss": float("nan"), "seconds": 1.5})
    '{"loss": null, "seconds": 1.5}'
    """
    dumps = partial(json.dumps, indent=indent, ensure_ascii=indent is None, allow_nan=False)
    try:
        text = dumps(content)
    except ValueError:
        text = dumps(json.loads(json.dumps(content), parse_constant=lambda _: None))
    return printable(text)


def write_json(path: AnyPath, content: Any) -> None:
    """Write :func:`json_text` with line breaks by :func:`write_text`."""
    write_text(path, json_text(content, indent=1) + "\n")


def is_absent(path: AnyPath) -> bool:
    """Whether nothing has the name ``path``, not even a dangling link."""
    return not os.path.lexists(path)


def has_no_file(path: AnyPath) -> bool:
    """Whether ``path`` names nothing, or a folder."""
    return is_absent(path) or os.path.isdir(path)


_START = 512  # number of bytes at the start of a file that are examined for a Git LFS pointer or a web page
_CHUNK = 1 << 24  # number of bytes that are read at once, because a file may be endless
#: First bytes of a packed file → its kind.
PACKED = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}


def read_bounded(path: AnyPath, max_bytes: int, remedy: str = "give the path of a file") -> bytes:
    """Read a file of at most ``max_bytes`` bytes.

    Raises:
        InputError: if the file cannot be read, is longer, contains a Git LFS pointer or a web page
            (:func:`check_arrived`), or is a named pipe, which might never end. A pipe of the shell,
            such as ``<(command)``, is allowed.
    """
    if "\0" in str(path):
        raise InputError(f"{path}: its name has a null byte, which no file name may have; {remedy}")
    chunks = []
    unread = max_bytes + 1  # try to read one byte too many, to notice a file that is too long
    try:
        status = os.stat(path)
        if stat.S_ISFIFO(status.st_mode) and not os.path.realpath(path).startswith(("/proc/", "/dev/fd/")):
            raise InputError(f"{path}: is a named pipe, not a file or /dev/stdin; {remedy}")
        if status.st_size > max_bytes:
            unread = 0  # read nothing
        with open(path, "rb", buffering=0) as file:
            while unread > 0 and (chunk := file.read(min(unread, _CHUNK))):
                chunks.append(chunk)
                unread -= len(chunk)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    if unread <= 0:
        raise InputError(f"{path}: is longer than {readable_size(max_bytes)}, the most that is read here; {remedy}")
    content = b"".join(chunks)
    check_arrived(path, content[:_START], packed=True)
    return content


def check_arrived(path: AnyPath, start: bytes | None = None, *, packed: bool = False) -> None:
    """Raise :class:`InputError` if a file is a Git LFS pointer, a web page, empty or packed instead of data.

    Args:
        start: the first bytes of the file; None to read them here, without an error if that fails.
        packed: accept an empty or packed file.
    """
    if start is None:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return
            with open(path, "rb") as file:
                start = file.read(_START)
        except (OSError, ValueError):
            return
    text = start[:_START].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    with concerning(f"{path}:"):
        if not start and not packed:
            raise InputError("is empty", remedy="write, copy or download it again")
        refuse(
            (
                start.startswith(b"version https://git-lfs.github.com/spec/"),
                "is a Git LFS pointer, not the file itself: run `git lfs pull`, or download the file",
            ),
            (
                text.startswith((b"<!doctype html", b"<html")),
                "is a web page (HTML), not the file itself: open its address, and download the file",
            ),
        )
        if not packed:
            refuse(*((start.startswith(mark), f"is {kind}: unpack it") for mark, kind in PACKED.items()))


@contextmanager
def exclusive_lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; the lock is released even if the process is killed.

    Creates the file and, if needed, its folder; removes both on release. Forked processes do not
    hold the lock. Without locks, or in a folder that cannot be written to, nothing is locked.
    Raises :class:`InputError` with the message ``refusal`` if another process holds the lock, or if
    ``path`` is a link.
    """
    with no_empty_folders(path.parent):
        lock = _acquire(path, refusal)
        try:
            yield
        finally:
            if lock is not None:
                # In this order, or another process could lock a file that is then removed.
                path.unlink(missing_ok=True)
                os.close(lock)


#: File in a folder in which a process writes (:func:`writing_folder`); left behind if the process was killed.
FOLDER_LOCK = ".writing.lock"


@contextmanager
def writing_folder(folder: Path) -> Iterator[None]:
    """Make ``folder``, remove leftovers, and write there alone; raise :class:`InputError` if another process does."""
    with writing(folder, "name another folder"):
        make_folder(folder)
    refusal = f"another process is writing to {folder}: wait for its end, or name another folder"
    with exclusive_lock(folder / FOLDER_LOCK, refusal):
        remove_leftovers(folder)
        yield


def _acquire(path: Path, refusal: str) -> int | None:
    """Lock the file ``path`` and return its descriptor; None if it cannot be made or locked."""
    if sys.platform == "win32":  # Windows has no locks of the kind that fcntl sets
        return None
    while True:
        try:
            make_folder(path.parent)
        except OSError:
            return None
        try:
            file = never_linked(path, os.O_RDWR | os.O_CREAT)
        except OSError:
            if not path.parent.exists():
                continue  # the previous holder of the lock removed the empty folder meanwhile
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
            if os.path.samestat(os.fstat(file), os.lstat(path)):
                return file
        os.close(file)  # the previous holder removed the file after this process opened it: make a new file
