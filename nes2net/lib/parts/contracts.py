"""Compare what a part of another package is and returns with its contract, and word the faults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from nes2net.lib.errors import BrokenPart, Explained, InputError, first_line, pluralise, short_repr
from nes2net.lib.process.this_process import is_out_of_memory


class Extension:
    """Base class of what other packages may provide."""

    subject: str = ""
    """Name and package of a part of another package, for messages; otherwise empty."""


@dataclass(frozen=True)
class PartCheck:
    """Calls the methods of the part ``subject``; a fault is a :class:`BrokenPart`."""

    subject: str

    def that(self, fits: bool, opening: str, value: Any, expected: str) -> None:
        """Raise :class:`BrokenPart` unless ``fits``; ``opening`` begins the sentence about ``value``."""
        if not fits:
            raise BrokenPart(
                f"{self.subject}: {opening} {describe_value(value)}; expected {expected}", remedy="correct the part"
            )

    def call(self, part: Any, method: str, *arguments: Any, **options: Any) -> Any:
        with blame_part(self.subject, method, InputError):
            return getattr(part, method)(*arguments, **options)

    def attributes(self, part: Any) -> None:
        """Check the types of the attributes that the class of nes2net above ``part`` declares."""
        from nes2net.lib.parts.options import attributes_of  # imported late, so that listing names needs no pydantic

        for name, option in attributes_of(part.__class__).items():
            value = getattr(part, name, None)
            self.that(option.fits(value), f"its attribute '{name}' is", value, option.takes)

    def shape(self, method: str, value: Any, shape: Sequence[int | None] = (), why: str = "") -> None:
        """Check the shape of a returned tensor, with None for any size; ``why`` explains it."""
        fits = hasattr(value, "isfinite") and len(value.shape) == len(shape)  # a NumPy array never fits
        fits = fits and all(expected in (None, size) for size, expected in zip(value.shape, shape))
        words = " × ".join("any" if size is None else str(size) for size in shape)
        self.that(fits, f"{method} returned", value, f"a tensor of {words or 'one number'}{why}")

    def tensor(self, method: str, value: Any, shape: Sequence[int | None] = (), why: str = "") -> None:
        """Check that a returned tensor has this :meth:`shape` and is finite."""
        self.shape(method, value, shape, why)
        self.that(
            bool(value.isfinite().all()), f"{method} returned NaN or infinity in", value, "a tensor of finite numbers"
        )

    def agree(self, opening: str, outputs: Iterable[Any], others: Iterable[Any], tolerance: float = 1e-4) -> None:
        """Check that tensors are equal up to ``tolerance`` times their largest number."""
        for output, other in zip(outputs, others):
            self.shape(opening, other, output.shape)
            difference = (output - other).abs().max().item()
            self.that(
                difference <= tolerance * output.abs().max().item(),
                f"{opening} differ by",
                difference,
                "the same numbers",
            )


@contextmanager
def blame_part(subject: str = "", method: str = "", *errors: type[Exception]) -> Iterator[None]:
    """Turn errors in the code of a part into :class:`BrokenPart`; those for users and of memory only with ``errors``.

    Without ``subject``, the last :class:`Extension` in the traceback is to blame, if it is of another
    package.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # the code of another package may raise any error
        last_line = ""  # the last line outside of nes2net and PyTorch
        package_folder = str(Path(__file__).parents[2])
        is_known = bool(subject)
        for frame, line in walk_tb(error.__traceback__):
            file = frame.f_code.co_filename
            if not file.startswith(package_folder) and "/torch/" not in file:
                last_line = f" ({Path(file).name}, line {line})"
            instance = frame.f_locals.get("self")
            if not is_known and isinstance(instance, Extension):
                subject = instance.subject
                method = frame.f_code.co_name
        is_for_user = isinstance(error, Explained) or is_out_of_memory(error)
        if not subject or isinstance(error, BrokenPart) or (is_for_user and not errors):
            raise
        problem = f"{method} raised {type(error).__name__}: {first_line(error)}"
        raise BrokenPart(f"{subject}: {problem}{last_line}", remedy="correct the part, or tell its author") from error


def check_rows(outputs: Any, count: int, subject: str = "the detector") -> None:
    """Raise :class:`BrokenPart` unless ``subject`` computed ``count`` rows, which are matched to recordings by their order."""
    if len(outputs) != count:
        raise BrokenPart(
            f"{subject}: {pluralise(outputs, 'row')} for a batch of {count}; expected one for each",
            remedy="correct its parts of other packages",
        )


def describe_value(value: Any) -> str:
    """Describe a value for a message.

    >>> import torch
    >>> describe_value(torch.zeros(2, 3)), describe_value(int), describe_value(None)
    ('a tensor (2, 3) of float32', 'int', 'None')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        words = "an array" if type(value).__name__ == "ndarray" else "a tensor"
        return f"{words} {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return getattr(value, "__name__", "") or short_repr(value)
