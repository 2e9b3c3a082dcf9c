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

import re
import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from nes2net.lib.errors import InputError, concerning, short_repr
from nes2net.lib.output.terminal import printable
from nes2net.lib.storage.files import AnyPath, read_bounded, write_text
from nes2net.lib.storage.text_files import decode_text, numbered_lines, parse_float, read_rows, without_contradictions
from nes2net.metrics.localisation.segments import Segment, SegmentsByUtterance, map_segments

_FIELDS = "SPEAKER, utterance, channel, start, duration, <NA>, <NA>, label, <NA>, <NA>"
_NUM_FIELDS = (8, 9, 10)  # the confidence and the look-ahead time at the end may be missing
_INTERVALS = '"IntervalTier"'
_ENTRY_LENGTHS = {_INTERVALS: 3, '"TextTier"': 2}  # class of a tier → number of words of an entry
# Long and short text files of Praat differ only in words that are neither numbers nor in quotation marks (Praat manual,
# "TextGrid file formats").
_TEXTGRID_WORD = re.compile(r"""(?:"[^"]*")+|(?<!\S)[-+.\d]\S*""")
_MAX_TEXTGRID_BYTES = 8 << 20  # assumption: far above real files; an hour of phonemes takes 4 MB
_MAX_SECONDS = 1e7  # largest time in seconds, 115 days; this limits the size of arrays of frames


def read_rttm(path: AnyPath) -> SegmentsByUtterance:
    """Read an RTTM file as a mapping utterance → segments, in the order of the file.

    The end of a segment is start + duration, rounded to 5 decimals, as published.

    Raises:
        InputError: if the file is missing or not text, or a line is malformed.
    """
    path = Path(path)
    segments: SegmentsByUtterance = {}
    for line, text in numbered_lines(path):
        row = text.split()
        if text.startswith(";;") or row[0] == "SPKR-INFO":
            continue
        if row[0] != "SPEAKER" or len(row) not in _NUM_FIELDS:
            raise InputError(
                f"{path}, line {line}: expected 8 to 10 fields ({_FIELDS}), found {short_repr(text)}: correct the line"
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
    durations = [(utterance, parse_seconds(duration, path, line, "duration")) for line, (utterance, duration) in rows]
    return without_contradictions(durations, path)


def parse_seconds(number: str, path: Path, line: int, name: str) -> float:
    """Convert ``number`` to seconds; the other arguments are for the message.

    Raises:
        InputError: if ``number`` is not a number, is negative or is more than 115 days.
    """
    value = parse_float(number, path, line, name)
    if not 0 <= value <= _MAX_SECONDS:
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
    for line, text in numbered_lines(path):
        if text.startswith("\\"):  # a line of frequencies
            continue
        fields = text.split("\t", 2)
        if len(fields) != 3:
            raise InputError(
                f"{path}, line {line}: expected start, end and label between tabs, found {short_repr(text)}: correct the line"
            )
        segments.append(parse_segment(path, line, *fields))
    return segments


def read_textgrid(path: AnyPath) -> list[Segment]:
    """Read the segments of a recording from the only interval tier of a TextGrid of Praat; empty labels are omitted.

    Raises:
        InputError: if the file is missing or malformed, or has not one interval tier.
    """
    path = Path(path)
    content = read_bounded(path, _MAX_TEXTGRID_BYTES)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # Praat writes letters beyond ASCII in UTF-16
        content = content.decode("utf-16", "replace").encode()
    numbered_words: list[tuple[int, str]] = []
    for line, text in enumerate(decode_text(path, content).split("\n"), start=1):
        numbered_words += [(line, word) for word in _TEXTGRID_WORD.findall(text)]
    words = iter(numbered_words)
    tiers = []
    try:
        *_, (_, num_tiers) = islice(words, 5)
        for _ in range(int(num_tiers)):
            (_, kind), _, _, _, (_, size) = islice(words, 5)
            entries = zip(*[words] * _ENTRY_LENGTHS[kind])
            tier = [next(entries) for _ in range(int(size))]
            if kind == _INTERVALS:
                tiers.append(tier)
        [intervals] = tiers
        if next(words, None):
            raise ValueError
    except (StopIteration, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a TextGrid of Praat with one interval tier, or with other numbers of tiers and intervals than it "
            "states: remove the other tiers, or save it again in Praat, as a text file"
        ) from error
    segments = []
    for (line, start), (_, end), (_, text) in intervals:
        segments.append(parse_segment(path, line, start, end, text.strip('"').replace('""', '"')))
    return [segment for segment in segments if segment.label]


def parse_segment(path: Path, line: int, start: str, end: str, label: str) -> Segment:
    """Make a segment of three fields of a line; raise InputError as :func:`parse_seconds`."""
    return Segment(label.strip(), parse_seconds(start, path, line, "start"), parse_seconds(end, path, line, "end"))


def write_audacity(path: AnyPath, segments: Iterable[tuple]) -> None:
    """Write an Audacity label file, complete or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_text(path, audacity_text(segments))
