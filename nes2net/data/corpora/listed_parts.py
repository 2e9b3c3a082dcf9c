"""Read which part of a recording a row of a list names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nes2net.data.audio.parts import TOLERANCE, RecordingPart
from nes2net.data.corpora.id_tables import column_name
from nes2net.lib.errors import InputError, short_repr

# Column → the fact of a part that it states. SpeechBrain has start and stop, in samples (duration is then that of the
# part or of the file); NeMo has offset and duration, Lhotse start and duration, other lists start and end, in seconds.
_FACTS = {
    **dict.fromkeys(("start", "begin", "start_time", "begin_time", "offset"), "start"),
    **dict.fromkeys(("stop", "end", "end_time"), "end"),
    "duration": "length",
    "channel": "channel",
    "audio_track": "track",
}
#: Columns that say which part is read, and stay facts of a trial.
PART_FIELDS = ("duration", "channel", "audio_track")
#: Columns of the times at which a part begins and ends.
TIMES = _FACTS.keys() - set(PART_FIELDS)
# The columns above, and others that would change what is read.
_COLUMN = re.compile(
    r"((segment|seg|utt|utterance|audio|cut|clip|chunk|speech|frame|sample|t)_?)?(start|begin|onset|offset|stop|end)s?"
    r"(_?(time|s|secs?|seconds|ms|msecs?|samples?|frames?|idx|index))?|duration|channel(_selector)?|audio_track|transforms"
)
_FEWEST_SAMPLES = 100  # a shorter part is probably stated in seconds
_LARGEST = 1e12


def find_columns(header: Sequence[str]) -> dict[str, str]:
    """Find the columns that may name a part: normalised name → name."""
    return {column_name(name): name for name in header if _COLUMN.fullmatch(column_name(name))}


def read_part(fields: Mapping[str, str], row: str) -> RecordingPart | None:
    """Read the part that ``fields`` of the ``row`` name, None for the whole recording; raise InputError if unclear."""
    stated = {name: field for name, field in fields.items() if field}
    try:
        part = _part_of(stated, row)
    except (KeyError, ValueError):
        raise InputError(
            f"{short_repr(stated)} does not say which part of the recording is meant; expected start and stop (whole "
            "samples), offset and duration, or start and end (seconds), channel and audio_track (from 0); correct them, or rename "
            "columns that mean something else"
        ) from None
    return None if part == RecordingPart() else part


def _part_of(stated: Mapping[str, str], row: str) -> RecordingPart:
    """Raise ValueError or KeyError if the fields do not name a part."""
    facts = {_FACTS[name]: field for name, field in stated.items()}
    in_samples = "stop" in stated
    number = (float, int)[in_samples]
    start = number(facts.get("start", 0))
    lengths = []
    if "end" in facts:
        lengths.append(round(number(facts["end"]) - number(facts["start"]), 9))
    if "length" in facts and not in_samples:
        lengths.append(float(facts["length"]))
    channel = None
    if "channel" in facts:
        channel = int(facts["channel"])
    track = int(facts.get("track", 0))
    values = (start, channel or 0, track, *lengths)
    is_clear = len(facts) == len(stated) and all(0 <= value < _LARGEST for value in values)
    if in_samples:
        is_clear = is_clear and "start" in stated and lengths[0] >= _FEWEST_SAMPLES
    elif start and "offset" not in stated:
        is_clear = is_clear and bool(lengths)
    if not is_clear or not all(abs(length - lengths[0]) <= TOLERANCE for length in lengths):
        raise ValueError
    return RecordingPart(start, next(iter(lengths), None), in_samples, channel, row, track)
