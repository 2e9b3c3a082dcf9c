"""What several tests build: corpora, checkpoints, reports, and reference numbers."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

#: The folder of real recordings, scores and weights, which need not be there.
SHARED = Path(os.environ.get("NES2NET_SHARED", Path(__file__).resolve().parents[3] / "shared"))

#: Seconds after which a test takes what it waits for to hang. So many are enough on a machine that does ten other things.
PATIENCE = 900.0

#: For tests of the page: without importing what takes seconds in every process that collects them.
needs_serve = pytest.mark.skipif(find_spec("fastapi_offline") is None, reason="the extra 'serve' is not installed")


def shared_path(*names: str) -> Path:
    """A file or folder below SHARED; the test skips if it is absent."""
    path = SHARED.joinpath(*names)
    if not path.exists():
        pytest.skip(f"nothing at {path} (set NES2NET_SHARED)")
    return path


def wait(for_what):
    """Wait until ``for_what()``."""
    end = time.monotonic() + PATIENCE
    while not for_what():
        assert time.monotonic() < end
        time.sleep(0.05)


def slow(*values) -> list[Any]:
    """Values, or tuples of values, of a test that has faster ones."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.slow) for v in values]


def some(values: Iterable[Any], size: int = 3) -> list[Any]:
    """Values of many alike, of which the fast tests try the first of each ``size``, and CI all."""
    return [slow(value)[0] if number % size else value for number, value in enumerate(values)]


@contextmanager
def input_error(message: str | None = None) -> Iterator[pytest.ExceptionInfo]:
    """The block raises an InputError of one line that matches ``message``."""
    from nes2net.lib.errors import InputError

    with pytest.raises(InputError, match=message) as error:
        yield error
    assert "\n" not in str(error.value)


def assert_near(actual, expected, atol: float):
    """Tensors of one shape and type differ by at most ``atol``."""
    import torch

    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)
