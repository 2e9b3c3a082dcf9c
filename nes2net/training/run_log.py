"""The file ``train.log``: every line of a run with its time."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import socket
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

import torch

from nes2net.lib.errors import InputError, one_line
from nes2net.lib.output.progress import LOGGER
from nes2net.lib.output.terminal import printable_name, say_aside
from nes2net.lib.process.this_process import processor_name, usable_processors
from nes2net.lib.storage.files import never_linked
from nes2net.version import __version__

LOG_FILE = "train.log"


class RunLog(logging.FileHandler):
    """Appends messages of :data:`nes2net.lib.output.progress.LOGGER` to ``path``, from :meth:`open` to :meth:`close`.

    If writing fails, one warning is printed, and the run continues.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._failed = False  # whether the warning was printed

    def open(self) -> None:
        """Append the logger's messages to the file from now on, and hide them from all other handlers."""
        self._before = LOGGER.level, LOGGER.propagate
        LOGGER.addHandler(self)
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False

    def close(self) -> None:
        if self in LOGGER.handlers:
            LOGGER.removeHandler(self)
            LOGGER.level, LOGGER.propagate = self._before
        with suppress(OSError):  # the disk may still be full
            super().close()

    def write(self, text: str) -> None:
        for line in text.splitlines():
            LOGGER.info("%s", printable_name(line))

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=never_linked)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except (OSError, InputError):  # the file cannot be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Print a warning for the first error only, instead of a traceback for each."""
        if not self._failed:
            self._failed = True
            error = sys.exc_info()[1]
            problem = error if isinstance(error, InputError) else f"{self.baseFilename} cannot be written ({error})"
            say_aside(f"warning: {problem}")


def device_name(device: torch.device) -> str:
    """Find the name of the GPU for CUDA, otherwise of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def circumstances(device: torch.device) -> list[str]:
    """List the first lines of a log: versions and host, command, folder, device."""
    versions = f"nes2net {__version__}, Python {platform.python_version()}, torch {torch.__version__}"
    threads = f"processors: {usable_processors()}, threads: {torch.get_num_threads()}"
    return [
        f"{versions}, process {os.getpid()} on {socket.gethostname()}",
        f"command: {one_line(shlex.join(sys.argv))}",
        f"folder: {Path.cwd()}",
        f"device: {device} ({device_name(device)}; {threads})",
    ]
