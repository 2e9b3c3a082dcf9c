"""Segments of a corpus from RTTM, checked: complete, within their utterances, and consistent with the labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, counted, listed
from nes2net.metrics.localisation.frames import RESOLUTIONS, pool_labels
from nes2net.metrics.localisation.label_files import read_rttm
from nes2net.metrics.localisation.segments import ROUNDING, Segment, frame_labels

#: The class of time that no segment covers. None: only a file that lists nothing but spoof may
#: leave time out, and this time is bona fide.
Uncovered = Literal["bonafide", "spoof"] | None


def read_segments(
    path: Path, durations: Mapping[str, float], labels: Mapping[str, str], uncovered: Uncovered = None
) -> dict[str, list[Segment]]:
    """Utterance → its segments in an RTTM file, which cover it from 0 to its duration without overlap.

    Args:
        durations: utterance → seconds. Other utterances of the file are left out.
        labels: word of the file → ``"bonafide"`` or ``"spoof"``.

    Raises:
        InputError: if the file is malformed or has another label, or the segments of an utterance
            overlap, leave out more than a millisecond, or lie outside of it.
    """
    listed_segments = read_rttm(path)
    words = {segment.label for segments in listed_segments.values() for segment in segments}
    if unknown := sorted(word for word in words if word.lower() not in labels):
        raise InputError(
            f"{path}: unknown labels {listed(unknown)}; expected {', '.join(labels)} (nes2net.metrics.localisation.map_rttm renames)"
        )
    if uncovered is None and BONAFIDE not in {labels[word.lower()] for word in words}:
        uncovered = "bonafide"
    found = {}
    for utterance, segments in listed_segments.items():
        if utterance in durations:
            named = [segment._replace(label=labels[segment.label.lower()]) for segment in segments]
            try:
                found[utterance] = covering(named, durations[utterance], uncovered)
            except InputError as error:
                raise InputError(f"{path}: {utterance}: {error}") from error
    return found


def covering(segments: Iterable[Segment], duration: float, uncovered: Uncovered = None) -> list[Segment]:
    """``segments`` in order, from 0 to ``duration`` without gaps; time that was left out becomes ``uncovered``.

    Gaps and overlaps of up to a millisecond are closed, and neighbours of one label merged.

    Raises:
        InputError: if segments of two labels overlap, one lies outside of the utterance, or time is
            left out and ``uncovered`` is None.

    >>> [(s.label, s.start, s.end) for s in covering([Segment("spoof", 0.5, 1.0)], 1.5, "bonafide")]
    [('bonafide', 0.0, 0.5), ('spoof', 0.5, 1.0), ('bonafide', 1.0, 1.5)]
    """
    covered: list[Segment] = []

    def add(label: str, end: float) -> None:
        start = covered[-1].end if covered else 0.0
        if covered and covered[-1].label == label:
            covered[-1] = covered[-1]._replace(end=max(end, start))
        elif end > start:
            covered.append(Segment(label, start, end))

    def fill(until: float) -> None:
        start = covered[-1].end if covered else 0.0
        if until - start <= ROUNDING:
            if covered and until > start:
                add(covered[-1].label, until)
        elif uncovered is None:
            raise InputError(
                f"no segment covers {start:.3f} to {until:.3f} s: add its segment, or list only the spoofed ones"
            )
        else:
            add(uncovered, until)

    for label, start, end, *_ in sorted(segments, key=lambda segment: segment.start):
        if end > duration + ROUNDING:
            raise InputError(f"a segment ends at {end:.3f} s, after the end of the utterance at {duration:.3f} s")
        fill(min(start, duration))
        before = covered[-1] if covered else None
        if before is not None and before.label != label and before.end - start > ROUNDING and end > start:
            raise InputError(f"segments of both labels cover {start:.3f} to {min(before.end, end):.3f} s")
        add(label, min(end, duration))
    fill(duration)
    return covered


def labels_of(segments: Mapping[str, Sequence[Segment]], resolution: int) -> dict[str, NDArray[np.int8]]:
    """Utterance → labels of its frames of ``resolution`` ms, pooled from labels of 10 ms.

    A last frame of 10 ms counts if at least half of it exists, so that every frame has a segment.

    Args:
        segments: as returned by :func:`read_segments`.
    """
    if resolution not in RESOLUTIONS:
        raise InputError(f"there are no labels of {resolution} ms; choose from {', '.join(map(str, RESOLUTIONS))}")
    found = {}
    for utterance, of_utterance in segments.items():
        # To as many decimals as the end of a segment, so that both are rounded to the same frame.
        duration = round(of_utterance[-1].end, 5) if of_utterance else 0.0
        labels = frame_labels(of_utterance, 10, duration, last_frame="round")
        if len(labels):
            found[utterance] = pool_labels(labels, resolution // 10)
    return found


def check_labels(spoofed: Mapping[str, bool], trials: Iterable[Trial], path: Path | str) -> None:
    """Raise :class:`InputError` if the label of an utterance contradicts its segments.

    Args:
        spoofed: utterance → whether any of it is spoof.
        path: file of the segments, for the message.
    """
    wrong = [
        f"{trial.id} ({trial.label}, {'some' if spoofed[trial.id] else 'none'} of it spoof)"
        for trial in trials
        if trial.label is not None and trial.id in spoofed and spoofed[trial.id] != (trial.label == SPOOF)
    ]
    if wrong:
        raise InputError(
            f"{path}: {counted(len(wrong), 'utterance has', 'utterances have')} another label than the segments: {listed(wrong)}"
        )


def any_spoof(segments: Mapping[str, Iterable[Segment]]) -> dict[str, bool]:
    """Utterance → whether any of its segments is spoof."""
    return {utterance: any(s.label == SPOOF for s in of_utterance) for utterance, of_utterance in segments.items()}
