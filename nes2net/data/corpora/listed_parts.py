"""Read which part of a recording a row of a list names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from nes2net.data.audio.parts import TOLERANCE, RecordingPart
from nes2net.data.corpora.id_tables import column_name
from nes2net.lib.errors import InputError, short_repr

# SpeechBrain has start and stop, in samples (duration is then that of the part or of the file); NeMo has offset and
# duration, Lhotse start and duration, other lists start and end, in seconds.
_STARTS = ("start", "begin", "start_time", "begin_time", "offset")
#: Columns of the times at which a part begins and ends.
TIMES = (*_STARTS, "stop", "end", "end_time")
#: Further columns that say which part is read; a trial keeps them in ``extra``, too.
PART_FIELDS = ("duration", "channel")
# The columns of times, and other columns that would change what is read.
_TIME = re.compile(
    r"((segment|seg|utt|utterance|audio|cut|clip|chunk|speech|frame|sample|t)_?)?(start|begin|onset|offset|stop|end)s?"
    r"(_?(time|s|secs?|seconds|ms|msecs?|samples?|frames?|idx|index))?|channel_selector|transforms"
)
_FEWEST_SAMPLES = 100  # a shorter part is probably stated in seconds
_LARGEST = 1e12


def find_columns(header: Sequence[str]) -> dict[str, int]:
    """Find the columns that may name a part: normalised name → index."""
    names = map(column_name, header)
    return {name: number for number, name in enumerate(names) if name in PART_FIELDS or _TIME.fullmatch(name)}


def read_part(fields: Mapping[str, str], path: Path, line: int) -> RecordingPart | None:
    """Read the part that ``fields`` name, None for the whole recording; raise InputError if unclear."""
    stated = {name: field for name, field in fields.items() if field.strip()}
    try:
        part = _part_of(stated, f"{path.name}, line {line}")
    except ValueError:
        raise InputError(
            f"{path}, line {line}: {short_repr(stated)} does not say which part of the recording is meant; expected "
            "start and stop (whole samples), offset and duration, or start and end (seconds), and channel (from 0); "
            "correct them, or rename columns that mean something else"
        ) from None
    return None if part == RecordingPart() else part


def _part_of(stated: Mapping[str, str], row: str) -> RecordingPart:
    """Raise ValueError if the fields do not name a part."""
    names = sorted(stated.keys() - set(PART_FIELDS), key=TIMES.index)  # a start comes first
    in_samples = names == ["start", "stop"]
    number: type[float] = float
    shortest = 0
    if in_samples:
        number = int
        shortest = _FEWEST_SAMPLES
    start, *ends = [number(stated[name]) for name in names] or [0.0]
    is_clear = [name in _STARTS for name in names] in ([], [True], [True, False]) and names[1:] != ["stop"]
    length = None
    if "duration" in stated:
        length = float(stated["duration"])
    if ends:
        duration = length
        length = round(ends[0] - start, 9)
        is_clear = in_samples or (is_clear and (duration is None or abs(duration - length) <= TOLERANCE))
    elif start and names != ["offset"]:
        is_clear = is_clear and length is not None
    channel = None
    if "channel" in stated:
        channel = int(stated["channel"])
    values = (start, channel or 0, shortest if length is None else length - shortest)
    if not is_clear or not all(0 <= value < _LARGEST for value in values):
        raise ValueError
    return RecordingPart(start, length, in_samples, channel, row)
