"""Evaluation of frame scores against the labels of segments, from a file of scores to all figures.

The published table of a system of PartialSpoof has its scores at all resolutions from 10 to 640 ms:
at its own resolution the scores as they are, at a coarser one the minimum of the frames in a longer
frame, and at a finer one each score repeated. The authors remark that the figure at a finer
resolution is honest, and at a coarser one optimistic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.corpus import key_digest
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.evaluation.evaluate import versions
from nes2net.evaluation.labelled_frames import RTTM, LabelledFrames, labelled_frames
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.evaluation.tables import Table, percent, percent_interval, plain
from nes2net.lib.errors import InputError, counted
from nes2net.lib.files import sha256_of
from nes2net.metrics.localisation.detection import detection, match_boundaries, overlap_of_segments
from nes2net.metrics.localisation.frames import RESOLUTIONS
from nes2net.metrics.localisation.intervals import interval_of_sums, point_interval_of, range_interval_of
from nes2net.metrics.localisation.metrics import (
    Frames,
    ScoredUtterance,
    TimedFrames,
    measured,
    point_eer_of,
    range_eer_of,
    sorted_frames,
    timed_frames,
)
from nes2net.metrics.localisation.segments import segments_of_frames

#: A boundary of the truth and one of the scores count as the same if they are at most so many
#: seconds apart.
TOLERANCE = 0.04
OWN = "own"
#: How many of the worst and of the best utterances a page shows.
EXAMPLES = 6


@dataclass(frozen=True)
class Rate:
    """An equal error rate, a fraction; None if one of the classes has no frames.

    - ``interval`` is its 95 % bootstrap interval over utterances.
    - ``how`` says what the scores are: ``"own"``, ``"minimum of 2"``, ``"repeated"``.
    - ``num_bonafide`` and ``num_spoof`` count frames, or utterances; None for seconds.
    """

    name: str
    eer: float | None
    threshold: float | None
    interval: tuple[float, float] | None
    how: str
    num_bonafide: int | None
    num_spoof: int | None


@dataclass(frozen=True)
class AtThreshold:
    """How well the time that is called spoof, at or below ``threshold``, agrees with the truth.

    ``f1`` and ``iou`` measure spoofed seconds, and ``boundary_f1`` boundaries within ``tolerance``
    seconds. They are None if nothing is there and nothing is found. Intervals are 95 % bootstrap
    intervals over utterances. ``boundary_error`` is the mean distance of the boundaries that were
    found, in seconds; None if no boundary was found.
    """

    name: str
    threshold: float
    f1: float | None
    f1_interval: tuple[float, float] | None
    iou: float | None
    iou_interval: tuple[float, float] | None
    boundary_f1: float | None
    boundary_f1_interval: tuple[float, float] | None
    boundary_error: float | None
    tolerance: float

    @property
    def table(self) -> Table:
        def figure(value: float | None, bounds: tuple[float, float] | None) -> str:
            if value is None:
                return "–"
            return f"{value:.4f}" if bounds is None else f"{value:.4f} ({bounds[0]:.4f} to {bounds[1]:.4f})"

        error = "–" if self.boundary_error is None else f"{1000 * self.boundary_error:.1f} ms"
        rows = [
            ["F1", figure(self.f1, self.f1_interval)],
            ["intersection over union", figure(self.iou, self.iou_interval)],
            [
                f"F1 of boundaries within {1000 * self.tolerance:g} ms",
                figure(self.boundary_f1, self.boundary_f1_interval),
            ],
            ["boundary error", error],
        ]
        return Table.of(f"Figures at {self.name}", ["figure of spoofed time", "value (95 % interval)"], rows)


@dataclass(frozen=True)
class SegmentEvaluation:
    """The result of one file of frame scores on one corpus. Rates are fractions; ``text()`` prints percent.

    - ``points`` has the point-based EER at each resolution, ``utterance`` the EER of utterances by
      the minimum of their frames, and ``range_based`` the EER of seconds, which has no resolution.
    - ``seconds`` is the duration of bona fide and of spoof.
    - ``truth`` says what the labels of seconds come from.
    - ``examples`` are the utterances with the largest and the smallest share of time called wrongly
      at the EER's threshold, with that share.
    """

    system: str
    corpus: str
    phase: str
    resolution_ms: float
    num_utterances: int
    num_expected: int
    seconds: tuple[float, float]
    truth: str
    points: list[Rate]
    utterance: Rate
    range_based: Rate
    at: list[AtThreshold]
    num_resamples: int
    left_out: str
    notes: tuple[str, ...]
    inputs: list[dict[str, str]]
    versions: dict[str, str]
    unofficial: list[str] | None
    origin: Origin | None
    examples: dict[str, list[tuple[ScoredUtterance, float]]] = field(repr=False, compare=False)

    @property
    def own(self) -> Rate:
        """The point-based EER at the scores' own resolution."""
        return next(rate for rate in self.points if rate.how == OWN)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON, without scores."""
        return plain(self) | {
            "examples": {
                kind: [{"utterance": one.name, "wrong": wrong} for one, wrong in found]
                for kind, found in self.examples.items()
            }
        }

    def text(self) -> str:
        """Write the figures as a table and lines of text."""
        bonafide, spoof = self.seconds
        lines = [
            f"{self.corpus}, phase {self.phase}: {counted(self.num_utterances, 'utterance')} in frames of {self.resolution_ms:g} ms; "
            f"{bonafide:.1f} s bona fide, {spoof:.1f} s spoof ({self.truth})",
            *self.table.lines(),
        ]
        for row in self.at:
            lines.append(f"at {row.name}, {row.threshold:.6g}: {', '.join(map(' '.join, row.table.texts))}")
        lines.append(f"intervals: bootstrap over utterances, {self.num_resamples} draws")
        if self.left_out:
            lines.append(
                f"PARTIAL: rests on {self.num_utterances:,} of {counted(self.num_expected, 'utterance')}; {self.left_out}"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    @property
    def table(self) -> Table:
        rows = [
            [
                rate.name,
                percent(rate.eer, 3),
                "–" if rate.interval is None else percent_interval(rate.interval),
                "–" if rate.threshold is None else f"{rate.threshold:.4g}",
                "" if rate.num_bonafide is None else str(rate.num_bonafide),
                "" if rate.num_spoof is None else str(rate.num_spoof),
                rate.how,
            ]
            for rate in (*self.points, self.utterance, self.range_based)
        ]
        return Table.of(
            "Equal error rates", ["", "EER %", "95 % interval", "threshold", "bona fide", "spoof", "scores"], rows
        )


def evaluate_segments(
    corpus: str,
    scores_path: str | Path,
    keys_path: str | Path,
    phase: str = "eval",
    *,
    resolution_ms: float | None = None,
    threshold: float | None = None,
    allow_partial: bool = False,
    num_resamples: int = 1000,
    seed: int = 0,
) -> SegmentEvaluation:
    """Evaluate a file of frame scores.

    Args:
        corpus: a corpus with labels of segments, which ``keys_path`` holds.
        scores_path: a file in the format of :mod:`nes2net.scoring.segment_file`.
        phase: a part of the corpus.
        resolution_ms: length of a frame; None for the length in the record beside the file.
        threshold: frames at or below it are spoof in F1, intersection over union and boundary
            error. These are also given at the threshold of the EER.
        allow_partial: leave out utterances whose scores or labels are missing or do not fit.
        num_resamples, seed: draws of utterances, and their seed.

    Raises:
        InputError: if a file is missing or malformed, the resolution is unknown or not one of
            :data:`~nes2net.metrics.localisation.frames.RESOLUTIONS`, the corpus has no labels of segments or
            no such phase, scores and labels do not fit, a class has no frames, or the threshold is
            not finite.
    """
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"`threshold` is a number, not {threshold}")
    found = labelled_frames(
        corpus, scores_path, keys_path, phase, resolution_ms=resolution_ms, allow_partial=allow_partial
    )
    path, phase, utterances = Path(scores_path), canonical_phase(phase), found.utterances
    sha256 = sha256_of(path)
    rates, at, seconds, wrong = _figures(found, threshold, {"num_resamples": num_resamples, "seed": seed})
    # The utterances with the largest and the smallest share of their time called wrongly; the best have both classes if
    # any utterance has both.
    order = np.argsort(-wrong, kind="stable").tolist()
    mixed = [i for i in order if len({segment[0] for segment in utterances[i].segments}) > 1]
    worst = order[:EXAMPLES]
    best = [i for i in reversed(mixed or order) if i not in worst][:EXAMPLES]
    examples = {
        kind: [(utterances[i], float(wrong[i])) for i in chosen] for kind, chosen in (("worst", worst), ("best", best))
    }
    return SegmentEvaluation(
        system=path.stem,
        corpus=corpus,
        phase=phase,
        resolution_ms=found.resolution_ms,
        num_utterances=len(utterances),
        num_expected=found.num_expected,
        seconds=seconds,
        truth=found.truth,
        points=rates[:-2],
        utterance=rates[-2],
        range_based=rates[-1],
        at=at,
        num_resamples=num_resamples,
        left_out=found.left_out,
        notes=("a row without an EER has frames, or utterances, of one class only",)
        if any(rate.eer is None for rate in rates)
        else (),
        inputs=[
            {"kind": "scores", "path": str(path), "sha256": sha256},
            {"kind": "key", "path": str(keys_path), "trials_sha256": key_digest(found.key.trials)},
        ],
        versions=versions(),
        origin=read_origin(path, sha256, corpus, phase),
        unofficial=found.key.unofficial,
        examples=examples,
    )


def _figures(
    found: LabelledFrames, threshold: float | None, draws: Mapping[str, Any]
) -> tuple[list[Rate], list[AtThreshold], tuple[float, float], NDArray]:
    """The EERs of points at each resolution, of utterances and of seconds, and the figures at each threshold.

    Also the bona fide and the spoofed seconds, and the share of each utterance's time that is called
    wrongly at the EER's threshold, (U,).
    """
    utterances, resolution = found.utterances, found.resolution_ms
    own_rate = _point_rate(f"{resolution} ms", OWN, sorted_frames(found.frames), draws)
    eer_threshold = own_rate.threshold
    assert eer_threshold is not None  # both classes have frames
    rates = []
    for measured_at in RESOLUTIONS:
        if measured_at == resolution:
            rates.append(own_rate)
        elif measured_at % resolution == 0 or resolution % measured_at == 0:
            how = "repeated" if measured_at < resolution else f"minimum of {measured_at // resolution}"
            # Segments label frames finer than the scores, as published, if the corpus lists its segments.
            by_segments = found.truth == RTTM
            frames = sorted_frames(
                measured(utterances, resolution, measured_at, by_segments=by_segments, own=found.frames)
            )
            rates.append(_point_rate(f"{measured_at} ms", how, frames, draws))
            del frames  # hundreds of megabytes
    scores, labels = (np.minimum.reduceat(row, found.frames.starts) for row in found.frames[:2])
    lowest = Frames(scores, labels, np.ones_like(found.frames.counts))
    rates.append(_point_rate("utterances", "minimum of all", sorted_frames(lowest), draws))
    time = timed_frames(utterances, resolution)
    range_based, interval = range_eer_of(time), range_interval_of(time, **draws)
    rates.append(Rate("seconds", range_based.eer, range_based.threshold, interval, OWN, None, None))
    asked = {} if threshold is None else {"the threshold asked for": threshold}
    thresholds = {"the threshold of the EER": eer_threshold, **asked}
    rows, wrong = [], np.zeros(len(utterances))
    truth, durations = [one.segments for one in utterances], [one.duration for one in utterances]

    def bounds(counts: NDArray, figure: str) -> tuple[float, float] | None:
        low, high = interval_of_sums(counts, lambda sums: getattr(detection(sums), figure), **draws)
        return None if math.isnan(low) else (low, high)

    for name, at in thresholds.items():
        called = [segments_of_frames(np.asarray(one.scores) > at, resolution, one.duration) for one in utterances]
        overlap = overlap_of_segments(truth, called, durations)  # (U, 3) hits, false alarms and misses in seconds
        boundaries = match_boundaries(truth, called, durations, TOLERANCE)
        of_time, of_boundaries = detection(overlap), detection(boundaries.counts)
        rows.append(
            AtThreshold(
                name,
                at,
                _or_none(of_time.f1),
                bounds(overlap, "f1"),
                _or_none(of_time.iou),
                bounds(overlap, "iou"),
                _or_none(of_boundaries.f1),
                bounds(boundaries.counts, "f1"),
                _or_none(boundaries.mean_distance),
                TOLERANCE,
            )
        )
        if at == eer_threshold:
            wrong = overlap[:, 1:].sum(1) / durations
    return rates, rows, (range_based.bonafide_seconds, range_based.spoof_seconds), wrong


def _point_rate(name: str, how: str, frames: TimedFrames, draws: Mapping[str, Any]) -> Rate:
    num_bonafide, num_spoof = (int(total) for total in frames.totals.sum(0))
    if not num_bonafide or not num_spoof:
        return Rate(name, None, None, None, how, num_bonafide, num_spoof)
    found, interval = point_eer_of(frames), point_interval_of(frames, **draws)
    return Rate(name, found.eer, found.threshold, interval, how, num_bonafide, num_spoof)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
