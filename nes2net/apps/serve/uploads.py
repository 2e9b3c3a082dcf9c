"""Manage the files that the page uploads: limit the size of the files, and remove old files."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nes2net.apps.serve.desk import UPLOADS, Desk, safe_suffix
from nes2net.apps.serve.guard import PATIENCE
from nes2net.lib.errors import readable_size
from nes2net.lib.http_server import Refused

_FORGOTTEN_AFTER = 300.0  # seconds until a file that belongs to no drop is removed
_DROP = "drop-"  # prefix of the name of a folder that holds the recordings of a drop


class Uploads:
    """Uploaded files that wait to be scored for the page.

    Gradio writes uploads into temporary files in :attr:`folder`. When a request is complete, Gradio
    moves the files to ``SHA-256/NAME`` in the folder. Uploads with the same content and name become
    a single file.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = (desk.folder / UPLOADS).resolve()
        #: Function that returns the path of each file in waiting and running drops, once for each
        #: drop that has the file.
        self.queued_paths: Callable[[], Iterable[str]] = tuple
        self._promised = 0  # number of bytes that running requests may still send
        self._running = 0  # number of requests that are sending files
        # Path of an uploaded file → number of running drops that have taken the file.
        self._taken_paths: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def reserve_room(self, length: int | None) -> Iterator[int]:
        """Reserve room for a request that uploads files; afterwards remove files that are not complete.

        Args:
            length: stated length of the request in bytes; None if the length is unknown.

        Yields:
            The largest number of bytes that the request may send.

        Raises:
            Refused: if the waiting files leave too little room for this request.
        """
        limits = self.desk.limits
        room = self.desk.most_present * limits.max_bytes
        num_bytes = limits.max_bytes if length is None else min(length, room)
        self.tidy()
        with self._lock:
            if self._bytes_waiting() + self._promised + num_bytes > room:
                raise Refused(503, f"busy: of {readable_size(room)} for files that wait, too little is free; try later")
            self._promised += num_bytes
            self._running += 1
        try:
            yield num_bytes
        finally:
            with self._lock:
                self._promised -= num_bytes
                self._running -= 1
            self.tidy()

    @contextmanager
    def move_to_drop(self, paths: Iterable[str]) -> Iterator[dict[str, Path]]:
        """Move the files of a drop to a folder that lasts as long as this context.

        A drop is a request to score these files. A file that another drop still needs is copied
        instead. The context manager yields a mapping from the old path of each file to its new
        path. The mapping omits a path if it is not an upload, or if its file was moved or removed
        before.
        """
        with self.desk.work_folder(_DROP) as folder:
            moved = {}
            with self._lock:
                num_drops = Counter(map(os.path.realpath, self.queued_paths())) - self._taken_paths
                for number, path in enumerate(dict.fromkeys(paths)):
                    source = Path(path).resolve()
                    if source.parent.parent == self.folder:
                        # Copy the file if another drop still has to take the same file.
                        copy_or_move = shutil.copyfile if num_drops[str(source)] > 1 else os.rename
                        target = folder / f"{number}{safe_suffix(source.name)}"
                        with suppress(OSError):
                            copy_or_move(source, target)
                            moved[path] = target
                taken_paths = Counter(map(os.path.realpath, moved))
                self._taken_paths += taken_paths
            self.tidy()
            try:
                yield moved
            finally:
                with self._lock:
                    self._taken_paths -= taken_paths

    def tidy(self, later: float = 0.0) -> None:
        """Remove unfinished and forgotten files; tests move the clock forward by ``later`` seconds."""
        now = time.time() + later
        with self._lock:
            queued = {os.path.realpath(path) for path in self.queued_paths()}
            for path in list(_files_below(self.folder)):
                with suppress(OSError):  # a drop may have moved the file meanwhile
                    status = path.stat()
                    age = now - max(status.st_mtime, status.st_ctime)
                    if path.parent == self.folder:  # a temporary file
                        is_unneeded = not self._running or age > 2 * PATIENCE
                    else:
                        is_unneeded = age > _FORGOTTEN_AFTER and str(path) not in queued
                    if is_unneeded:
                        path.unlink()
            if not self._running:  # Gradio may need an empty folder during a request
                for folder, _, _ in os.walk(self.folder, topdown=False):
                    if Path(folder) != self.folder:
                        with suppress(OSError):  # the folder is not empty
                            os.rmdir(folder)

    def _bytes_waiting(self) -> int:
        num_bytes = 0
        for folder in (self.folder, *self.desk.folder.glob(f"{_DROP}*")):
            for path in _files_below(folder):
                with suppress(OSError):
                    if path.parent != self.folder:  # `_promised` already counts temporary files
                        num_bytes += path.stat().st_size
        return num_bytes


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files in ``folder`` and its subfolders; other threads may remove some meanwhile."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)
