"""Read and write segments as RTTM or Audacity label files, TextGrids of Praat, and ``reco2dur`` files.

A line of RTTM has ten fields, ``SPEAKER utterance 1 start duration <NA> <NA> label <NA> <NA>``,
with times in seconds (NIST, "Rich Transcription 2009 Evaluation Plan", appendix A). The last two
may be missing; comments (``;;``) and SPKR-INFO lines are skipped. PartialSpoof and diarisation
tools use RTTM. Lines may be in any order, and any label is allowed, such as the name of an attack.

An Audacity label file has the segments of one recording, ``start end label``, separated by tabs. A
second line may give the frequencies of a label (Audacity manual, "Importing and Exporting
Labels"); it is skipped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from nes2net.lib.errors import InputError, concerning, first_line, short_repr
from nes2net.lib.files import AnyPath, write_text
from nes2net.lib.installation import optional
from nes2net.lib.terminal import printable
from nes2net.lib.text_files import parse_float, read_rows, read_text
from nes2net.metrics.localisation.segments import Segment, SegmentsByUtterance, map_segments

_FIELDS = "SPEAKER, utterance, channel, start, duration, <NA>, <NA>, label, <NA>, <NA>"
_NUM_FIELDS = (8, 9, 10)  # the confidence and the look-ahead time at the end may be missing
_MAX_SECONDS = 1e7  # largest time in seconds, 115 days; this limits the size of arrays of frames


def read_rttm(path: AnyPath) -> SegmentsByUtterance:
    """Read an RTTM file as a mapping utterance → segments, in the order of the file.

    The end of a segment is start + duration, rounded to 5 decimals, as published.

    Raises:
        InputError: if the file is missing or not text, or a line is malformed.
    """
    path = Path(path)
    segments: SegmentsByUtterance = {}
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        row = text.split()
        if not row or text.startswith(";;") or row[0] == "SPKR-INFO":
            continue
        if row[0] != "SPEAKER":
            raise InputError(
                f"{path}, line {line}: expected SPEAKER in the first field, found {short_repr(row[0])}: correct the line"
            )
        if len(row) not in _NUM_FIELDS:
            raise InputError(
                f"{path}, line {line}: expected 8 to 10 fields ({_FIELDS}), found {len(row)}: correct the line"
            )
        start = parse_seconds(row[3], path, line, "start")
        duration = parse_seconds(row[4], path, line, "duration")
        segments.setdefault(row[1], []).append(Segment(sys.intern(row[7]), start, round(start + duration, 5)))
    return segments


def rttm_text(segments: Mapping[str, Iterable[tuple]], width: int = 0) -> str:
    """Write utterance → segments as RTTM, with three decimals; segments that touch still touch.

    White space in names and labels becomes ``%20``; a byte that is not UTF-8 becomes an escape such
    as ``\\udcff``. Scores are not written.

    Args:
        width: number of characters to which times are padded.

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
    """Write :func:`rttm_text` to a file, complete or not at all.

    :func:`~nes2net.metrics.localisation.segments.segments_of_frames` makes the segments.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, rttm_text(segments, width))


def map_rttm(path: AnyPath, to: AnyPath, labels: Mapping[str, str]) -> None:
    """Copy an RTTM file with new labels, merging neighbouring segments of equal label.

    See :func:`~nes2net.metrics.localisation.segments.map_segments`. Times have seven characters.

    Args:
        labels: label in the file → label to write.

    Raises:
        InputError: if a file cannot be read or written, or a label is not in ``labels``.
    """
    mapped = {}
    for utterance, segments in read_rttm(path).items():
        with concerning(f"{path}, {utterance}:"):
            mapped[utterance] = map_segments(segments, labels)
    write_rttm(to, mapped, width=7)


def read_reco2dur(path: AnyPath) -> dict[str, float]:
    """Read lines ``utterance seconds`` as a mapping utterance → duration in seconds.

    Raises:
        InputError: if the file is missing or not text, or a line is malformed.
    """
    path = Path(path)
    rows = read_rows(path, 2, "utterance, seconds")
    return {utterance: parse_seconds(duration, path, line, "duration") for line, (utterance, duration) in rows}


def parse_seconds(number: str, path: Path, line: int, name: str) -> float:
    """Convert ``number`` to seconds; the other arguments are for the message.

    Raises:
        InputError: if ``number`` is not a number, is negative or is more than 115 days.
    """
    value = parse_float(number, path, line, name)
    if not 0 <= value <= _MAX_SECONDS or not math.isfinite(value):
        raise InputError(
            f"{path}, line {line}: a {name} must be 0 to {_MAX_SECONDS:.0f} s, not {short_repr(number)}: correct the line"
        )
    return value


def _rttm_field(text: str) -> str:
    return printable("%20".join(text.split())) or "<NA>"


def audacity_text(segments: Iterable[tuple]) -> str:
    """Write segments as an Audacity label file, with six decimals and without scores.

    White space within a label becomes one space.

    >>> audacity_text([("spoof", 0.5, 1.25)])
    '0.500000\\t1.250000\\tspoof\\n'
    """
    return "".join(f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n" for label, start, end, *_ in segments)


def read_audacity(path: AnyPath) -> list[Segment]:
    """Read the segments of a recording from an Audacity label file, in the order of the file.

    Raises:
        InputError: if the file is missing or not text, or if a line is malformed.
    """
    path = Path(path)
    segments = []
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip() or text.startswith("\\"):  # a line of frequencies
            continue
        fields = text.split("\t", 2)
        if len(fields) != 3:
            raise InputError(
                f"{path}, line {line}: expected start, end and label between tabs, found {short_repr(text)}: correct the line"
            )
        start = parse_seconds(fields[0], path, line, "start")
        end = parse_seconds(fields[1], path, line, "end")
        segments.append(Segment(fields[2].strip(), start, end))
    return segments


def read_textgrid(path: AnyPath) -> list[Segment]:
    """Read the segments of a recording from the only interval tier of a TextGrid of Praat; empty labels are omitted.

    Raises:
        MissingLibrary: if praatio is not installed.
        InputError: if the file is missing or malformed, or has not one interval tier.
    """
    textgrid = optional("praatio.textgrid", f"{path}: TextGrids need praatio", "textgrid")
    errors = optional("praatio.utilities.errors", f"{path}: TextGrids need praatio", "textgrid")
    path = Path(path)
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
    except (errors.PraatioException, OSError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: not a TextGrid of Praat ({type(error).__name__}: {first_line(error)}): save it again in Praat"
        ) from error
    tiers = [tier for tier in grid.tiers if isinstance(tier, textgrid.IntervalTier)]
    if len(tiers) != 1:
        names = ", ".join(short_repr(tier.name) for tier in tiers)
        raise InputError(f"{path}: expected one interval tier, found {len(tiers)} ({names}): remove the others")
    return [Segment(label.strip(), start, end) for start, end, label in tiers[0].entries]


def write_audacity(path: AnyPath, segments: Iterable[tuple]) -> None:
    """Write an Audacity label file, complete or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, audacity_text(segments))
