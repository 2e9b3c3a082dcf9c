"""The evaluation of frame scores as one HTML page, with a strip for the worst and the best utterances."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from nes2net.evaluation.page import json_of, page_of, write_forms
from nes2net.evaluation.segments import SegmentEvaluation
from nes2net.localisation.metrics import ScoredUtterance
from nes2net.localisation.segments import BONAFIDE
from nes2net.registry import corpora

# Of a strip, in its own units.
_WIDTH, _HEIGHT = 1000, 100
_MOST_POINTS = 500  # of a line; each of more frames is the lowest of its neighbours


def write_segment_report(
    result: SegmentEvaluation, page: str | Path | None = None, data: str | Path | None = None
) -> None:
    """Write the page and the JSON of ``result``, each whole or not at all, or to a pipe.

    Raises:
        InputError: if one of the files cannot be written.
    """
    write_forms((page, lambda: segment_page(result)), (data, lambda: json_of(result.to_dict())))


def segment_page(result: SegmentEvaluation) -> str:
    """Make the page of ``result``; the same result gives the same bytes."""
    low, high = score_limits([one for found in result.examples.values() for one, _ in found])
    threshold = result.own.threshold
    return page_of(
        "segments.html.jinja",
        f"{corpora.get(result.corpus).title}, {result.phase}: where is it fake",
        corpus=corpora.get(result.corpus),
        result=result,
        strips={
            kind: [(strip(one, result.resolution_ms, threshold, low, high), wrong) for one, wrong in found]
            for kind, found in result.examples.items()
        },
    )


class Strip(NamedTuple):
    """An utterance as it is drawn, on a ground of 1000 × 100."""

    name: str
    duration: float
    """In seconds."""
    parts: list[tuple[str, float, float]]
    """CSS class, left edge and width of each segment."""
    points: str
    """The scores as points of an SVG polyline, a step for each frame."""
    threshold: float | None
    """Height of the threshold; None if it is not within the limits."""


def score_limits(utterances: list[ScoredUtterance]) -> tuple[float, float]:
    """The lowest and the highest score, which are apart."""
    values = [np.asarray(one.scores) for one in utterances]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def strip(one: ScoredUtterance, resolution_ms: float, threshold: float | None, low: float, high: float) -> Strip:
    """Place the segments and scores of an utterance.

    Args:
        low, high: the scores at the bottom and the top.
    """
    scale = _WIDTH / one.duration
    parts = [
        ("bonafide" if label == BONAFIDE else "spoof", round(start * scale, 1), round((end - start) * scale, 1))
        for label, start, end, *_ in one.segments
    ]
    scores = np.asarray(one.scores, np.float64)
    factor = -(-len(scores) // _MOST_POINTS)
    lowest = np.minimum.reduceat(scores, np.arange(0, len(scores), factor))
    heights = _HEIGHT * (1 - (lowest - low) / (high - low))
    edges = np.minimum(np.arange(len(lowest) + 1) * factor * resolution_ms / 1000 * scale, _WIDTH)
    steps = zip(edges[:-1].tolist(), edges[1:].tolist(), heights.tolist())
    points = " ".join(f"{left:.1f},{height:.1f} {right:.1f},{height:.1f}" for left, right, height in steps)
    within = threshold is not None and low <= threshold <= high
    height = round(_HEIGHT * (1 - (threshold - low) / (high - low)), 1) if within and threshold is not None else None
    return Strip(one.name, one.duration, parts, points, height)
