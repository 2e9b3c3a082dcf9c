"""Read and write RTTM files and Audacity's label files, which hold segments, and ``reco2dur`` files with durations.

A line of RTTM has ten fields, ``SPEAKER utterance 1 start duration <NA> <NA> label <NA> <NA>``,
with times in seconds (NIST, "Rich Transcription 2009 Evaluation Plan", appendix A). The last two
may be missing; comments (``;;``) and SPKR-INFO lines are skipped. The PartialSpoof database and
diarisation tools use RTTM. Any label may be read and written, such as the name of an attack. The
lines of an RTTM file may be in any order.

A label file of the audio editor Audacity has the segments of one recording. A line has three fields
separated by tabs, ``start end label``. Audacity can add a second line with the range of frequencies
of a label (Audacity manual, "Importing and Exporting Labels"); this module skips that line.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from nes2net.lib.errors import InputError, concerning, shown
from nes2net.lib.files import AnyPath, write_text
from nes2net.lib.terminal import printable
from nes2net.lib.text_files import checked_float, read_rows, read_text
from nes2net.metrics.localisation.segments import Segment, SegmentsByUtterance, map_segments

_FIELDS = "SPEAKER, utterance, channel, start, duration, <NA>, <NA>, label, <NA>, <NA>"
_NUM_FIELDS = (8, 9, 10)  # the confidence and the look-ahead time at the end may be missing
_LONGEST = 1e7  # largest time in seconds, 115 days; this limits the size of arrays of frames


def read_rttm(path: AnyPath) -> SegmentsByUtterance:
    """Read an RTTM file as a mapping utterance → segments; utterances and segments are in the order of the file.

    The end of a segment is start + duration, rounded to 5 decimals, as published.

    Raises:
        InputError: if the file is missing or not text, or if a line is malformed; the message
            names the line.
    """
    path = Path(path)
    segments: SegmentsByUtterance = {}
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        row = text.split()
        if not row or text.startswith(";;") or row[0] == "SPKR-INFO":
            continue
        if row[0] != "SPEAKER":
            raise InputError(f"{path}, line {line}: expected SPEAKER in the first field, found {shown(row[0])}")
        if len(row) not in _NUM_FIELDS:
            raise InputError(f"{path}, line {line}: expected 8 to 10 fields ({_FIELDS}), found {len(row)}")
        start = checked_seconds(row[3], path, line, "start")
        duration = checked_seconds(row[4], path, line, "duration")
        segments.setdefault(row[1], []).append(Segment(sys.intern(row[7]), start, round(start + duration, 5)))
    return segments


def rttm_text(segments: Mapping[str, Iterable[tuple]], width: int = 0) -> str:
    """Write utterance → segments as the text of an RTTM file; times have three decimals.

    White space in a name or label becomes ``%20``. A byte of a file name that is not UTF-8 becomes
    an escape such as ``\\udcff``. Scores of segments are not written. Segments that touch still
    touch after rounding.

    Args:
        width: number of characters to which times are padded with spaces.

    >>> print(rttm_text({"talk": [Segment("spoof", 0.5, 1.25)]}), end="")
    SPEAKER talk 1 0.500 0.750 <NA> <NA> spoof <NA> <NA>
    """
    lines = []
    for utterance, utterance_segments in segments.items():
        for label, start, end, *_ in utterance_segments:
            duration = round(end, 3) - round(start, 3)
            times = f"{start:{width}.3f} {duration:{width}.3f}"
            lines.append(f"SPEAKER {_rttm_field(utterance)} 1 {times} <NA> <NA> {_rttm_field(label)} <NA> <NA>\n")
    return "".join(lines)


def write_rttm(path: AnyPath, segments: Mapping[str, Iterable[tuple]], width: int = 0) -> None:
    """Write utterance → segments as an RTTM file, complete or not at all; see :func:`rttm_text`.

    To make segments from logits or labels of frames, use
    :func:`~nes2net.metrics.localisation.segments.segments_of_frames`.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, rttm_text(segments, width))


def map_rttm(path: AnyPath, to: AnyPath, labels: Mapping[str, str]) -> None:
    """Copy an RTTM file with new labels for its segments; neighbouring segments that get the same label are merged.

    See :func:`~nes2net.metrics.localisation.segments.map_segments`. Times are padded with spaces to
    seven characters.

    Args:
        to: the file to write.
        labels: label in the file → label to write.

    Raises:
        InputError: if the file cannot be read or has a label that is not in ``labels``, or if
            ``to`` cannot be written.
    """
    mapped = {}
    for utterance, segments in read_rttm(path).items():
        with concerning(f"{path}, {utterance}:"):
            mapped[utterance] = map_segments(segments, labels)
    write_rttm(to, mapped, width=7)


def read_reco2dur(path: AnyPath) -> dict[str, float]:
    """Read a ``reco2dur`` file, with lines ``utterance seconds``, as a mapping utterance → duration in seconds.

    Raises:
        InputError: if the file is missing or not text, or if a line is malformed; the message
            names the line.
    """
    path = Path(path)
    rows = read_rows(path, 2, "utterance, seconds")
    return {utterance: checked_seconds(duration, path, line, "duration") for line, (utterance, duration) in rows}


def checked_seconds(number: str, path: Path, line: int, name: str) -> float:
    """Convert the text ``number`` from a file to a time in seconds, and check the time.

    Args:
        path, line: the file and the number of the line, for the message.
        name: the name of the time, such as ``"duration"``, for the message.

    Raises:
        InputError: if ``number`` is not a number, is negative or is more than 115 days.
    """
    value = checked_float(number, path, line, name)
    if not 0 <= value <= _LONGEST or not math.isfinite(value):
        raise InputError(f"{path}, line {line}: a {name} is 0 to {_LONGEST:.0f} s, not {shown(number)}")
    return value


def _rttm_field(text: str) -> str:
    """Write ``text`` as one field of RTTM: white space is replaced, and an empty text becomes ``<NA>``."""
    return printable("%20".join(text.split())) or "<NA>"


def audacity_text(segments: Iterable[tuple]) -> str:
    """Write the segments of a recording as the text of a label file of Audacity; times have six decimals.

    White space within a label becomes one space. Scores of segments are not written.

    >>> audacity_text([("spoof", 0.5, 1.25)])
    '0.500000\\t1.250000\\tspoof\\n'
    """
    return "".join(f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n" for label, start, end, *_ in segments)


def read_audacity(path: AnyPath) -> list[Segment]:
    """Read the segments of a recording from a label file of Audacity, in the order of the file.

    Ranges of frequencies (lines that begin with a backslash) are skipped.

    Raises:
        InputError: if the file is missing or not text, or if a line is malformed.
    """
    path = Path(path)
    segments = []
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip() or text.startswith("\\"):
            continue
        fields = text.split("\t", 2)
        if len(fields) != 3:
            raise InputError(f"{path}, line {line}: expected start, end and label between tabs, found {shown(text)}")
        start = checked_seconds(fields[0], path, line, "start")
        end = checked_seconds(fields[1], path, line, "end")
        segments.append(Segment(fields[2].strip(), start, end))
    return segments


def write_audacity(path: AnyPath, segments: Iterable[tuple]) -> None:
    """Write the segments of a recording as a label file of Audacity, complete or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, audacity_text(segments))
