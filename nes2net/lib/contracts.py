"""Compare what a part of another package is and returns with its contract, and word the faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        except InputError as error:
            if isinstance(error, BrokenPart):
                raise
            raise BrokenPart(f"{self.subject}: {method}: {error}") from error

    def tensor(self, method: str, value: Any, *shape: int | None, why: str = "") -> None:
        """Check a tensor of finite numbers that a method returned.

        Args:
            shape: the sizes; None for any size.
            why: where the sizes come from, for the message.
        """
        fits = hasattr(value, "isfinite") and value.is_floating_point() and value.ndim == len(shape)
        fits = fits and all(wanted in (None, size) for size, wanted in zip(value.shape, shape))
        sizes = " × ".join("any" if size is None else str(size) for size in shape)
        expected = f"a tensor of {sizes or 'one number'}{why and f' ({why})'}"
        self.that(fits, f"{method} returned", value, expected)
        self.that(bool(value.isfinite().all()), f"{method} returned NaN or infinity in", value, "finite numbers")


@contextmanager
def raised_by(subject: str, method: str) -> Iterator[None]:
    """Within this context, which calls a ``method`` of a part, an error in its code becomes a :class:`BrokenPart`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the code of another package may raise any error
        if is_out_of_memory(error):
            raise
        problem = f"{method} raised {type(error).__name__}: {first_line(error)}"
        if isinstance(error, NotImplementedError):
            problem = f"does not define {method}"
        # Name the last line outside of nes2net and PyTorch.
        own_folder = str(Path(__file__).parents[1])
        lines = [line for line in extract_tb(error.__traceback__) if not line.filename.startswith(own_folder)]
        lines = [line for line in lines if "/torch/" not in line.filename]
        place = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
        raise BrokenPart(f"{subject}: {problem}{place}") from error


def described(value: Any) -> str:
    """Describe a value for a message: tensors and arrays by shape and type.

    >>> import torch
    >>> described(torch.zeros(2, 3)), described([torch.zeros(2)]), described(None)
    ('a tensor (2, 3) of float32', 'a list of 1', 'None')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        words = "an array" if type(value).__name__ == "ndarray" else "a tensor"
        return f"{words} {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, (list, tuple)) and any(hasattr(item, "shape") for item in value):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return shown(value)
