"""Check the segments of a corpus against durations and labels, and fill their gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.corpus import Protocols
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, concerning, join_names, pluralise
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.localisation.frames import RESOLUTIONS, pool_labels
from nes2net.metrics.localisation.segments import ROUNDING, Segment, SegmentsByUtterance, frame_labels

#: The class of gaps between segments. None means that gaps are bona fide in a file that lists only spoofed segments,
#: and that a gap in any other file is an error.
Uncovered = Literal["bonafide", "spoof"] | None


def covering_segments(
    listed_segments: SegmentsByUtterance,
    path: Path,
    durations: Mapping[str, float],
    labels: Mapping[str, str],
    uncovered: Uncovered = None,
) -> SegmentsByUtterance:
    """Make utterance → segments that cover it from 0 to its end without overlap.

    Args:
        listed_segments: the segments of the file or folder ``path``, in any order.
        durations: utterance → its duration in s; other utterances are skipped.
        labels: word of the file → ``"bonafide"`` or ``"spoof"``.
        uncovered: the class of gaps between segments, see :data:`Uncovered`.

    Raises:
        InputError: if a label is not in ``labels``, or if the segments of an utterance overlap,
            leave a gap of more than a millisecond, or lie outside of the utterance.
    """
    # Labels count in any case: the keys of `labels` are in lower case.
    words: set[str] = set()
    for segments in listed_segments.values():
        words.update(segment.label for segment in segments)
    unknown_words = sorted(word for word in words if word.lower() not in labels)
    if unknown_words:
        raise InputError(
            f"{path}: unknown labels {join_names(unknown_words)}; expected {', '.join(labels)} "
            "(rename them with nes2net.metrics.localisation.map_rttm)"
        )
    if uncovered is None and BONAFIDE not in {labels[word.lower()] for word in words}:
        uncovered = "bonafide"
    covered = {}
    for utterance, segments in listed_segments.items():
        if utterance not in durations:
            continue
        labelled = [segment._replace(label=labels[segment.label.lower()]) for segment in segments]
        with concerning(f"{path}: {utterance}:"):
            covered[utterance] = fill_gaps(labelled, durations[utterance], uncovered)
    return covered


def _extend(cover: list[Segment], label: str, end: float) -> None:
    # Cover the time up to ``end`` with ``label``, by the last segment if it has this label.
    start = cover[-1].end if cover else 0.0
    if cover and cover[-1].label == label:
        cover[-1] = cover[-1]._replace(end=max(end, start))
    elif end > start:
        cover.append(Segment(label, start, end))


def fill_gaps(segments: Iterable[Segment], duration: float, uncovered: Uncovered = None) -> list[Segment]:
    """Sort ``segments``, and fill the gaps from 0 to ``duration`` with the label ``uncovered``.

    Gaps and overlaps of up to a millisecond are closed, and neighbours with the same label merged.

    Raises:
        InputError: if segments of two labels overlap, if a segment ends before it starts or after
            the utterance, or if there is a gap and ``uncovered`` is None.

    >>> [(s.label, s.start, s.end) for s in fill_gaps([Segment("spoof", 0.5, 1.0)], 1.5, "bonafide")]
    [('bonafide', 0.0, 0.5), ('spoof', 0.5, 1.0), ('bonafide', 1.0, 1.5)]
    """
    cover: list[Segment] = []
    at_end = Segment("", duration, duration)  # so that the loop also fills the last gap
    for label, start, end, *_ in [*sorted(segments, key=lambda segment: segment.start), at_end]:
        if not start <= end <= duration + ROUNDING:
            raise InputError(
                f"a segment from {start:.3f} to {end:.3f} s cannot lie in an utterance of {duration:.3f} s: correct it"
            )
        covered = cover[-1].end if cover else 0.0  # the time up to here is covered
        before = min(start, duration)
        if before - covered > ROUNDING:
            if uncovered is None:
                raise InputError(
                    f"no segment covers {covered:.3f} to {before:.3f} s: add its segment, or list only the spoofed ones"
                )
            _extend(cover, uncovered, before)
        # Round a small gap away: lengthen the segment before it.
        elif cover and before > covered:
            _extend(cover, cover[-1].label, before)
        # Overlaps of one label, or by rounding, are merged by _extend().
        elif cover and cover[-1].label != label and covered - start > ROUNDING and end > start:
            raise InputError(
                f"segments of both labels cover {start:.3f} to {min(covered, end):.3f} s: correct one of them"
            )
        _extend(cover, label, min(end, duration))
    return cover


def labels_of(segments: Mapping[str, Sequence[Segment]], resolution: int) -> dict[str, NDArray[np.int8]]:
    """Convert segments to labels (T,) of frames of ``resolution`` ms, 1 bona fide, 0 spoof.

    They are pooled from 10-ms frames. The last of these is labelled only if the utterance covers at
    least half of it, so that every labelled frame lies in a segment.

    Args:
        segments: as :func:`covering_segments` returns them.

    Raises:
        InputError: if ``resolution`` is not one of ``RESOLUTIONS``.
    """
    check_resolution(resolution)
    pooled = {}
    for utterance, utterance_segments in segments.items():
        if not utterance_segments:
            continue
        # Files round the ends of segments. Round the duration likewise, so that both end in the same frame.
        duration = round(utterance_segments[-1].end, 5)
        labels = frame_labels(utterance_segments, 10, duration, last_frame="round")
        if len(labels):
            pooled[utterance] = pool_labels(labels, resolution // 10)
    return pooled


def read_labels(
    read_segments: Callable[..., SegmentsByUtterance],
    root: AnyPath,
    split: str,
    resolution: int = 20,
    *,
    protocols: Protocols = None,
) -> dict[str, NDArray[np.int8]]:
    """Read the segments of a corpus, and convert them by :func:`labels_of`."""
    return labels_of(read_segments(root, split, protocols=protocols), resolution)


def check_resolution(resolution: int) -> None:
    """Raise :class:`InputError` if there are no labels of ``resolution`` ms."""
    if resolution not in RESOLUTIONS:
        raise InputError(f"there are no labels of {resolution} ms; choose one of {', '.join(map(str, RESOLUTIONS))}")


def check_labels(spoofed: Mapping[str, bool], trials: Iterable[Trial], path: Path | str) -> None:
    """Raise :class:`InputError` if the label of an utterance contradicts its segments.

    Args:
        spoofed: utterance → whether any part of it is spoofed.
        path: file of the segments, for the message.
    """
    contradictions = []
    for trial in trials:
        if trial.label == SPOOF and spoofed.get(trial.id) is False:
            contradictions.append(f"{trial.id} ({trial.label}, none of it spoof)")
        elif trial.label not in (None, SPOOF) and spoofed.get(trial.id):
            contradictions.append(f"{trial.id} ({trial.label}, some of it spoof)")
    if contradictions:
        utterances_have = pluralise(contradictions, "utterance has", "utterances have")
        raise InputError(
            f"{path}: {utterances_have} another label than the segments: {join_names(contradictions)}; correct one of them"
        )


def any_spoof(segments: Mapping[str, Iterable[Segment]]) -> dict[str, bool]:
    """Whether any segment of an utterance is spoofed."""
    spoofed = {}
    for utterance, utterance_segments in segments.items():
        spoofed[utterance] = any(segment.label == SPOOF for segment in utterance_segments)
    return spoofed
