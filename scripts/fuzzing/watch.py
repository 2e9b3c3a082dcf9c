"""Watch a process for what no attempt may do: change files elsewhere, start a program, use the network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Audit events of starting programs and of the network.
_RUNNING = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
)
_NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "urllib.Request")
#: Audit events whose first arguments are paths that change.
_CHANGING: tuple[str, ...] = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.link",
)
_CHANGING += ("os.symlink", "os.utime", "shutil.rmtree", "shutil.move")


def watch(folder: Path, events: list[str]):
    """Watch this process from now on, and add what it must not do to ``events``.

    These are changes outside ``folder``, starts of programs, and uses of the network. The process
    changes to ``folder``, and its standard error is dropped.
    """
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries print warnings about spoiled files
    inside = str(folder.resolve()) + os.sep

    def is_outside(path):
        if not isinstance(path, str | bytes):  # a number of an open file
            return False
        absolute_path = os.path.abspath(os.fsdecode(path))
        return (
            not (absolute_path + os.sep).startswith(inside)
            and absolute_path != os.devnull
            and "__pycache__" not in absolute_path
        )

    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITING and is_outside(path):
                events.append(f"open for writing: {path!r}")
        elif event in _CHANGING:
            paths = arguments[:2] if event in ("os.rename", "os.link", "shutil.move") else arguments[:1]
            if any(map(is_outside, paths)):
                events.append(f"{event} {paths!r}")
        elif event in _RUNNING or event in _NETWORK:
            events.append(f"{event} {arguments!r}"[:500])

    sys.addaudithook(hook)
