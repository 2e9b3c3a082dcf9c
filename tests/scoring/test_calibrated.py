"""A detector and its calibration: `Detector.decide` and `segment`, and calibrations that do not belong."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, loud_is_fake, slow
from builders.scored import score_trials
from builders.sounds import sounds
from builders.unfit import LOUD, UNFIT, write_unfit

from nes2net.data.corpora.trial import Trial
from nes2net.models.provenance import Provenance
from nes2net.scoring.calibrated import choose_num_samples, decide_trials
from nes2net.scoring.decisions import (
    CANNOT_TELL,
    Decider,
    LinearCalibration,
    OperatingPoint,
    Population,
    ScoredBy,
    decide_along,
    fit,
)
from nes2net.scoring.decisions.population import measure

FITTED = fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])


@pytest.fixture(scope="module")
def speech():
    return LOUD[:24000].astype(np.float64)


@pytest.fixture
def calibration(spectral_detector):
    """A calibration of the scores of one second."""
    return replace(FITTED, scored_by=ScoredBy(spectral_detector.fingerprint(), "float32", 16000))


def test_a_recording_of_the_calibrated_length_is_decided_by_its_score(spectral_detector, calibration, speech, tmp_path):
    """As samples and as a file, by two deciders."""
    second = speech[:16000]
    soundfile.write(tmp_path / "a.wav", second, 16000, subtype="FLOAT")
    score = spectral_detector.score(second, 16000)
    for decider in (Decider(calibration), Decider(calibration, 0.9, OperatingPoint("eer"))):
        expected = replace(decider(score), judged=1.0)
        assert spectral_detector.decide(second, decider, 16000) == expected
        assert spectral_detector.decide(tmp_path / "a.wav", decider) == expected


def test_decide_states_the_score_that_score_gives_for_samples_at_another_sampling_rate(
    spectral_detector, calibration, speech
):
    halves = np.repeat(speech[:16000], 2)
    decision = spectral_detector.decide(halves, calibration, 32000)
    assert decision.score == pytest.approx(spectral_detector.score(halves, 32000))


def test_by_a_calibration_of_whole_recordings_decide_states_the_score_of_the_whole_recording(
    spectral_detector, calibration, speech
):
    of_whole = replace(calibration, scored_by=replace(calibration.scored_by, num_samples=None))
    assert spectral_detector.decide(speech, of_whole, 16000).score == spectral_detector.score(speech, 16000)


def test_a_calibration_of_another_detector_is_refused(spectral_detector, calibration, speech):
    of_another = replace(calibration, scored_by=replace(calibration.scored_by, fingerprint="0"))
    with input_error("the calibration does not belong to this detector"):
        spectral_detector.decide(speech, of_another, 16000)


def test_a_longer_recording_is_decided_along_windows_of_the_calibrated_length(
    spectral_detector, calibration, speech, tmp_path
):
    """From a file, samples and an iterator alike; the stated score is that of the recording's beginning."""
    decider = Decider(calibration)
    soundfile.write(tmp_path / "a.wav", speech, 16000, subtype="FLOAT")
    score = spectral_detector.score(speech, 16000, num_samples=16000)
    track = spectral_detector.score_track(speech, 16000, window=1.0, hop=0.5)
    expected = replace(decide_along(decider, score, track), judged=2 / 3)
    decisions = [
        spectral_detector.decide(tmp_path / "a.wav", decider),
        spectral_detector.decide(speech, decider, 16000),
        spectral_detector.decide(iter(np.split(speech, [5, 9000])), decider, 16000),
    ]
    assert decisions == [expected] * 3


def test_an_unfit_recording_is_not_decided_in_the_table_of_a_corpus_even_if_abstain_is_0(spectral_detector, tmp_path):
    """Silence, a constant, a steady sound, almost silence, and channels that cancel each other."""
    scored_by = ScoredBy(spectral_detector.fingerprint(), "float32", None)
    decider = Decider(replace(FITTED, scored_by=scored_by), abstain=0)
    reasons = write_unfit(tmp_path)
    trials = [Trial(path.stem, path) for path in reasons]
    score_trials(spectral_detector, trials, tmp_path / "scores.txt", num_samples=None)
    table = decide_trials(spectral_detector, decider, trials, tmp_path / "scores.txt", num_samples=None, num_workers=0)
    rows = csv.DictReader(table.path.read_text().splitlines())
    for row, reason in zip(rows, reasons.values(), strict=True):
        assert row["decision"] == CANNOT_TELL
        assert row["reason"].startswith(reason)
        assert row["llr"] == ""
        assert row["probability"] == ""


def test_a_tensor_whose_audio_channels_cancel_each_other_is_not_decided(spectral_detector):
    opposite = torch.from_numpy(UNFIT["opposite"][0].T)
    assert spectral_detector.decide(opposite, FITTED, 16000).decision == CANNOT_TELL


@pytest.mark.parametrize("seconds", [1.0, *slow(4.0)])
def test_sounds_that_are_no_speech_are_not_decided(spectral_detector, seconds):
    """By their beginning or along their length."""
    scored_by = ScoredBy(spectral_detector.fingerprint(), "float32", round(16000 * seconds))
    decider = Decider(replace(FITTED, scored_by=scored_by), abstain=0)
    for name, samples in sounds().items():
        decision = spectral_detector.decide(samples, decider, 16000)
        assert (decision.decision, decision.probability) == (CANNOT_TELL, None), name


def test_the_table_of_decisions_quotes_an_id_that_a_spreadsheet_would_compute(spectral_detector, tmp_path):
    soundfile.write(tmp_path / "voice.wav", LOUD, 16000)
    trials = [Trial("=1+1", tmp_path / "voice.wav")]
    (tmp_path / "scores.txt").write_text("=1+1 -0.5\n")
    decider = Decider(FITTED)
    table = decide_trials(spectral_detector, decider, trials, tmp_path / "scores.txt", num_samples=None, num_workers=0)
    (row,) = csv.DictReader(table.path.read_text().splitlines())
    assert row["id"] == "'=1+1"


def test_traits_are_measured_before_a_short_recording_is_repeated(spectral_detector, calibration, speech):
    """0.5 s are repeated to 1 s only for the detector."""
    usual = measure(speech[:8000])
    spread = [usual._replace(level=usual.level + n / 10) for n in range(-10, 10)]
    population = Population.fit(spread, np.arange(20) < 10)
    decider = Decider(replace(calibration, population=population))
    assert spectral_detector.decide(speech[:8000], decider, 16000).p_value == population.typicality(usual).p_value > 0.3


FRAMES = loud_is_fake.detector()
RECORDING = loud_is_fake.recording()
SCORED_BY = ScoredBy(FRAMES.fingerprint(), "float32", None, 20.0)
OF_FRAMES = LinearCalibration((4.0,), -1.0, 0.5, 1e-6, ("a",), scored_by=SCORED_BY)


@pytest.mark.parametrize("changes", [{}, {"scored_by": None, "trained_on": {"resolution_ms": 20}}])
def test_segment_uses_the_threshold_of_a_calibration_of_frames(changes):
    """Also of one that names the length of its frames only among the facts of its trials."""
    decider = Decider(replace(OF_FRAMES, **changes), operating_point=OperatingPoint("cost", c_fa=2.0))
    expected = FRAMES.segment(RECORDING, 16000, threshold=decider.threshold)
    assert FRAMES.segment(RECORDING, 16000, calibration=decider) == expected


def test_segment_refuses_a_threshold_beside_a_calibration():
    with input_error(r"given twice, by the judgement \(0.1\) and by the operating point of `calibration`: remove one"):
        FRAMES.segment(RECORDING, 16000, threshold=0.1, calibration=OF_FRAMES)


def test_segment_refuses_a_calibration_without_a_threshold_for_its_frames():
    with input_error("at no score of this calibration"):
        FRAMES.segment(RECORDING, 16000, calibration=replace(OF_FRAMES, weights=(-1.0,)))


def test_decide_refuses_a_calibration_of_frames():
    with input_error("not of recordings"):
        FRAMES.decide(RECORDING, OF_FRAMES, 16000)


PUBLISHED = Provenance("df_arena_1b")


def test_without_a_calibrated_length_the_length_of_the_published_model_is_scored():
    assert choose_num_samples(None, PUBLISHED).num_samples == 64600
    assert choose_num_samples(Decider(FITTED), PUBLISHED).num_samples == 64600


def test_without_any_length_the_whole_recording_is_scored():
    assert choose_num_samples(None, Provenance()).num_samples is None


def calibrated_on(num_samples):
    return Decider(replace(FITTED, scored_by=ScoredBy("0", "float32", num_samples)))


@pytest.mark.parametrize("num_samples", [16000, None])
def test_as_much_of_a_recording_is_scored_as_was_scored_for_the_calibration(num_samples):
    assert choose_num_samples(calibrated_on(num_samples), PUBLISHED).num_samples == num_samples


def test_the_reason_given_for_scoring_a_calibrated_length_is_the_calibration():
    assert choose_num_samples(calibrated_on(16000), PUBLISHED)[1] == "for the calibration"
