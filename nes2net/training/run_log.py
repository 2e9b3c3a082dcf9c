"""The file ``train.log``: every line of a run with its time."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import sys
import time
from pathlib import Path

import torch

from nes2net.lib.errors import InputError, one_line
from nes2net.lib.output.terminal import STORES, printable_name, say_aside
from nes2net.lib.process.this_process import processor_name, usable_processors
from nes2net.lib.storage.files import never_linked
from nes2net.version import __version__

LOG_FILE = "train.log"


class RunLog:
    """Appends the lines of :data:`nes2net.lib.output.terminal.STORES` to ``path``, from :meth:`open` to :meth:`close`.

    If writing fails, one warning is printed, and the run continues.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failed = False  # whether the warning was printed

    def open(self) -> None:
        STORES.append(self.write)

    def close(self) -> None:
        if self.write in STORES:
            STORES.remove(self.write)

    def write(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = [f"{stamp} {printable_name(line)}\n" for line in text.splitlines()]
        try:
            with open(self.path, "a", encoding="utf-8", opener=never_linked) as file:
                file.writelines(lines)
        except (OSError, InputError) as error:
            if not self._failed:
                self._failed = True
                problem = error if isinstance(error, InputError) else f"{self.path} cannot be written ({error})"
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
