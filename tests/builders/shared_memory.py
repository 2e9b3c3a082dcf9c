"""A machine with little shared memory, such as a container of Docker with its 64 MB."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from builders import PATIENCE


def with_shared_memory(size: str, command: list[str]) -> list[str]:
    """The command that runs ``command`` with a /dev/shm of ``size``, in a mount namespace of its own.

    The test is skipped where that is not permitted: it needs Linux and root.
    """
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    try:
        tried = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, timeout=PATIENCE)
    except OSError as error:
        pytest.skip(f"no small /dev/shm without unshare ({error})")
    if tried.returncode:
        pytest.skip(f"a small /dev/shm needs root: {tried.stderr.decode().strip()}")
    return ["unshare", "-m", "sh", "-c", f"{mount} && exec {shlex.join(command)}"]
