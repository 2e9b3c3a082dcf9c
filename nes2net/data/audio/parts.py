"""Define recordings in memory, and parts of recordings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    """What is read of a recording: a stretch of time, a channel, an audio track."""

    start: float = 0.0
    length: float | None = None  # None for all up to the end
    in_samples: bool = False  # start and length then count samples of the file, instead of seconds
    channel: int | None = None  # counted from 0; None for the mean of all
    row: str = field(default="the part", compare=False)  # list and line, for messages
    track: int = 0  # of a file with several audio tracks, counted from 0

    @property
    def is_stretch(self) -> bool:
        return bool(self.start) or self.length is not None

    def __str__(self) -> str:
        facts = []
        unit = ("s", "samples")[self.in_samples]
        if self.is_stretch:
            facts.append(f"from {self.start} {unit}")
        if self.length is not None:
            facts.append(f"lasts {self.length} {unit}")
        if self.channel is not None:
            facts.append(f"channel {self.channel}")
        if self.track:
            facts.append(f"audio track {self.track}")
        return ", ".join(facts)

    def choose(self, channel: int | None, track: int) -> RecordingPart:
        if self.channel is not None:
            channel = self.channel
        return replace(self, channel=channel, track=track or self.track)

    def of(self, path: str | Fetched) -> PartOf:
        return PartOf(path, self)


@dataclass(frozen=True, slots=True)
class PartOf:
    """A part of a recording."""

    recording: str | Fetched
    part: RecordingPart = RecordingPart()

    def __str__(self) -> str:
        return f"{self.recording}, {self.part}"

    def bounds(self, num_samples: int, rate: int) -> tuple[int, int]:
        """Return the first sample at ``rate`` and the one after the last, of a recording of ``num_samples``.

        Raises:
            InputError: if the recording is too short.
        """
        units = 1 if self.part.in_samples else rate  # in a second, or a sample
        tolerance = TOLERANCE * rate
        first = round(self.part.start * units)
        last = num_samples
        # A part from 0 on that is as long as the recording, to within 10 ms, is the whole recording.
        if self.part.length is not None:
            end = first + round(self.part.length * units)
            if first > 0 or abs(num_samples - end) > tolerance:
                last = end
        if first >= max(num_samples, 1) or last > num_samples + tolerance:
            raise InputError(
                f"lasts {num_samples / rate:.3f} s ({num_samples:,} samples), but {self.part.row} is {self.part}",
                subject=f"audio file {self.recording}",
                remedy="correct the row; if the file is already cut, rename the columns of the part",
            )
        return first, min(last, num_samples)


def choose(recording: str | Fetched | PartOf, channel: int | None = None, track: int = 0) -> str | Fetched | PartOf:
    """Choose a channel, unless it is None or ``recording`` names another one, and an audio track."""
    if channel is None and not track:
        return recording
    if isinstance(recording, PartOf):
        return PartOf(recording.recording, recording.part.choose(channel, track))
    return PartOf(recording, RecordingPart().choose(channel, track))
