"""Pictures of a track: its columns of scores, the waveform's envelope, and file names as text."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose

from nes2net.data.audio.columns import envelope
from nes2net.scoring import track_plot
from nes2net.scoring.track import Track
from nes2net.scoring.track_plot import plot_track


@pytest.fixture
def quiet(tmp_path):
    """A file of half a second."""
    soundfile.write(tmp_path / "quiet.wav", np.zeros(8000), 16000)
    return tmp_path / "quiet.wav"


def track_of(scores, duration):
    scores = np.asarray(scores, np.float32)
    window = min(4.0, duration)
    return Track(np.linspace(window / 2, duration - window / 2, len(scores)), scores, window, duration)


def test_each_column_of_the_envelope_has_the_extremes_of_its_samples(tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal(30001)
    soundfile.write(tmp_path / "noise.wav", samples, 16000, subtype="FLOAT")
    low, high = envelope(tmp_path / "noise.wav", 30001 / 16000, 2000)
    column = np.arange(30001) * 2000 // 30001
    for extremes, function in ((low, np.min), (high, np.max)):
        expected = [function(samples[column == number]) for number in range(2000)]
        assert_allclose(extremes, expected, atol=1e-7)


@pytest.fixture
def hour():
    """The track of an hour, which is drawn in 160 columns."""
    return track_of(np.random.default_rng(0).standard_normal(7193), 3600.0)


def of_columns(values):
    """The values of the windows of each column."""
    return [values[first:last] for first, last in pairwise(np.arange(161) * 7193 // 160)]


def test_each_of_160_columns_has_the_quantiles_of_its_scores(hour):
    """Minimum, 10 %, median, 90 % and maximum."""
    _, quantiles = track_plot.column_quantiles(hour)
    assert list(quantiles) == [0.0, 0.1, 0.5, 0.9, 1.0]
    for share, row in quantiles.items():
        expected = [np.quantile(scores, share) for scores in of_columns(hour.scores)]
        assert row == pytest.approx(expected, abs=1e-6)


def test_a_picture_with_a_strange_file_name_is_drawn_without_error_or_warning(quiet, tmp_path):
    """Read as mathematics, this name would be an error."""
    path = quiet.rename(tmp_path / "cost $5$_{x} $\\frac{ 中文 \x1b[2J.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_track(tmp_path / "picture.svg", path, track_of([1.0], 0.5), model=path.name)
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")
