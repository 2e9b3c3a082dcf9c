"""Convert segments of an utterance to labels of frames and back, and give segments new labels.

L. Zhang, X. Wang, E. Cooper, N. Evans, J. Yamagishi, "The PartialSpoof database and countermeasures
for the detection of short fake speech segments embedded in an utterance", IEEE/ACM TASLP 31, 2023
(arXiv 2204.05177).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.errors import InputError, check_known, check_setting, short_repr

BONAFIDE = "bonafide"
SPOOF = "spoof"
#: Largest difference in seconds of times that count as equal: files have three decimals.
ROUNDING = 1e-3 + 1e-9
_MIN_SECONDS = 1e-4  # map_segments drops segments shorter than this, in seconds
_TOUCHING = 1e-6  # map_segments merges segments if the gap between them is smaller than this, in seconds


class Segment(NamedTuple):
    """A stretch of a recording with a label; readers of segments take any (label, start, end, …).

    >>> Segment("spoof", 0.5, 1.25)
    Segment(label='spoof', start=0.5, end=1.25, score=None)
    """

    label: str
    """``"bonafide"``, ``"spoof"``, or another label of a file, such as the name of an attack."""
    start: float
    """In seconds."""
    end: float
    """In seconds."""
    score: float | None = None
    """Higher for bona fide; None if the segment has no score."""


#: Utterance → its segments.
SegmentsByUtterance: TypeAlias = dict[str, list[Segment]]


def frame_labels(
    segments: Iterable[tuple],
    resolution_ms: float,
    duration: float,
    rule: Literal["partialspoof", "wedefense", "start"] = "partialspoof",
    last_frame: Literal["ceil", "floor", "round"] = "ceil",
) -> NDArray[np.int8]:
    """Label the frames of an utterance from its segments: (T,), 1 bona fide, 0 spoof.

    Later segments of the list override. Frames without a segment are spoof, as published, but not
    by ``"start"``. The last frame is therefore spoof if the utterance ends in its first half.

    Args:
        segments: (label, start, end) in seconds.
        resolution_ms: length of a frame in ms.
        duration: in seconds.
        rule: ``"partialspoof"`` rounds the end to 5 decimals, then start and end to the nearest
            frame, half to even. ``"wedefense"`` rounds half up, to at least one frame. ``"start"``
            takes the segment in which a frame starts, −1 if there is none.
        last_frame: rounding of the number of frames.

    Raises:
        InputError: if a label is not ``"bonafide"`` or ``"spoof"``, or a number is out of range.

    >>> frame_labels([("bonafide", 0.0, 0.05), ("spoof", 0.05, 0.1)], 20, 0.1)
    array([1, 1, 0, 0, 0], dtype=int8)
    """
    check_setting("resolution_ms", resolution_ms, resolution_ms > 0, "above 0")
    check_setting("duration", duration, duration >= 0, "a number of seconds of at least 0")
    step = resolution_ms / 1000
    rounded: dict[str, Callable[[float], int]] = {"ceil": math.ceil, "floor": math.floor, "round": round}
    count = rounded[last_frame](duration / step)
    labels = np.full(count, -1 if rule == "start" else 0, np.int8)
    for label, start, end, *_ in segments:
        if label not in (BONAFIDE, SPOOF):
            raise InputError(
                f"the label of a segment must be '{BONAFIDE}' or '{SPOOF}', not '{label}': rename it, such as by map_segments()"
            )
        if rule == "partialspoof":
            first = round(start / step)  # half to even
            after_last = round(round(end, 5) / step)
        elif rule == "wedefense":
            first = math.floor(start / step + 0.5)
            after_last = max(math.floor(end / step + 0.5), first + 1)
        else:
            times = np.arange(count) * step
            labels[(start <= times) & (times < end)] = label == BONAFIDE
            continue
        labels[max(first, 0) : max(after_last, 0)] = label == BONAFIDE
    return labels


def segments_of_frames(
    frames: ArrayLike, resolution_ms: float, duration: float | None = None, labels: Sequence[str] = (SPOOF, BONAFIDE)
) -> list[Segment]:
    """Join neighbouring frames of the same class to segments.

    Args:
        frames: classes (T,), 0 spoof and 1 bona fide, or logits (T, n); the first largest decides.
        resolution_ms: length of a frame in ms.
        duration: in seconds, where the last segment is cut; None does not cut, as published.
        labels: label of each class.

    Raises:
        InputError: if ``frames`` is neither (T,) nor (T, n), or a class has no label.

    >>> segments_of_frames([1, 1, 0], 20, duration=0.05)[1]
    Segment(label='spoof', start=0.04, end=0.05, score=None)
    """
    classes = np.asarray(frames)
    if classes.ndim == 2:
        classes = classes.argmax(axis=1)
    if classes.ndim != 1 or (classes.dtype != bool and not np.isin(classes, np.arange(len(labels))).all()):
        raise InputError(
            f"frames are classes (T,) from 0 to {len(labels) - 1}, or logits (T, {len(labels)}), not {short_repr(frames)} "
            f"of shape {np.shape(frames)}"
        )
    # The first frame of each segment, and the number of frames.
    edges = [0, *(np.flatnonzero(classes[1:] != classes[:-1]) + 1).tolist(), len(classes)]
    step = resolution_ms / 1000
    segments = []
    for first, after_last in pairwise(edges):
        start = first * step
        end = after_last * step
        if duration is not None:
            end = min(end, duration)
        if start < end:
            segments.append(Segment(labels[int(classes[first])], round(start, 8), round(end, 8)))
    return segments


def map_segments(segments: Iterable[tuple], labels: Mapping[str, str]) -> list[Segment]:
    """Give segments new labels, sort them by start, and merge neighbours of equal label.

    Segments under 10⁻⁴ s are dropped, gaps under 10⁻⁶ s are merged, and scores are dropped.

    Args:
        labels: label → new label.

    Raises:
        InputError: if a label is not in ``labels``.

    >>> map_segments([("A01", 0.0, 0.5), ("A02", 0.5, 1.0)], {"A01": "spoof", "A02": "spoof"})
    [Segment(label='spoof', start=0.0, end=1.0, score=None)]
    """
    mapped: list[Segment] = []
    for label, start, end, *_ in sorted(segments, key=itemgetter(1)):
        if end - start < _MIN_SECONDS:
            continue
        check_known([label], labels, "there is no new label for")
        if mapped and mapped[-1].label == labels[label] and start - mapped[-1].end < _TOUCHING:
            mapped[-1] = mapped[-1]._replace(end=max(mapped[-1].end, end))
        else:
            mapped.append(Segment(labels[label], start, end))
    return mapped
