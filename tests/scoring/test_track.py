"""Scores along a long recording: those of its windows, read in pieces."""

import numpy as np
import pytest
import soundfile
from builders import input_error
from numpy.testing import assert_allclose, assert_array_equal

from nes2net import Detector
from nes2net.scoring.stream import Stream
from nes2net.scoring.track import score_track


@pytest.fixture
def waveform():
    return (0.1 * np.random.default_rng(0).standard_normal(40000)).astype(np.float32)


OPTIONS = {"window": 0.5, "hop": 0.4}


def test_a_track_has_the_scores_of_its_windows_computed_alone(detector, waveform):
    """By a detector in train mode."""
    track = score_track(Stream(detector.train(), 16000, **OPTIONS, batch_size=2), waveform, 16000)
    expected = [detector.score(waveform[start : start + 8000], 16000) for start in range(0, 32001, 6400)]
    assert track.scores == pytest.approx(expected, abs=1e-6)


def test_the_times_of_a_track_are_the_middles_of_its_windows(detector, waveform):
    track = detector.score_track(waveform, 16000, **OPTIONS)
    assert_allclose(track.times, [0.25, 0.65, 1.05, 1.45, 1.85, 2.25])


def test_the_score_of_a_track_is_the_mean_of_the_scores_of_its_windows(detector, waveform):
    track = detector.score_track(waveform, 16000, **OPTIONS)
    assert track.score == pytest.approx(np.mean(track.scores), abs=1e-6)


def test_the_lowest_score_of_a_track_is_stated_with_start_and_end_of_its_window(detector, waveform):
    track = detector.score_track(waveform, 16000, **OPTIONS)
    start = track.times[track.scores.argmin()] - 0.25
    assert track.lowest == pytest.approx((start, start + 0.5, track.scores.min()), abs=1e-6)


def test_a_window_is_as_long_as_training_crops_by_default(detector, waveform):
    assert detector.score_track(np.resize(waveform, 70_000), 16000).window == 64600 / 16000


def test_samples_beyond_the_last_window_get_one_more_that_ends_with_the_file(detector, waveform, tmp_path):
    more = np.append(waveform, waveform[:100])
    soundfile.write(tmp_path / "longer.wav", more, 16000, subtype="FLOAT")
    track = detector.eval().score_track(waveform, 16000, **OPTIONS)
    longer = detector.score_track(tmp_path / "longer.wav", **OPTIONS, batch_size=3)
    assert_array_equal(longer.times, [*track.times, 40100 / 16000 - 0.25])
    assert longer.scores == pytest.approx([*track.scores, detector.score(more[-8000:], 16000)], abs=1e-6)


@pytest.mark.parametrize("length", [1, 3000, 64600])
def test_a_recording_no_longer_than_a_window_has_one_score(detector, waveform, length):
    """That of its only window, which is as long as the recording."""
    samples = np.resize(waveform, length)
    track = detector.score_track(samples, 16000)
    assert track.scores == pytest.approx([detector.score(samples, 16000)], abs=1e-6)
    assert track.times == pytest.approx([length / 32000])
    assert track.duration == track.window == length / 16000


def test_a_window_too_short_for_the_detector_is_refused(detector, waveform):
    with input_error("window of 0.001 s is too short for this detector, which needs"):
        detector.score_track(waveform, 16000, window=0.001)


def test_a_window_longer_than_what_the_detector_reads_is_refused(waveform):
    reads_half_a_second = Detector.from_config({"frontend": {"name": "lps", "num_samples": 8000}, "backend": "asp_mlp"})
    with input_error("too long for this detector, which reads its first 0.[45]"):
        reads_half_a_second.score_track(waveform, 16000, window=0.6, hop=0.6)
