"""Compare what a part of another package is and returns with its contract, and word the faults."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from traceback import extract_tb
from typing import Any

from nes2net.lib.errors import BrokenPart, InputError, first_line, shown
from nes2net.lib.this_process import is_out_of_memory

#: Processor time in seconds after which no further length is tried.
_MOST_SECONDS = 0.15


class PartCheck:
    """Calls the methods of a part, and compares what they return with what its contract declares.

    Every fault is a :class:`BrokenPart` that names part, method, the expected and the found value.

    Args:
        subject: kind, name and package of the part.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._began = time.process_time()

    @property
    def in_time(self) -> bool:
        """Whether there is time for a further length."""
        return time.process_time() - self._began < _MOST_SECONDS

    def that(self, fits: bool, opening: str, value: Any, expected: str) -> None:
        """Raise :class:`BrokenPart` unless the ``value`` ``fits``; ``opening`` begins the sentence about the value."""
        if not fits:
            raise BrokenPart(f"{self.subject}: {opening} {described(value)}; expected {expected}")

    def call(self, method: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of the part."""
        try:
            with raised_by(self.subject, method):
                return function(*arguments, **options)
        except BrokenPart:
            raise
        except InputError as error:
            raise BrokenPart(f"{self.subject}: {method}: {error}") from error

    def count(self, name: str, value: Any) -> None:
        """Check the attribute ``name``, a whole number of at least 1."""
        fits = type(value) is int and value >= 1
        self.that(fits, f"its attribute '{name}' is", value, "a whole number of at least 1")

    def tensor(self, method: str, value: Any, words: str = "()", *shape: int | None) -> None:
        """Check a tensor of finite numbers that a method returned.

        Args:
            words: the shape in words, such as ``2×T×16``.
            shape: the sizes; None for any size of at least 1.
        """

        import torch  # imported late, because checks of corpora and commands need no torch

        returned = f"{method} returned"
        expected = f"a tensor of shape {words}"
        fits = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == len(shape)
        if fits:
            for size, wanted_size in zip(value.shape, shape):
                fits = fits and (size == wanted_size or (wanted_size is None and size > 0))
        self.that(fits, returned, value, expected)
        self.that(bool(value.isfinite().all()), returned, value, "finite numbers only")


@contextmanager
def raised_by(subject: str, method: str) -> Iterator[None]:
    """Within this context, which calls a ``method`` of a part, an error in its code becomes a :class:`BrokenPart`."""
    try:
        yield
    except InputError:
        raise
    except NotImplementedError as error:
        raise BrokenPart(f"{subject}: does not define {method} ({_place(error)})") from error
    except Exception as error:  # the code of another package may raise any error
        if is_out_of_memory(error):
            raise
        raise BrokenPart(
            f"{subject}: {method} raised {type(error).__name__}: {first_line(error)} ({_place(error)})"
        ) from error


def _place(error: Exception) -> str:
    """Find the line at fault: the last one outside of nes2net and its libraries, or else the last one."""
    frames = extract_tb(error.__traceback__)
    own_folder = str(Path(__file__).parents[1])
    for frame in reversed(frames):
        if "site-packages" not in frame.filename and not frame.filename.startswith(own_folder):
            break
    else:
        frame = frames[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"


def described(value: Any) -> str:
    """Describe a value in a few words, for a message: tensors and arrays by shape and type.

    >>> import torch
    >>> described(torch.zeros(2, 3)), described([torch.zeros(2)]), described(None)
    ('a tensor of shape (2, 3), float32', 'a list of 1 (a tensor of shape (2,), float32)', 'None')
    """
    words = {"Tensor": "a tensor", "Parameter": "a tensor", "ndarray": "an array"}.get(type(value).__name__)
    if words is not None and hasattr(value, "shape"):
        text = f"{words} of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
        return text if _is_finite(value) else f"{text}, with numbers that are not finite"
    if isinstance(value, (list, tuple)) and value:
        return f"a {type(value).__name__} of {len(value)} ({', '.join(map(described, islice(value, 3)))})"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {value.__name__}"
    return shown(value)


def _is_finite(value: Any) -> bool:
    """Whether all numbers of a tensor or an array are finite; other values count as finite."""
    if type(value).__name__ != "ndarray":
        return value.is_meta or bool(value.isfinite().all())
    return value.dtype.kind != "f" or bool((abs(value) < float("inf")).all())


def check_waveform(check: PartCheck, waveform: Any) -> None:
    """Check what an effect returned: samples (N,) in floating point."""
    is_array = type(waveform).__name__ == "ndarray" and waveform.ndim == 1 and waveform.dtype.kind == "f"
    fits = is_array and len(waveform) > 0 and _is_finite(waveform)
    check.that(fits, "a call returned", waveform, "an array of shape (N,), float32, with at least one finite sample")
