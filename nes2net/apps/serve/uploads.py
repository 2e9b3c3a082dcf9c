"""Files uploaded by the page: limit their size, and remove them."""

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

_FORGOTTEN = 300.0  # seconds after which a file that is in no drop is removed
_DROP = "drop-"  # prefix of the folders that hold the recordings of one drop


class Uploads:
    """Uploaded files that wait to be scored for the page.

    Gradio writes uploads into temporary files in :attr:`folder`. When a request is complete, Gradio
    moves them to ``SHA-256/NAME``, where uploads with the same content and name are one file.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = (desk.folder / UPLOADS).resolve()
        #: Function that returns the paths in waiting and running drops; a path is listed once for each drop.
        self.named: Callable[[], Iterable[str]] = tuple
        self._promised = 0  # bytes that running requests may still send
        self._running = 0  # number of requests that are sending files
        self._lock = threading.Lock()

    @contextmanager
    def promised(self, length: int | None) -> Iterator[int]:
        """Reserve room for a request of ``length`` bytes, None if unknown; afterwards remove unfinished files.

        Raises:
            Refused: if there is not enough room now.
        """
        limits = self.desk.limits
        room = (limits.waiting + 1) * limits.max_bytes
        num_bytes = limits.max_bytes if length is None else min(length, room)
        self.tidy()
        with self._lock:
            if self._held() + self._promised + num_bytes > room:
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
    def taken(self, paths: Iterable[str]) -> Iterator[dict[str, Path]]:
        """Move the files of a drop to a folder of its own, which is removed at the end of this context.

        The result maps a path to the new path. Paths that are not uploads, or were taken already, are
        left out.
        """
        with self.desk.work_folder(_DROP) as folder:
            moved: dict[str, Path] = {}
            drops = Counter(map(os.path.realpath, self.named()))
            for number, path in enumerate(dict.fromkeys(paths)):
                source = Path(path).resolve()
                if source.parent.parent == self.folder:
                    # Copy the file if another waiting drop has the same file.
                    take = shutil.copyfile if drops[str(source)] > 1 else os.rename
                    target = folder / f"{number}{safe_suffix(source.name)}"
                    with suppress(OSError):
                        take(source, target)
                        moved[path] = target
            self.tidy()
            yield moved

    def tidy(self, later: float = 0.0) -> None:
        """Remove unfinished and forgotten files, as if ``later`` seconds had passed."""
        now = time.time() + later
        with self._lock:
            queued = {os.path.realpath(path) for path in self.named()}
            for path in list(_files(self.folder)):
                with suppress(OSError):  # a drop may have taken the file meanwhile
                    status = path.stat()
                    age = now - max(status.st_mtime, status.st_ctime)
                    if path.parent == self.folder:  # a temporary file
                        over = not self._running or age > 2 * PATIENCE
                    else:
                        over = age > _FORGOTTEN and str(path) not in queued
                    if over:
                        path.unlink()
            if not self._running:  # during a request, Gradio needs a folder that is still empty
                for folder, _, _ in os.walk(self.folder, topdown=False):
                    if Path(folder) != self.folder:
                        with suppress(OSError):  # the folder is not empty
                            os.rmdir(folder)

    def _held(self) -> int:
        """Bytes of all files that wait or are being scored."""
        num_bytes = 0
        for folder in (self.folder, *self.desk.folder.glob(f"{_DROP}*")):
            for path in _files(folder):
                with suppress(OSError):
                    if path.parent != self.folder:  # temporary files are counted as promised
                        num_bytes += path.stat().st_size
        return num_bytes


def _files(folder: Path) -> Iterator[Path]:
    """All files below ``folder``, which other threads may change meanwhile."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)
