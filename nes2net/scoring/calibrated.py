"""A detector and a calibration of its scores: whether they belong together, and what to score for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.decisions.calibration import LinearCalibration, ScoredBy
from nes2net.decisions.decision import Decider, Decision
from nes2net.errors import InputError
from nes2net.published_models import samples_to_score
from nes2net.scoring.frame_scores import chosen_resolution
from nes2net.scoring.kernel import score_or_raise
from nes2net.scoring.scorer import Scorer, check_takes_audio_alone
from nes2net.scoring.traits import Measurer
from nes2net.scoring.waveforms import WaveformReader


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


def calibrated_samples(decider: Decider | None, record: Mapping[str, Any]) -> int | None:
    """How many leading samples of a recording to score; None for all.

    As many as the calibration was made of, if it says so; else what a published detector of this
    ``record`` is scored on.
    """
    if decider is not None and (scored_by := decider.calibration.scored_by) is not None:
        return scored_by.num_samples
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
    scorer: Scorer, audio: Any, calibration: LinearCalibration | Decider, sample_rate: float = SAMPLE_RATE
) -> Decision:
    """Decide on a recording, as :meth:`nes2net.Detector.decide`."""
    decider = as_decider(calibration)
    check_takes_audio_alone(scorer)
    check_belongs(scorer, decider.calibration)
    reader = WaveformReader.of(scorer, calibrated_samples(decider, scorer.record))
    recording = reader.read(audio) if isinstance(audio, (str, Path)) else reader.take(audio, sample_rate)
    measurer = Measurer.of(scorer, decider)
    traits = measurer.of_recording(recording) if measurer else None
    return decider(score_or_raise(scorer, torch.from_numpy(recording.waveform)[None])[0], traits)


def frame_threshold(
    scorer: Scorer,
    calibration: LinearCalibration | Decider,
    resolution_ms: float | None = None,
    threshold: float | None = None,
) -> tuple[float, float]:
    """The score at which fake stretches begin, and the length of a frame in ms, by a calibration of frames.

    Raises:
        InputError: if the calibration is not of frames of that length of ``scorer``; the operating
            point has no such score; or there is a ``threshold`` already.
    """
    decider = as_decider(calibration)
    if threshold is not None:
        raise InputError(
            "the operating point of a calibration is the threshold: leave out `threshold` or `calibration`"
        )
    if resolution_ms is None:
        resolution_ms = decider.calibration.resolution_ms
    resolution_ms = chosen_resolution(scorer, resolution_ms)
    check_belongs(scorer, decider.calibration, resolution_ms)
    if decider.threshold is None:
        raise InputError(
            f"the operating point {decider.point.name} is at no score of this calibration: take another `operating_point`"
        )
    return decider.threshold, resolution_ms
