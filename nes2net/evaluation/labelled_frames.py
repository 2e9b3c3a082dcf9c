"""Read a file of frame scores, and join it with the labels of segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.protocol import NotFound, canonical_phase, select_phase
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.key import Key
from nes2net.evaluation.matching import MAX_SCORE, check_classes, match
from nes2net.lib.errors import InputError, concerning, join_names, pluralise, refuse
from nes2net.lib.storage.files import is_absent
from nes2net.metrics.localisation.frames import RESOLUTIONS
from nes2net.metrics.localisation.metrics import Frames, ScoredUtterance, measure_joined_frames
from nes2net.metrics.localisation.segments import SegmentsByUtterance, segments_of_frames
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.record import read_whole_record, record_path
from nes2net.scoring.segment_file import read_segment_scores

#: In ms; labels of longer frames are pooled from these.
LABELS_MS = 10
#: ``LabelledFrames.truth`` if segments come from RTTM files.
RTTM = "RTTM"
# Front-ends and labels treat the end of an utterance differently: their numbers of frames may differ by the larger of
# _MAX_APART, and _MAX_SHARE_APART of the labels.
_MAX_APART = 4
_MAX_SHARE_APART = 0.05


@dataclass(frozen=True)
class LabelledFrames:
    """Scores of the frames of utterances, and their labels.

    - ``resolution_ms`` is the length of a frame.
    - ``utterances`` have scores and true segments.
    - ``frames`` are those of all utterances; both classes occur.
    - ``num_expected`` counts the utterances of the phase.
    - ``truth`` names the source of the segments.
    - ``left_out``: which utterances are missing and why; otherwise empty.
    """

    key: Key
    resolution_ms: int
    utterances: list[ScoredUtterance]
    frames: Frames
    num_expected: int
    truth: str
    left_out: str

    @property
    def trials(self) -> list[Trial]:
        """The trials of :attr:`utterances`, in the order of the key."""
        ids = {utterance.name for utterance in self.utterances}
        return [trial for trial in select_phase(self.key.trials, self.key.phase) if trial.id in ids]

    @property
    def bonafide(self) -> NDArray:
        """Scores of bona fide frames, (B,) float64."""
        return self.frames.scores[self.frames.labels == 1].astype(np.float64)  # 1 is bona fide

    @property
    def spoof(self) -> NDArray:
        """Scores of spoofed frames, (S,) float64."""
        return self.frames.scores[self.frames.labels == 0].astype(np.float64)  # 0 is spoof


class Example(NamedTuple):
    """An utterance with the most or the fewest errors, for a page."""

    kind: str
    """``"worst"`` or ``"best"``."""
    utterance: ScoredUtterance
    wrong: float
    """Share of the time that is classified wrongly, in [0, 1]."""


def labelled_frames(
    key: Key, file: ScoreFile, *, resolution_ms: float | None = None, allow_partial: bool = False
) -> LabelledFrames:
    """Read frame scores, and labels of their segments, as :class:`~nes2net.evaluation.segments.SegmentEvaluation` does."""
    definition = key.definition
    if definition.segment_labels is None:
        raise InputError(f"{definition.title} has no labels of segments: use a file with scores of recordings")
    # The argument and the record must agree if both have the length of a frame.
    recorded = _recorded_resolution(file)
    scores = file.read(read_segment_scores)
    if resolution_ms is not None and recorded is not None and resolution_ms != recorded:
        raise InputError(
            f"{file.path}: its record states frames of {recorded:g} ms, not of {resolution_ms:g} ms: remove `resolution_ms`"
        )
    resolution = recorded if resolution_ms is None else resolution_ms
    if resolution is None:
        raise InputError(f"{file.path}: no record beside it states the length of its frames: add `resolution_ms`")
    if resolution not in RESOLUTIONS:
        resolutions = ", ".join(map(str, RESOLUTIONS))
        raise InputError(
            f"{file.path}: frames of {resolution:g} ms cannot be compared with labels of {resolutions} ms: score frames of "
            "one of these lengths"
        )
    # An utterance's lowest score, or its highest if that is NaN, infinite or too large, so that match() refuses it.
    utterance_scores = []
    for frame_scores in scores.values():
        highest = frame_scores.max()
        utterance_scores.append(float(frame_scores.min() if highest <= MAX_SCORE else highest))
    with concerning(f"{file.path}:"):
        matched_trials = match(key.trials, list(scores), utterance_scores, key.phase, allow_partial=allow_partial)
    ids = list(matched_trials.by_id)
    resolution = int(resolution)
    segments_by_id = _read_segments(key)
    utterances, left_out = _join_segments(key, ids, scores, resolution, segments_by_id, allow_partial)
    frames = measure_joined_frames(utterances, resolution, resolution)
    check_classes(frames.labels == 1, f"{file.path}: {pluralise(frames.labels, 'frame')} of {resolution} ms")
    num_expected = matched_trials.num_expected
    mismatch = "; ".join(filter(None, (matched_trials.mismatch.describe(num_expected), left_out)))
    truth = f"labels of {LABELS_MS} ms" if segments_by_id is None else RTTM
    return LabelledFrames(key, resolution, utterances, frames, num_expected, truth, mismatch)


def _recorded_resolution(file: ScoreFile) -> float | None:
    path = record_path(file.path)
    record = file.record
    if record is None and not is_absent(path):  # the record is of another score file, or malformed, which is an error
        record = read_whole_record(path)
    return record.resolution_ms if record else None


def _read_segments(key: Key) -> SegmentsByUtterance | None:
    if key.definition.segments is not None:
        with suppress(NotFound):
            return key.definition.segments(key.path, canonical_phase(key.phase))
    return None


def _join_segments(
    key: Key,
    ids: Sequence[str],
    scores: Mapping[str, NDArray],
    resolution: int,
    segments_by_id: SegmentsByUtterance | None,
    allow_partial: bool,
) -> tuple[list[ScoredUtterance], str]:
    """Join the frame scores of ``ids`` with their true segments, by default those of 10-ms labels.

    Returns the utterances and, in words, what is omitted because labels are missing or do not fit.
    Without ``allow_partial``, or if nothing is left, raises InputError.
    """
    assert key.definition.segment_labels is not None
    labels = key.definition.segment_labels(key.path, canonical_phase(key.phase), LABELS_MS)
    # Labels may be missing, or not fit the number of frames.
    unlabelled = []
    mismatched = []
    utterances = []
    for id in ids:
        if id not in labels or (segments_by_id is not None and not segments_by_id.get(id)):
            unlabelled.append(id)
            continue
        # match() also accepts names of files for ids, and returns the ids.
        frame_scores = next(scores[name] for name in (id, f"{id}.wav", f"{id}.flac") if name in scores)
        # Labels of 10 ms, pooled to frames of the scores' resolution.
        num_labels = max(1, len(labels[id]) * LABELS_MS // resolution)
        if abs(len(frame_scores) - num_labels) > max(_MAX_APART, _MAX_SHARE_APART * num_labels):
            mismatched.append(id)
            continue
        if segments_by_id is None:
            segments = segments_of_frames(labels[id], LABELS_MS)
        else:
            segments = segments_by_id[id]
        # In seconds; segments are not always sorted.
        duration = max(segment.end for segment in segments)
        utterances.append(ScoredUtterance(frame_scores, segments, duration, labels[id], id))
    problems = []
    if unlabelled:
        problems.append(f"{len(unlabelled)} without labels of segments: {join_names(unlabelled)}")
    if mismatched:
        problem = f"with another number of frames than {resolution} ms give"
        problems.append(f"{len(mismatched)} {problem}: {join_names(mismatched)}")
    refuse(
        (
            problems and not allow_partial,
            f"scores and labels do not fit: {'; '.join(problems)}; correct them, or evaluate the rest with `allow_partial`",
        ),
        (
            not utterances,
            f"no utterance is left to evaluate: {'; '.join(problems)}; use scores and labels of one corpus",
        ),
    )
    return utterances, "; ".join(problems)
