"""The limits of the server, which are flags of `nes2net serve`, too."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Annotated

from nes2net.lib.commands import Count, Flag
from nes2net.lib.errors import InputError

_MOST_WAITING = 30  # largest number of waiting recordings; a waiting recording occupies one of 40 threads


@dataclass(frozen=True)
class Limits:
    """Limits for a recording, and for the numbers of recordings that are scored at once and that wait."""

    max_size: Annotated[float, Flag("MB")] = 200.0
    """Largest size of an upload in MB (10⁶ bytes)."""
    max_duration: Annotated[float, Flag("S")] = 7200.0
    """Longest recording in seconds."""
    timeout: Annotated[float, Flag("S")] = 600.0
    """Longest processing time of a recording in seconds, counted from the beginning of decoding."""
    waiting: int = 8
    """Largest number of recordings that wait while other recordings are scored."""
    workers: Count = 1
    """Largest number of recordings that are scored at once, each by a thread; all use the same weights."""

    def __post_init__(self) -> None:
        """Raise :class:`InputError` if a limit is out of range."""
        for name, value in asdict(self).items():
            if not 0 < value < math.inf:
                raise InputError(f"`{name}` is a number above 0, not {value}")
        if self.waiting > _MOST_WAITING:
            raise InputError(f"`waiting` is at most {_MOST_WAITING}, not {self.waiting}")
        if self.max_duration > (longest := 12 * 3600):  # a WAV file holds at most four gigabytes
            raise InputError(f"`max_duration` is at most {longest} s, not {self.max_duration:g}")

    @property
    def max_bytes(self) -> int:
        """Largest size of an upload in bytes."""
        return int(self.max_size * 1e6)
