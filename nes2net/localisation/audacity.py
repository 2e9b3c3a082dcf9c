"""Label files of the audio editor Audacity: the segments of one recording.

A line has three fields separated by tabs, ``start end label``, times in seconds. A label over a
range of frequencies has a second line, a backslash and two frequencies (Audacity manual,
"Importing and Exporting Labels"); frequencies are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nes2net.errors import InputError, shown
from nes2net.localisation.rttm import seconds
from nes2net.localisation.segments import Segment
from nes2net.machine.files import write_text
from nes2net.machine.text_files import read_text


def read_audacity(path: str | Path) -> list[Segment]:
    """Read the segments of a label file, in its order. A label of a point has no length.

    Raises:
        InputError: if the file is missing or no text, or a line is malformed; the message names it.
    """
    path = Path(path)
    segments: list[Segment] = []
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip() or (text.startswith("\\") and segments):
            continue
        fields = text.split("\t", 2)
        if len(fields) < 2:
            raise InputError(
                f"{path}, line {line}: expected start, end and label with tabs between, found {shown(text)}"
            )
        start, end = (seconds(field.strip(), path, line, "time") for field in fields[:2])
        if end < start:
            raise InputError(f"{path}, line {line}: ends before it starts: {shown(text)}")
        segments.append(Segment("".join(fields[2:]).strip(), start, end))
    return segments


def audacity_text(segments: Iterable[tuple]) -> str:
    """Write the segments of a recording as the text of a label file, times with six decimals.

    White space within a label becomes one space. Scores are left out.

    >>> audacity_text([Segment("spoof", 0.5, 1.25)])
    '0.500000\\t1.250000\\tspoof\\n'
    """
    return "".join(f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n" for label, start, end, *_ in segments)


def write_audacity(path: str | Path, segments: Iterable[tuple]) -> None:
    """Write the segments of a recording as a label file, whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, audacity_text(segments))
