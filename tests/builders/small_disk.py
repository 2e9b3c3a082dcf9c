"""A disk that is full."""

from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(size: int = 100):
    """Let this process, and those that it starts, write only files of ``size`` bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
