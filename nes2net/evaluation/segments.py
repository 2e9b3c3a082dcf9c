"""Evaluate a file of frame scores against the labels of segments.

PartialSpoof publishes EERs at resolutions from 10 to 640 ms. Scores are used unchanged at the
system's own resolution; a coarser frame has the lowest score in it, and scores are repeated for a
finer resolution. The authors remark that coarser EERs are optimistic, and finer ones are not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nes2net.evaluation.evaluation import Evaluation
from nes2net.evaluation.key import Key
from nes2net.evaluation.labelled_frames import RTTM, Example, LabelledFrames, labelled_frames
from nes2net.evaluation.result import Plots, Result
from nes2net.evaluation.tables import EER, NUM_BONAFIDE, NUM_SPOOF, THRESHOLD, Figure, Measure, Row, Table
from nes2net.lib.errors import InputError, check_setting, pluralise
from nes2net.metrics.intervals import Resampling
from nes2net.metrics.localisation.detection import detection, match_boundaries, overlap_of_segments
from nes2net.metrics.localisation.frames import RESOLUTIONS
from nes2net.metrics.localisation.intervals import interval_of_sums, point_interval_of, range_interval_of
from nes2net.metrics.localisation.metrics import (
    Frames,
    ScoredUtterance,
    TimedFrames,
    measure_joined_frames,
    point_eer_of,
    range_eer_of,
    sort_frames,
    time_frames,
)
from nes2net.metrics.localisation.segments import segments_of_frames
from nes2net.scoring.judgement import ScoreFile

#: In seconds: a true boundary counts as found if a detected one is at most so far away.
TOLERANCE = 0.04
#: Label ``scores`` of rows with unchanged scores, at the resolution of the file.
OWN = "own"
EXAMPLES_SECTION = "Worst and best utterances"
_RATES_NOTE = (
    "Frames have the point-based EER. At a finer resolution than the scores' own each score is repeated, at a coarser one "
    "the lowest of a frame counts, which makes the figure optimistic. Utterances count by their lowest score, and seconds "
    "have the range-based EER."
)
#: Number of the worst, and of the best utterances on a page.
EXAMPLES = 6


_RATES = (EER, replace(THRESHOLD, text_digits=4), NUM_BONAFIDE, NUM_SPOOF)
_DETECTION = (
    THRESHOLD,
    Measure("f1", "F1", "cost", 4),
    Measure("iou", "intersection over union", "cost", 4),
    Measure("boundary_f1", f"F1 of boundaries within {1000 * TOLERANCE:g} ms", "cost", 4),
    Measure("boundary_error", "boundary error, ms", "milliseconds", 1),
)
_EXAMPLES = (Measure("wrong", "called wrongly, % of its time", digits=1), Measure("duration", "duration, s", "seconds"))


@dataclass
class SegmentEvaluation(Evaluation[LabelledFrames]):
    """The evaluation of one file of frame scores against the labels of segments of a corpus.

    Args:
        resolution_ms: length of a frame in ms; by default from the record beside the file.
        threshold: for F1, intersection over union and boundary error, beside the threshold of the
            EER: frames with at most this score are called spoof.
        allow_partial: also omit utterances without labels that fit.

    Raises:
        InputError: if there are several files, or the threshold is not finite. :meth:`run` also
            raises it if the resolution is unknown or not in
            :data:`~nes2net.metrics.localisation.frames.RESOLUTIONS`, or a class has no frames.
    """

    resolution_ms: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_setting("threshold", self.threshold, math.isfinite(self.threshold or 0), "a finite number")
        if len(self.files) > 1:
            raise InputError(
                f"one of {len(self.files)} files holds scores of frames, and only one such file is evaluated at once: "
                "name only it"
            )
        super().__post_init__()

    @functools.cached_property
    def key(self) -> Key:
        return self.labels.read({})

    def read(self, file: ScoreFile, name: str) -> LabelledFrames:
        return labelled_frames(self.key, file, resolution_ms=self.resolution_ms, allow_partial=self.allow_partial)

    def report(self, systems: Sequence[LabelledFrames]) -> Result:
        (labelled,) = systems
        rates, seconds = _rates(labelled, self.draws)
        own_rate = next(row for row in rates if row.labels["scores"] == OWN)  # at the resolution of the score file
        thresholds = {"the threshold of the EER": own_rate.value("threshold")}
        if self.threshold is not None:
            thresholds["the threshold asked for"] = self.threshold
        detections, wrong = _detections(labelled, thresholds, self.draws)
        examples = _examples(labelled.utterances, wrong)
        notes = []
        num_utterances = len(labelled.utterances)
        if labelled.left_out:
            expected = pluralise(labelled.num_expected, "utterance")
            notes.append(f"PARTIAL: rests on {num_utterances:,} of {expected}; {labelled.left_out}")
        if any(row["eer"].value is None for row in rates):
            notes.append("a row without an EER has frames, or utterances, of one class only")
        facts = {
            "system": self.score_files[0].path.stem,
            "resolution_ms": labelled.resolution_ms,
            "num_utterances": num_utterances,
            "num_expected": labelled.num_expected,
            "seconds": seconds,
            "truth": labelled.truth,
            "tolerance": TOLERANCE,
            "left_out": labelled.left_out,
        }
        lines = [
            f"{self.part}: {pluralise(num_utterances, 'utterance')} in frames of {labelled.resolution_ms:g} ms; "
            f"{seconds[0]:.1f} s bona fide, {seconds[1]:.1f} s spoof ({labelled.truth})",
            f"95 % intervals: bootstrap over utterances, {self.num_resamples} draws",
        ]
        tables = list(_tables(self.key.title, rates, detections, examples))
        plots = functools.partial(_plots, examples, labelled.resolution_ms, own_rate["threshold"].value)
        return Result(": where is it fake", facts, lines, tables, notes, plots=plots)


def _tables(
    title: str, rates: Sequence[Row], detections: Sequence[Row], examples: Sequence[Example]
) -> Iterator[Table]:
    yield Table("rates", f"{title}: equal error rates.", _RATES, rates, notes=[_RATES_NOTE])
    caption = "Figures of the time that is called spoof, at a threshold or below it."
    note = "The boundary error is the mean distance of the boundaries that were found from the true ones."
    yield Table("detection", caption, _DETECTION, detections, "At a threshold", [note])
    rows = []
    for example in examples:
        figures = {"wrong": Figure(example.wrong), "duration": Figure(example.utterance.duration)}
        rows.append(Row({"example": example.kind, "utterance": example.utterance.name}, figures))
    caption = "The largest and the smallest shares of time called wrongly at the threshold of the EER."
    yield Table("examples", caption, _EXAMPLES, rows, EXAMPLES_SECTION, readers="paper")


def _examples(utterances: Sequence[ScoredUtterance], wrong: NDArray) -> list[Example]:
    """Choose the worst and the best utterances; ``wrong`` (U,) are shares of time.

    The best have segments of both classes if there are any. None is chosen twice.
    """
    order = np.argsort(-wrong, kind="stable").tolist()  # the most errors first
    mixed = []
    for i in order:
        labels = {label for label, *_ in utterances[i].segments}
        if len(labels) > 1:
            mixed.append(i)
    worst = order[:EXAMPLES]
    best = [i for i in reversed(mixed or order) if i not in worst][:EXAMPLES]
    kinds = dict.fromkeys(worst, "worst") | dict.fromkeys(best, "best")
    return [Example(kind, utterances[i], float(wrong[i])) for i, kind in kinds.items()]


def _plots(examples: Sequence[Example], resolution_ms: float, threshold: float | None) -> Plots:
    from nes2net.evaluation.plots import strip_plots  # quick start-up: the text needs no Matplotlib

    return {EXAMPLES_SECTION: strip_plots(examples, resolution_ms, threshold)}


def _rates(labelled: LabelledFrames, draws: Resampling) -> tuple[list[Row], tuple[float, float]]:
    """Return also bona fide and spoofed seconds."""
    utterances = labelled.utterances
    resolution = labelled.resolution_ms
    rates = []
    for measured_at in RESOLUTIONS:
        if measured_at == resolution:
            rates.append(_point_rate(f"{resolution} ms", OWN, sort_frames(labelled.frames), draws))
        elif measured_at % resolution == 0 or resolution % measured_at == 0:
            derived = "repeated" if measured_at < resolution else f"minimum of {measured_at // resolution}"
            # As published: frames shorter than the scored ones get labels from the list of segments, if any.
            by_segments = labelled.truth == RTTM
            frames = sort_frames(
                measure_joined_frames(
                    utterances, resolution, measured_at, by_segments=by_segments, score_frames=labelled.frames
                )
            )
            rates.append(_point_rate(f"{measured_at} ms", derived, frames, draws))
            del frames  # the frames take hundreds of megabytes
    # Each utterance has the lowest score and the lowest label of its frames.
    scores = np.minimum.reduceat(labelled.frames.scores, labelled.frames.starts)
    labels = np.minimum.reduceat(labelled.frames.labels, labelled.frames.starts)
    lowest = Frames(scores, labels, np.ones_like(labelled.frames.counts))
    rates.append(_point_rate("utterances", "minimum of all", sort_frames(lowest), draws))
    time = time_frames(utterances, resolution)
    range_based = range_eer_of(time)
    figures = {
        "eer": Figure(range_based.eer, range_interval_of(time, **draws)),
        "threshold": Figure(range_based.threshold),
    }
    rates.append(Row({"of": "seconds", "scores": OWN}, figures))
    return rates, (range_based.bonafide_seconds, range_based.spoof_seconds)


def _detections(
    labelled: LabelledFrames, thresholds: Mapping[str, float], draws: Resampling
) -> tuple[list[Row], NDArray]:
    """Return also the wrong share of each utterance's time at the first threshold, (U,)."""
    utterances = labelled.utterances
    resolution = labelled.resolution_ms
    truth = [utterance.segments for utterance in utterances]
    durations = [utterance.duration for utterance in utterances]
    detections = []
    wrong_shares = []
    for name, applied_threshold in thresholds.items():
        called = []
        for utterance in utterances:
            # (frames,)
            is_bonafide = np.asarray(utterance.scores) > applied_threshold
            called.append(segments_of_frames(is_bonafide, resolution, utterance.duration))
        overlap = overlap_of_segments(truth, called, durations)  # (U, 3) hits, false alarms and misses in seconds
        boundaries = match_boundaries(truth, called, durations, TOLERANCE)
        figures = {
            "threshold": Figure(applied_threshold),
            "f1": _detection_figure(overlap, "f1", draws),
            "iou": _detection_figure(overlap, "iou", draws),
            "boundary_f1": _detection_figure(boundaries.counts, "f1", draws),
            "boundary_error": Figure(_or_none(boundaries.mean_distance)),
        }
        detections.append(Row({"at": name}, figures))
        # Seconds of false alarms and of misses.
        wrong_shares.append(overlap[:, 1:].sum(1) / durations)
    return detections, wrong_shares[0]


def _detection_figure(counts: NDArray, name: str, draws: Resampling) -> Figure:
    """Compute F1 or IoU (``name``) from hits, false alarms and misses, (U, 3); None if all are 0."""
    low, high = interval_of_sums(counts, lambda sums: getattr(detection(sums), name), **draws)
    interval = None if math.isnan(low) else (low, high)
    return Figure(_or_none(getattr(detection(counts), name)), interval)


def _point_rate(name: str, derived: str, frames: TimedFrames, draws: Resampling) -> Row:
    num_bonafide, num_spoof = frames.totals.sum(0, dtype=int).tolist()
    figures = {"eer": Figure(), "num_bonafide": Figure(num_bonafide), "num_spoof": Figure(num_spoof)}
    if num_bonafide and num_spoof:
        point_eer = point_eer_of(frames)
        figures["eer"] = Figure(point_eer.eer, point_interval_of(frames, **draws))
        figures["threshold"] = Figure(point_eer.threshold)
    return Row({"of": name, "scores": derived}, figures)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
