"""Readers of evidence beside a score, foremost of marks, and how often a watermark is a false alarm.

Marks are watermarks and Content Credentials. The readers are parts of the registry of evidence, and may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any, TypeVar

from pydantic import FiniteFloat

from nes2net.data.audio.files import expand_folders
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.output.findings import Finding
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_note
from nes2net.lib.storage.plain_data import Natural, StrictModel
from nes2net.scoring.decisions.genuine import genuine_threshold
from nes2net.scoring.registry import ALL_MARKS, KNOWN_MARKS, evidence
from nes2net.scoring.waveforms import RecordingToJudge

T = TypeVar("T")

#: Kinds of marks, by their names in the registry of evidence.
MARKS = ("perth", "c2pa")
#: Value by which Perth's authors tell marked from unmarked recordings.
NATURAL_THRESHOLD = 0.5
#: Value from which a watermark counts as found if its false alarms were not measured; an assumption.
FOUND_FROM = 0.9
UNMEASURED = "false alarms not measured on your recordings; here: 0 of 90 genuine"
_NO_APP = "this copy of nes2net lacks the folder apps/marks"


class Mark(Finding):
    """What a reader of marks tells."""


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


def evidence_readers(detector: Any, requests: Sequence[str]) -> list[tuple[str, Any]]:
    """Build readers of evidence, each with its name.

    Args:
        requests: ``NAME`` or ``NAME:ARGUMENT`` of :data:`nes2net.scoring.registry.evidence`, or
            ``marks`` for all other kinds of marks; a note says which ones cannot be read.

    Raises:
        InputError: if a name is unknown, or its reader cannot be built.
    """
    readers = [_build(detector, request) for request in requests if request != ALL_MARKS]
    if ALL_MARKS not in requests:
        return readers
    if not _has_app():
        print_note(f"marks are not read: {_NO_APP}")
        return readers
    names = [name for name, _ in readers]
    for kind in [kind for kind in MARKS if kind not in names]:
        try:
            readers.append(_build(detector, kind))
        except InputError as error:
            print_note(f"{kind} is not read: {error}")
    return readers


def _build(detector: Any, request: str) -> tuple[str, Any]:
    name, _, argument = request.partition(":")
    if name in MARKS and not _has_app():
        raise InputError(f"{name} is not read: {_NO_APP}")
    with evidence.guard(name):
        return name, evidence.get(name)(detector, argument)


def _has_app() -> bool:
    return not set(MARKS).isdisjoint(evidence.names())


def known_marks() -> Facts:
    """Return marks, with what reads them here, or where else to look; why not if that is missing."""
    if not _has_app():
        return {"not read": _NO_APP}
    return resolve_name(KNOWN_MARKS)  # type: ignore[no-any-return]


def read_marks(kind: str, read: Any, recordings: Mapping[T, Any]) -> dict[T, Facts]:
    """Read marks of a ``kind``, with the keys of ``recordings``; a note names those that cannot be read."""
    facts = {}
    for key, recording in ProgressDisplay(recordings.items(), title=f"reading {kind}", unit="file"):
        with suppress(InputError, OSError):
            (finding,) = read(RecordingToJudge.of(recording))
            facts[key] = finding.facts
    if unread := [str(recording) for key, recording in recordings.items() if key not in facts]:
        print_note(f"{kind} is not read in damaged or missing files: {join_names(unread)}")
    return facts


def measure_false_alarms(folder: str, alpha: str, keep_marked: bool) -> FalseAlarms:
    """Read Perth in genuine recordings, of which a share ``alpha`` may exceed the threshold.

    Raises:
        InputError: if a recording is probably marked, unless ``keep_marked``, or if there are too
            few.
    """
    ((kind, read),) = evidence_readers(None, ["perth"])
    recordings = {str(path): path for path in expand_folders([folder])}
    readings = read_marks(kind, read, recordings).items()
    values = {path: facts["value"] for path, facts in readings if facts["value"] is not None}
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
