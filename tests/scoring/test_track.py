"""Scores along a long recording: those of its windows, read in pieces."""

import numpy as np
import pytest
import soundfile
from builders import input_error
from numpy.testing import assert_allclose, assert_array_equal

from nes2net import Detector
from nes2net.scoring.track import score_track


@pytest.fixture
def waveform():
    return (0.1 * np.random.default_rng(0).standard_normal(40000)).astype(np.float32)


def test_a_track_is_the_scores_of_its_windows(detector, waveform, tmp_path):
    reached = []
    options = {"window": 0.5, "hop": 0.4}
    detector.train()
    track = score_track(detector, waveform, 16000, **options, batch_size=2, progress=reached.append)
    # the ends of windows 2, 4 and 6
    assert detector.training
    assert reached == pytest.approx([0.9, 1.7, 2.5])
    starts = [*range(0, 32001, 6400)]
    assert_allclose(track.times, [start / 16000 + 0.25 for start in starts])
    assert track.times.dtype == np.float64
    assert track.scores.dtype == np.float32
    assert track.window == 0.5
    assert track.duration == 2.5
    assert len(track) == len(starts)
    expected = [detector.score(waveform[start : start + 8000], 16000) for start in starts]
    assert track.scores == pytest.approx(expected, abs=1e-6)
    assert track.score == pytest.approx(np.mean(expected), abs=1e-6)
    lowest = starts[int(np.argmin(expected))] / 16000
    assert track.lowest == pytest.approx((lowest, lowest + 0.5, min(expected)), abs=1e-6)
    assert detector.score_track(np.resize(waveform, 70_000), 16000).window == 64600 / 16000
    # 100 more samples, of a file: a last window ends with them
    more = np.append(waveform, waveform[:100])
    soundfile.write(tmp_path / "longer.wav", more, 16000, subtype="FLOAT")
    longer = detector.eval().score_track(tmp_path / "longer.wav", **options, batch_size=3)
    assert_array_equal(longer.times, [*track.times, 40100 / 16000 - 0.25])
    assert longer.scores == pytest.approx([*expected, detector.score(more[-8000:], 16000)], abs=1e-6)


@pytest.mark.parametrize("length", [1, 3000, 64600])
def test_a_short_recording_has_one_score(detector, waveform, length):
    samples = np.resize(waveform, length)
    track = detector.score_track(samples, 16000)
    assert track.scores == pytest.approx([detector.score(samples, 16000)], abs=1e-6)
    assert track.times == pytest.approx([length / 32000])
    assert track.duration == track.window == length / 16000


def test_windows_that_the_detector_cannot_score_are_refused(detector, waveform):
    for options, message in (
        ({"window": 0.001}, "window of 0.001 s is too short for this detector, which needs"),
        ({"window": 0}, "`window` must be a positive number"),
        ({"hop": -1}, "`hop`"),
        ({"hop": float("nan")}, "`hop`"),
    ):
        with input_error(message):
            detector.score_track(waveform, 16000, **options)
    reads_little = Detector.from_config({"frontend": {"name": "lps", "num_samples": 8000}, "backend": "asp_mlp"})
    with input_error("too long for this detector, which reads its first 0.[45]"):
        reads_little.score_track(waveform, 16000, window=0.6, hop=0.6)
    max_samples = reads_little.used_samples.most
    assert (
        len(reads_little.score_track(waveform, 16000, window=max_samples / 16000, hop=0.6)) > 1
    )  # gaps that were asked for
