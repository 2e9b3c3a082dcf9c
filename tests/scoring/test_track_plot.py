"""Pictures of a track: the waveform's envelope and the scores over time."""

import numpy as np
import soundfile

from nes2net.scoring.track_plot import envelope, plot_track


def test_the_envelope_has_the_extremes_of_the_samples(tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal(30001)
    soundfile.write(tmp_path / "noise.wav", samples, 16000, subtype="FLOAT")
    low, high = envelope(tmp_path / "noise.wav", 30001 / 16000)
    column = np.arange(30001) * 2000 // 30001
    for found, function in ((low, np.min), (high, np.max)):
        expected = [function(samples[column == number]) for number in range(2000)]
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_a_picture_of_one_score_and_a_strange_name(spectral_detector, tmp_path):
    path = tmp_path / "cost $5$_{x}.wav"
    soundfile.write(path, np.zeros(8000), 16000)
    plot_track(tmp_path / "picture.png", path, spectral_detector.score_track(path))
    assert (tmp_path / "picture.png").stat().st_size > 5000
