"""The limits of the server, which are flags of `nes2net serve`, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nes2net.lib.shell.commands import Count, Flag, Ranged, Seconds


@dataclass(frozen=True)
class Limits(Ranged):
    """Limits for a recording, and for the numbers of recordings that are scored at once and that wait."""

    max_size: Annotated[float, Flag("MB", minimum=0.001)] = 200.0
    """Largest size of an upload in MB (10⁶ bytes)."""
    max_duration: Annotated[float, Flag("S", minimum=0.001, maximum=12 * 3600)] = 7200.0
    """Longest recording in seconds; a WAV file holds at most four gigabytes."""
    timeout: Seconds = 600.0
    """Longest processing time of a recording in seconds, counted from the beginning of decoding."""
    waiting: Annotated[int, Flag(minimum=1, maximum=30)] = 8
    """Largest number of recordings that wait while other recordings are scored; each occupies a thread."""
    workers: Count = 1
    """Largest number of recordings that are scored at once, each by a thread; all use the same weights."""

    @property
    def max_bytes(self) -> int:
        """Largest size of an upload in bytes."""
        return int(self.max_size * 1e6)
