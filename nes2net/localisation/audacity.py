"""Label files of the audio editor Audacity: the segments of one recording.

A line has three fields separated by tabs, ``start end label``, times in seconds. A label over a
range of frequencies would have a second line (Audacity manual, "Importing and Exporting Labels").
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nes2net.machine.files import write_text


def audacity_text(segments: Iterable[tuple]) -> str:
    """Write the segments of a recording as the text of a label file, times with six decimals.

    White space within a label becomes one space. Scores are left out.

    >>> audacity_text([("spoof", 0.5, 1.25)])
    '0.500000\\t1.250000\\tspoof\\n'
    """
    return "".join(f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n" for label, start, end, *_ in segments)


def write_audacity(path: str | Path, segments: Iterable[tuple]) -> None:
    """Write the segments of a recording as a label file, whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, audacity_text(segments))
