"""Files that the page has sent: how many bytes may come, and when the files go."""

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
from nes2net.apps.serve.guard import PATIENCE, Refused
from nes2net.lib.errors import readable_size

_FORGOTTEN = 300.0  # seconds after which nobody asks any more for the score of a file that was sent
_DROP = "drop-"  # beginning of the names of folders that hold the recordings of one drop


class Uploads:
    """Files that wait to be scored for the page.

    Gradio writes what comes into temporary files in :attr:`folder`. When a request is complete, it
    moves them to ``SHA-256/NAME``, where uploads with the same content and name are one file.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.folder = (desk.folder / UPLOADS).resolve()
        #: Returns the paths in the drops that wait or have begun; a path comes once for each drop.
        self.named: Callable[[], Iterable[str]] = tuple
        self._promised = 0  # bytes that may still come
        self._running = 0  # requests that send files
        self._lock = threading.Lock()

    @contextmanager
    def promised(self, length: int | None) -> Iterator[int]:
        """Reserve room for a request that states this length; its end removes what it leaves unfinished.

        Raises:
            Refused: if it is too large, or there is no room now.
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
        """Take files of a drop to a folder of its own, which is removed at the end of this context.

        Paths that are not uploads or were taken already are left out.
        """
        with self.desk.work_folder(_DROP) as folder:
            moved: dict[str, Path] = {}
            drops = Counter(map(os.path.realpath, self.named()))
            for number, path in enumerate(dict.fromkeys(paths)):
                source = Path(path).resolve()
                if source.parent.parent == self.folder:
                    # The same file may have been dropped into a second page, whose drop waits.
                    take = shutil.copyfile if drops[str(source)] > 1 else os.rename
                    target = folder / f"{number}{safe_suffix(source.name)}"
                    with suppress(OSError):
                        take(source, target)
                        moved[path] = target
            self.tidy()
            yield moved

    def tidy(self, later: float = 0.0) -> None:
        """Remove unfinished files, and files that are forgotten ``later`` seconds from now."""
        now = time.time() + later
        with self._lock:
            queued = {os.path.realpath(path) for path in self.named()}
            for path in list(_files(self.folder)):
                with suppress(OSError):  # it was taken meanwhile
                    status = path.stat()
                    age = now - max(status.st_mtime, status.st_ctime)
                    if path.parent == self.folder:  # a temporary file
                        over = not self._running or age > 2 * PATIENCE
                    else:
                        over = age > _FORGOTTEN and str(path) not in queued
                    if over:
                        path.unlink()
            if not self._running:  # Gradio makes a folder, and then moves a file to it
                for folder, _, _ in os.walk(self.folder, topdown=False):
                    if Path(folder) != self.folder:
                        with suppress(OSError):  # it is not empty
                            os.rmdir(folder)

    def _held(self) -> int:
        """Bytes of all files that wait or are being scored."""
        num_bytes = 0
        for folder in (self.folder, *self.desk.folder.glob(f"{_DROP}*")):
            for path in _files(folder):
                with suppress(OSError):
                    if path.parent != self.folder:  # files that are being written were promised
                        num_bytes += path.stat().st_size
        return num_bytes


def _files(folder: Path) -> Iterator[Path]:
    """All files below ``folder``, which others may change meanwhile."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)
