"""Marks beside a score: watermarks, Content Credentials, and how often a watermark is a false alarm.

The readers are parts of the registry of evidence, and may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import FiniteFloat

from nes2net.data.audio.files import expand_folders
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import print_note
from nes2net.lib.storage.plain_data import Natural, StrictModel
from nes2net.scoring.decisions.genuine import genuine_threshold
from nes2net.scoring.registry import evidence
from nes2net.scoring.waveforms import RecordingToJudge

#: Kinds of marks, by their names in the registry of evidence.
MARKS = ("perth", "c2pa")
#: Value by which Perth's authors tell marked from unmarked recordings.
NATURAL_THRESHOLD = 0.5
#: Value from which a watermark counts as found if its false alarms were not measured; an assumption.
FOUND_FROM = 0.9
UNMEASURED = "false alarms not measured on your recordings; here: 0 of 90 genuine"


class FalseAlarms(StrictModel):
    """How often a watermark is found in genuine recordings."""

    n: Natural
    """Genuine recordings with a value."""
    seen: Natural
    """Recordings above the threshold."""
    expected: FiniteFloat
    """Share of new genuine recordings above the order statistic."""
    low: FiniteFloat
    high: FiniteFloat
    """95 % interval of this share."""
    threshold: FiniteFloat
    """Values above it count as found."""

    def __str__(self) -> str:
        share = f"at most {100 * self.expected:.3g} % expected"
        return f"false alarms on your genuine recordings: {share}, {self.seen} of {self.n} seen"


def measure_false_alarms(folder: str, alpha: str, keep_marked: bool) -> FalseAlarms:
    """Read Perth in genuine recordings, of which a share ``alpha`` may exceed the threshold.

    Raises:
        InputError: if a recording is probably marked, unless ``keep_marked``, or if there are too
            few.
    """
    read = evidence.get("perth")(None, "")
    values = {}
    for path in ProgressDisplay(expand_folders([folder]), title="reading", unit="file"):
        (finding,) = read(RecordingToJudge.of(path))
        if finding.facts["value"] is not None:
            values[str(path)] = finding.facts["value"]
    marked = [path for path, value in values.items() if value >= FOUND_FROM]
    if marked and not keep_marked:
        raise InputError(f"probably marked: {join_names(marked)}: remove them, or add `keep_marked`")
    # The largest values are alarms, the lowest scores are unusual.
    learned = genuine_threshold([-value for value in values.values()], alpha)
    threshold = max(-learned.threshold, NATURAL_THRESHOLD)
    return FalseAlarms(
        n=learned.number,
        seen=sum(value > threshold for value in values.values()),
        expected=learned.k / (learned.number + 1),
        low=learned.low,
        high=learned.high,
        threshold=threshold,
    )


def with_marks(requests: Sequence[str], kinds: str | None) -> list[str]:
    """Add ``kinds`` of marks, separated by commas, to requests of evidence.

    None adds nothing. The empty text adds all kinds that are not requested yet and can be read; a
    note says which ones cannot.
    """
    if kinds is None:
        return [*requests]
    if kinds:
        return [*requests, *kinds.split(",")]
    if not set(MARKS) & set(evidence.names()):
        print_note("marks are not read: this copy of nes2net lacks the folder apps/marks")
        return [*requests]
    names = [request.partition(":")[0] for request in requests]
    added = []
    for kind in MARKS:
        try:
            if kind not in names:
                evidence.get(kind)(None, "")
                added.append(kind)
        except InputError as error:
            print_note(f"{kind} is not read: {error}")
    return [*requests, *added]
