"""A detector and a calibration of its scores: whether they belong together, and what to score for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nes2net.decisions.calibration import LinearCalibration, ScoredBy
from nes2net.decisions.decision import Decider, Decision
from nes2net.errors import InputError
from nes2net.localisation.stretches import MIN_DURATION, StretchRule
from nes2net.published_models import HeardPart, samples_to_score
from nes2net.scoring.kernel import Scorer, SegmentScorer, check_takes_audio_alone, score_or_raise
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.track import chosen_resolution
from nes2net.scoring.waveforms import Audio, WaveformReader


def as_decider(calibration: LinearCalibration | Decider) -> Decider:
    """A decider at the default operating point, if ``calibration`` is none itself."""
    return calibration if isinstance(calibration, Decider) else Decider(calibration)


def check_belongs(scorer: Scorer, calibration: LinearCalibration, resolution_ms: float | None = None) -> list[str]:
    """Check that ``calibration`` is one of the scores of ``scorer``.

    It returns and raises what :meth:`nes2net.decisions.LinearCalibration.check_made_of` does.

    Args:
        resolution_ms: length of the frames that are scored; None for scores of recordings.
    """
    own = calibration.scored_by
    return calibration.check_made_of(
        ScoredBy(scorer.fingerprint(), scorer.precision, None, resolution_ms),
        f"name the detector of the calibration, set `dtype={own.precision if own else scorer.precision}`",
    )


def calibrated_samples(decider: Decider | None, record: Mapping[str, Any]) -> HeardPart:
    """How much of a recording to score.

    As much as the calibration was made of, if it says so; else as a detector of this ``record`` is
    scored without a calibration.
    """
    if decider is not None and (scored_by := decider.calibration.scored_by) is not None:
        return HeardPart(scored_by.num_samples, "for the calibration" if scored_by.num_samples else "")
    return samples_to_score(record)


def notes_on(
    scorer: Scorer, decider: Decider, num_samples: int | None, resolution_ms: float | None = None
) -> list[str]:
    """Check that the calibration belongs to ``scorer``, and say what is uncertain about its decisions.

    Args:
        num_samples: leading samples that are scored, None for all; 0 for windows along a recording.
        resolution_ms, Raises: as for :func:`check_belongs`.
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
    """Decide on a recording, as :meth:`nes2net.Detector.decide`."""
    decider = as_decider(calibration)
    check_takes_audio_alone(scorer)
    check_belongs(scorer, decider.calibration)
    reader = WaveformReader.of(scorer, calibrated_samples(decider, scorer.record).num_samples)
    recording = reader.take(audio, sample_rate)
    measurer = Measurer.of(scorer, decider)
    traits = measurer.of_recording(recording) if measurer else None
    return decider(score_or_raise(scorer, torch.from_numpy(recording.waveform)[None])[0], traits)


def stretch_rule(
    scorer: SegmentScorer,
    calibration: LinearCalibration | Decider | None = None,
    *,
    resolution_ms: float | None = None,
    threshold: float | None = None,
    hysteresis: float | None = None,
    min_duration: float = MIN_DURATION,
) -> tuple[StretchRule, float]:
    """How ``scorer`` finds fake stretches: the rule, and the length of a frame in ms.

    Args:
        calibration: of frame scores of this detector, whose operating point is the threshold.
        threshold, hysteresis, min_duration: as for :meth:`StretchRule.of`.

    Raises:
        InputError: if ``scorer`` sees no segments, or was not trained on them and nobody says at
            which score a stretch is fake; if a number is out of its range; if the calibration is
            not of frames of that length of ``scorer``, or its operating point has no such score; or
            if there is a ``threshold`` beside it.
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
    if threshold is None and not scorer.trained_on_segments:
        raise InputError(
            "this detector was trained on whole recordings, so the scores of its frames have no threshold of their own: take "
            "a detector that was trained on segments (docs/localisation.md), name a score with `threshold` or a "
            "`calibration` of frame scores, or score along the time with `score_track`"
        )
    return StretchRule.of(scorer.score_rule, threshold, hysteresis, min_duration), resolution_ms
