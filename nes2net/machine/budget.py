"""What a file from outside may cost: bytes of memory, or of disk for an archive, and steps."""

from __future__ import annotations

from nes2net.errors import InputError, readable_size

_LEAST_BYTES, _GROWTH = 1 << 27, 16
_LEAST_STEPS, _BYTES_PER_STEP = 100_000, 64


class Budget:
    """Limits on what one file may grow to. All code that expands a part of the file takes from them first.

    Args:
        name: begins the message, such as ``shard FILE``.
        most_bytes: what the content may take where it is expanded to, usually in memory.
        most_steps: how many parts it may have that cost time one by one: rows, values, members.
        size: bytes of the file, for the message; None if the limits do not depend on it.
        remedy: ends the message with what to do.

    >>> budget = Budget("this file", most_bytes=1000, most_steps=10)
    >>> budget.take("rows", steps=9)
    >>> budget.take("text", bytes=2000)
    Traceback (most recent call last):
    nes2net.errors.InputError: this file was refused to save memory and time: it grows to 2.0 kB of text, and at most 1.0 kB are accepted
    """

    def __init__(
        self, name: str, most_bytes: int, most_steps: int, size: int | None = None, remedy: str | None = None
    ) -> None:
        self.name, self.size, self.remedy = name, size, remedy
        self.most_bytes, self.most_steps = most_bytes, most_steps
        self.bytes = self.steps = 0

    @classmethod
    def of(cls, name: str, size: int, remedy: str | None = None) -> Budget:
        """The budget of a file that is read into memory.

        A file of ``size`` bytes may take 16 times as many, and a step for every 64. A small file may
        take 128 MB (2²⁷ bytes) and 100,000 steps.
        """
        most_steps = max(_LEAST_STEPS, size // _BYTES_PER_STEP)
        return cls(name, max(_LEAST_BYTES, _GROWTH * size), most_steps, size, remedy)

    def take(self, what: str, *, bytes: int = 0, steps: int = 0) -> None:
        """Count what ``what`` is about to take.

        Raises:
            InputError: if that is more than is left.
        """
        self.bytes += bytes
        self.steps += steps
        if self.bytes > self.most_bytes:
            raise self._exceeded(f"{readable_size(self.bytes)} of {what}", readable_size(self.most_bytes))
        if self.steps > self.most_steps:
            raise self._exceeded(f"{self.steps:,} {what}", f"{self.most_steps:,}")

    def _exceeded(self, amount: str, limit: str) -> InputError:
        of_size = "" if self.size is None else f" of a file of {readable_size(self.size)}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return InputError(
            f"{self.name} was refused to save memory and time: it grows to {amount}, and at most {limit} are "
            f"accepted{of_size}{remedy}"
        )
