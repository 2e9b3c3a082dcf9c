"""Pictures of a track: its axes, its columns of scores, and the waveform's envelope."""

import warnings
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.testing import assert_allclose

from nes2net.data.audio.columns import envelope
from nes2net.scoring import track_plot
from nes2net.scoring.track import Track
from nes2net.scoring.track_plot import BONAFIDE, SPOOF, plot_track


@pytest.fixture
def quiet(tmp_path):
    """A file of half a second."""
    soundfile.write(tmp_path / "quiet.wav", np.zeros(8000), 16000)
    return tmp_path / "quiet.wav"


def track_of(scores, duration):
    scores = np.asarray(scores, np.float32)
    window = min(4.0, duration)
    return Track(np.linspace(window / 2, duration - window / 2, len(scores)), scores, window, duration)


def test_the_envelope_has_the_extremes_of_the_samples(tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal(30001)
    soundfile.write(tmp_path / "noise.wav", samples, 16000, subtype="FLOAT")
    low, high = envelope(tmp_path / "noise.wav", 30001 / 16000, 2000)
    column = np.arange(30001) * 2000 // 30001
    for extremes, function in ((low, np.min), (high, np.max)):
        expected = [function(samples[column == number]) for number in range(2000)]
        assert_allclose(extremes, expected, atol=1e-7)


def test_columns_hold_the_quantiles_of_all_scores_in_turn():
    scores = np.random.default_rng(0).standard_normal(7193).astype(np.float32)
    track = track_of(scores, 3600.0)
    times, quantiles = track_plot.column_quantiles(track)
    assert len(times) == 160
    assert (np.diff(times) > 0).all()
    ends = np.arange(161) * 7193 // 160
    for number, (first, last) in enumerate(pairwise(ends)):
        assert track.times[first] < times[number] < track.times[last - 1]
        for share, quantile_row in quantiles.items():
            assert quantile_row[number] == pytest.approx(np.quantile(scores[first:last], share), abs=1e-6)
    assert list(quantiles) == [0.0, 0.1, 0.5, 0.9, 1.0]
    assert len(track_plot.column_quantiles(track_of(scores[:5], 60.0))[0]) == 1


def test_the_score_axis_holds_all_scores_and_spans_at_least_a_minimum():
    for scores, threshold in (([0.5], None), ([0.5, 0.51, 0.505], 0.0), ([-1.0, 1.5], 20.0), ([-9.0, 7.0], None)):
        low, high = track_plot.score_limits(np.array(scores, np.float32), threshold)
        shown = scores if threshold is None else [*scores, threshold]
        assert high - low >= track_plot.MIN_SPAN * 0.999
        assert low < min(shown)
        assert max(shown) < high
        assert (low + high) / 2 == pytest.approx((min(shown) + max(shown)) / 2)


def test_the_time_axis_has_round_times():
    for duration, label, first in (
        (0.5, "time, s", ["0", "0.1", "0.2"]),
        (30, "time, s", ["0", "5", "10"]),
        (119, "time, m:ss", ["0:00", "0:10", "0:20"]),
        (5 * 3600, "time, h:mm:ss", ["0:00", "30:00", "1:00:00"]),
        (200 * 3600, "time, h:mm:ss", ["0:00"]),
    ):
        axes = Figure().add_subplot()
        track_plot.label_time_axis(axes, duration)
        axes.figure.draw_without_rendering()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels())
        shown = [tick.get_text() for position, tick in ticks if 0 <= position <= duration]
        assert axes.get_xlabel() == label
        assert shown[: len(first)] == first
        assert len({*shown}) == len(shown) <= 14


def test_both_sides_of_a_threshold_have_the_colours_of_the_classes(quiet, tmp_path):
    plot_track(tmp_path / "known.png", quiet, track_of([0.0], 0.5), threshold=1.0)
    picture = imread(tmp_path / "known.png")[..., :3]
    rows = []
    for colour in (BONAFIDE, SPOOF):
        shaded = 1 - 0.08 * (1 - np.array([*bytes.fromhex(colour[1:])]) / 255)  # on white
        rows.append(np.nonzero(np.abs(picture - shaded).max(-1) < 0.02)[0])
    assert len(rows[0]) > 50_000
    assert len(rows[1]) > 50_000
    # Rows count from the top; a few pixels of the writing have these colours too.
    assert np.quantile(rows[0], 0.99) < np.quantile(rows[1], 0.01)


def test_the_report_has_the_same_colours_of_the_classes():
    style = files("nes2net.evaluation").joinpath("page.css").read_text()
    assert f"--bonafide: {BONAFIDE};" in style
    assert f"--spoof: {SPOOF};" in style


def test_strange_file_names_are_drawn_as_text(quiet, tmp_path):
    """Not as mathematics, and within the picture."""
    path = quiet.rename(tmp_path / "cost $5$_{x} $\\frac{ 中文 \x1b[2J.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_track(tmp_path / "picture.svg", path, track_of([1.0], 0.5), model=path.name)
        plot_track(tmp_path / "picture.png", path.rename(tmp_path / f"{'a' * 240}.wav"), track_of([1.0], 0.5))
    assert imread(tmp_path / "picture.png").shape[:2] == (598, 1430)
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")
