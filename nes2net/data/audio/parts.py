"""Define recordings in memory, and parts of recordings."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from nes2net.lib.errors import InputError

#: Seconds by which a stated duration may differ from that of the recording.
TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class RecordingBytes:
    """The content of an audio file in memory, with a name for messages."""

    name: str
    content: bytes
    suffix: str | None = None
    """With the dot; None stands for that of ``name``."""

    def __str__(self) -> str:
        return self.name


#: A recording that can be opened many times: a file, or the content of a file.
Fetched: TypeAlias = Path | RecordingBytes


@dataclass(frozen=True, slots=True)
class RecordingPart:
    """The part of a recording that an utterance is."""

    start: float = 0.0
    length: float | None = None  # None for all up to the end
    in_samples: bool = False  # start and length then count samples of the file, instead of seconds
    channel: int | None = None  # counted from 0; None for the mean of all
    row: str = field(default="the part", compare=False)  # list and line, for messages

    def __str__(self) -> str:
        unit = ("s", "samples")[self.in_samples]
        text = f"from {self.start} {unit}"
        if self.length is not None:
            text += f", lasts {self.length} {unit}"
        if self.channel is not None:
            text += f", channel {self.channel}"
        return text

    def of(self, path: str | Fetched) -> PartOf:
        return PartOf(path, self)


@dataclass(frozen=True, slots=True)
class PartOf:
    """A part of a recording."""

    recording: str | Fetched
    part: RecordingPart

    def __str__(self) -> str:
        return f"{self.recording}, {self.part}"

    def samples(self, rate: int) -> tuple[int, int]:
        """Return the first sample at ``rate``, and the one after the last."""
        if self.part.in_samples:
            rate = 1
        first = round(self.part.start * rate)
        if self.part.length is None:
            return first, sys.maxsize
        return first, first + round(self.part.length * rate)

    def bounds(self, num_samples: int, rate: int) -> tuple[int, int]:
        """Return :meth:`samples`; raise InputError if a file of ``num_samples`` is too short."""
        first, last = self.samples(rate)
        tolerance = TOLERANCE * rate
        # A part from 0 on that is as long as the recording, to within 10 ms, is the whole recording.
        if last == sys.maxsize or (first == 0 and abs(num_samples - last) <= tolerance):
            last = num_samples
        if first >= num_samples or last > num_samples + tolerance:
            raise InputError(
                f"lasts {num_samples / rate:.3f} s ({num_samples:,} samples), but {self.part.row} is {self.part}",
                subject=f"audio file {self.recording}",
                remedy="correct the row; if the file is already cut, rename the columns of the part",
            )
        return first, min(last, num_samples)


@dataclass(frozen=True, slots=True)
class ChannelOf:
    """One channel of a recording, in place of their mean."""

    recording: str | Fetched | PartOf
    channel: int  # counted from 0

    def __str__(self) -> str:
        return f"{self.recording}, channel {self.channel}"
