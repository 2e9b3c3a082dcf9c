"""Use a calibration with a detector: check that the two belong together, and decide on recordings.

Decisions on the trials of a score file are in a table beside the file: ``{out}.decisions.csv`` has
a row for each score, in the order of the score file. ``{out}.decisions.json`` states the basis of
the decisions.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nes2net.data.audio.read import stream_audio
from nes2net.data.audio.remarks import Channels, remark_of
from nes2net.data.audio.sources import Audio, recording_of
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.lib.claims import Claim
from nes2net.lib.errors import InputError
from nes2net.lib.files import Unchanged, json_text, read_bounded, sha256_of, write_text
from nes2net.lib.plain_data import parsed_json
from nes2net.lib.text_files import as_cell
from nes2net.metrics.localisation.stretches import MIN_DURATION, StretchRule
from nes2net.models.provenance import Provenance
from nes2net.scoring.decisions.along import DecisionAlong, decide_along, suitable_hop
from nes2net.scoring.decisions.calibration import LinearCalibration, ScoredBy
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider, Decision
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.kernel import Scorer, check_takes_audio_alone, score_or_raise
from nes2net.scoring.measuring import Measurer, forget_traits, measure_trials
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.score_length import ScoreLength, length_of_training, samples_to_score
from nes2net.scoring.track import Track, chosen_resolution, score_track
from nes2net.scoring.waveforms import WaveformReader


def as_decider(calibration: LinearCalibration | Decider) -> Decider:
    """Make a decider from a calibration, at the default operating point; return a decider unchanged."""
    return calibration if isinstance(calibration, Decider) else Decider(calibration)


def check_belongs(scorer: Scorer, calibration: LinearCalibration, resolution_ms: float | None = None) -> list[str]:
    """Check that ``calibration`` was learned from scores of ``scorer``; return notes on facts that are uncertain.

    The result and the errors are the same as for
    :meth:`nes2net.scoring.decisions.LinearCalibration.check_fits`.

    Args:
        resolution_ms: length in ms of the frames that are scored; None for scores of recordings.
    """
    scored_by = calibration.scored_by
    precision = scored_by.precision if scored_by else scorer.precision
    return calibration.check_fits(
        ScoredBy(scorer.fingerprint(), scorer.precision, None, resolution_ms),
        f"name the detector of the calibration, set `dtype={precision}`",
    )


def calibrated_samples(decider: Decider | None, provenance: Provenance) -> ScoreLength:
    """Choose how many samples of a recording to score: as many as were scored for the calibration.

    If there is no calibration, or if the calibration does not name its detector, the origin of the
    detector decides (:func:`samples_to_score`).
    """
    if decider is not None and (scored_by := decider.calibration.scored_by) is not None:
        return ScoreLength(scored_by.num_samples, "for the calibration" if scored_by.num_samples else "")
    return samples_to_score(provenance)


def notes_on(
    scorer: Scorer, decider: Decider, num_samples: int | None, resolution_ms: float | None = None
) -> list[str]:
    """Check that the calibration belongs to ``scorer``; return notes on what makes the decisions uncertain.

    If frames are scored, only the notes of :func:`check_belongs` are returned.

    Args:
        num_samples: number of leading samples that are scored; None for all samples, 0 for windows
            along a recording.
        resolution_ms: as for :func:`check_belongs`.

    Raises:
        InputError: as :func:`check_belongs`.
    """
    notes = check_belongs(scorer, decider.calibration, resolution_ms)
    if resolution_ms is None:
        if unlike := decider.calibration.unlike(num_samples):
            notes.append(unlike)
        if decider.note:
            notes.append(decider.note)
    return notes


def decide(
    scorer: Scorer, audio: Audio, calibration: LinearCalibration | Decider, sample_rate: float | None = None
) -> Decision:
    """Score a recording and decide on it, for :meth:`nes2net.Detector.decide`, which describes the arguments.

    If the recording is longer than the part that was scored for the calibration, windows along the
    recording decide.
    """
    decider = as_decider(calibration)
    check_takes_audio_alone(scorer)
    check_belongs(scorer, decider.calibration)
    num_samples = calibrated_samples(decider, scorer.provenance).num_samples
    channels = Channels()
    # Read and score the part that was scored for the calibration.
    recording = recording_of(audio, sample_rate, channels)
    reader = WaveformReader.of(scorer, num_samples)
    if isinstance(recording, np.ndarray):
        scored_part = reader.take(recording, SAMPLE_RATE)
    else:
        channels = Channels(num_samples)
        scored_part = reader.read(recording, channels=channels)
    remark = remark_of(scored_part.plain, scored_part.num_samples, channels, length_of_training(scorer.provenance))
    traits = Measurer.of(scorer, decider).of_recording(scored_part, remark)
    score = score_or_raise(scorer, torch.from_numpy(scored_part.waveform)[None])[0]
    windows = decision_windows(scorer, decider, scored_part.num_samples / SAMPLE_RATE)
    if windows is None:
        return decider(score, traits)

    def blocks(compared: Channels | None = None) -> Iterator[np.ndarray]:
        return iter([recording]) if isinstance(recording, np.ndarray) else stream_audio(recording, compared)

    if not isinstance(recording, np.ndarray):
        channels = Channels()
    track = score_track(scorer, blocks(channels), SAMPLE_RATE, **windows._asdict(), channels=channels)
    return decide_by_track(scorer, decider, score, track, blocks(), traits)


def decide_by_track(
    scorer: Scorer,
    decider: Decider,
    score: float,
    track: Track,
    blocks: Iterable[np.ndarray],
    beginning: Traits | None,
) -> DecisionAlong:
    """Decide on a recording by its ``track``: the scores of the windows from :func:`decision_windows`.

    Args:
        score: the score of the recording, which becomes the ``score`` of the decision.
        blocks, beginning: as for :meth:`nes2net.scoring.measuring.Measurer.along`.
    """
    traits = Measurer.of(scorer, decider).along(blocks, track, beginning)
    return decide_along(decider, score, track, traits)


class TrackWindows(NamedTuple):
    """The length and the hop of windows along a recording."""

    window: float
    """Length of a window in seconds."""
    hop: float
    """Seconds from the start of a window to the start of the next window."""


def usual_window(scorer: Scorer, decider: Decider | None) -> float:
    """Choose the length in seconds of the windows along a recording.

    A window has the length that was scored for the calibration. Without such a length, a window has
    the length of the detector's training crops.
    """
    num_samples = decider and calibrated_samples(decider, scorer.provenance).num_samples
    return (num_samples or length_of_training(scorer.provenance)) / SAMPLE_RATE


def decision_windows(scorer: Scorer, decider: Decider, duration: float) -> TrackWindows | None:
    """Choose the windows that decide on a recording of ``duration`` seconds; None if its score alone decides.

    A window has the length that was scored for the calibration. The result is None if the
    calibration was learned from scores of whole recordings, or if the recording is not longer than
    a window.
    """
    num_samples = calibrated_samples(decider, scorer.provenance).num_samples
    if num_samples is None or duration <= num_samples / SAMPLE_RATE:
        return None
    window = num_samples / SAMPLE_RATE
    return TrackWindows(window, suitable_hop(duration, window))


def stretch_rule(
    scorer: Scorer,
    calibration: LinearCalibration | Decider | None = None,
    *,
    resolution_ms: float | None = None,
    threshold: float | None = None,
    hysteresis: float | None = None,
    min_duration: float = MIN_DURATION,
) -> tuple[StretchRule, float]:
    """Choose the rule that finds fake stretches in the frame scores of ``scorer``, and the length of a frame in ms.

    Args:
        calibration: a calibration of frame scores of this detector; its operating point becomes the
            threshold.
        resolution_ms: length of a frame in ms; None for the length that the calibration states.
            Without a calibration, None means the shortest frames that ``scorer`` scores.
        threshold, hysteresis, min_duration: as for :meth:`StretchRule.of`.

    Raises:
        InputError: if ``scorer`` does not score segments; if ``scorer`` was not trained on
            segments, and neither a threshold nor a calibration is given; if a threshold and a
            calibration are given; if a number is out of its range; if the calibration was learned
            from frames of another detector or of another length; or if no score corresponds to the
            operating point of the calibration.
    """
    decider = None if calibration is None else as_decider(calibration)
    if decider is not None:
        if threshold is not None:
            raise InputError(
                "the operating point of a calibration is the threshold: leave out `threshold` or `calibration`"
            )
        if resolution_ms is None:
            resolution_ms = decider.calibration.resolution_ms
    resolution_ms = chosen_resolution(scorer, resolution_ms)
    if decider is not None:
        check_belongs(scorer, decider.calibration, resolution_ms)
        threshold = decider.threshold
        if threshold is None:
            raise InputError(
                f"the operating point {decider.point.name} is at no score of this calibration: take another "
                "`operating_point`"
            )
    # A default threshold for the scores of frames exists only for a detector that was trained on segments.
    if threshold is None and not scorer.trained_on_segments:
        raise InputError(
            "this detector was trained on whole recordings, so the scores of its frames have no default threshold: "
            "give a `threshold` or a `calibration` of frame scores, take a detector that was trained on segments, or score "
            "along the time with `score_track`"
        )
    return StretchRule.of(scorer.score_rule, threshold, hysteresis, min_duration), resolution_ms


#: Columns of the table that :func:`decide_trials` writes.
COLUMNS = ("id", "score", "llr", "probability", "decision", "reason", "p_value", "judged")


@dataclass(frozen=True)
class CorpusDecisions:
    """The outcome of :func:`decide_trials`."""

    path: Path
    """The file with the table of decisions."""
    record_path: Path
    """The record beside the table, with the basis of the decisions."""
    counts: dict[str, int]
    """Decision → number of recordings."""
    already_complete: bool = False
    """Whether an earlier call wrote the same table, so that this call did nothing."""


def decide_trials(
    scorer: Scorer,
    decider: Decider,
    trials: Iterable[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    channel: int | None = None,
    num_workers: int | None = None,
    facts: dict[str, Any] | None = None,
) -> CorpusDecisions:
    """Decide on each trial of the score file ``out``, which ``scorer`` made; write a table of decisions beside it.

    The traits of the recordings are measured, and the recordings are also embedded if the
    calibration has embeddings. If a recording cannot be measured, its score alone decides, and the
    record lists the recording under ``unmeasured``. The files of measurements are removed when the
    table is complete. If an earlier call made the table from the same scores on the same basis, the
    table is kept, and nothing is measured.

    Args:
        num_samples: number of leading samples of each recording that were scored; None for all.
        channel: number of the channel that was scored, counted from 0; None for the mean of all
            channels.
        num_workers: number of workers that read audio; None for a number that suits the machine.
        facts: further plain data for the record beside the table, such as the name of the
            calibration's file.

    Raises:
        InputError: if a file cannot be read or written.
        Unfinished: if a worker was killed or hangs; the measurements so far are kept.
    """
    out = Path(out)
    path, record_path = (out.with_name(f"{out.name}.decisions.{kind}") for kind in ("csv", "json"))
    file = Unchanged(out)
    basis = {**(facts or {}), "basis": decider.basis(), "scores_sha256": file.digests()[out]}
    basis = json.loads(json_text(basis))
    # The table of an earlier run is kept if it was made from the same scores by the same calibration.
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        if path.is_file():
            earlier = parsed_json(read_bounded(record_path, 64 << 20), str(record_path))
            is_unchanged = earlier["decisions_sha256"] == sha256_of(path)
            if Claim(path, basis, {key: earlier[key] for key in basis}, is_unchanged).is_done:
                numbers = {str(name): int(count) for name, count in earlier["counts"].items()}
                return CorpusDecisions(path, record_path, numbers, already_complete=True)
    # Measure the recordings whose scores are in the file.
    ids, scores = read_scores(out)
    file.check()
    scored = set(ids)
    measurer = Measurer.of(scorer, decider)
    traits, unmeasured = measure_trials(
        [trial for trial in trials if trial.id in scored],
        out,
        num_samples,
        scorer=scorer,
        embed=measurer.embed is not None,
        channel=channel,
        num_workers=num_workers,
    )
    # Decide on each score, and write the table and its record.
    text = io.StringIO()
    counts = Counter(dict.fromkeys(("bonafide", "spoof", CANNOT_TELL), 0))
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for id, score in zip(ids, scores.tolist()):
        decision = decider(score, traits.get(id))
        counts[decision.decision] += 1
        row = {"id": id, **decision.row()}
        writer.writerow({key: as_cell(value) for key, value in row.items()})
    write_text(path, text.getvalue())
    record = {
        **basis,
        "counts": counts,
        "unmeasured": unmeasured,
        "decisions_sha256": sha256_of(path),
        "decided_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_text(record_path, json_text(record, indent=1, ensure_ascii=False) + "\n")
    forget_traits(out)
    return CorpusDecisions(path, record_path, dict(counts))
