"""Counts how often files are opened: in this process by Python, or in a program by any of its libraries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_counters: list[Counter[str]] = []


@cache
def _watch_opens() -> None:
    # Such a hook stays until the process ends.
    def count(event: str, arguments: tuple) -> None:
        if _counters and event == "open" and isinstance(arguments[0], (str, os.PathLike)):
            name = os.path.abspath(arguments[0])
            for counter in _counters:
                counter[name] += 1

    sys.addaudithook(count)


@contextmanager
def counted_opens() -> Iterator[Counter[str]]:
    """Count the files that are opened in this context: absolute path → number."""
    _watch_opens()
    counter: Counter[str] = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def of_lists(opens: Counter[str], folder: Path) -> dict[str, int]:
    """The files of text below ``folder`` in ``opens``, by name."""
    lists = {}
    for name, number in opens.items():
        path = Path(name)
        if path.is_relative_to(folder) and path.suffix in (".csv", ".txt"):
            lists[path.name] = number
    return lists


def read_by_program(program: str, folder: Path) -> Counter[str]:
    """Run ``program`` in Python in ``folder``; count what its process opens for reading: path → number."""
    trace = folder / "trace.txt"
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=open,openat", "-o", trace]
    subprocess.run([*strace, sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)
    return Counter(re.findall(r'AT_FDCWD, "(.*)", O_RDONLY\|O_CLOEXEC\) = ', trace.read_text()))
