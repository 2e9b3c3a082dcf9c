"""Bootstrap intervals: the quick EER against recomputing it, what is drawn, coverage, and bad input."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.errors import InputError

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(scores, scores, st.sampled_from(["asvspoof", "interpolated"]), st.booleans(), st.integers(0, 1000))
def test_quick_eer_is_the_eer_of_the_resample(bonafide, spoof, method, clustered, seed):
    speakers = [f"speaker {i % 4}" for i in range(len(bonafide) + len(spoof))]
    groups = (
        {"bonafide_groups": speakers[: len(bonafide)], "spoof_groups": speakers[len(bonafide) :]} if clustered else {}
    )
    quick = metrics.bootstrap_interval(
        functools.partial(metrics.compute_eer, method=method), bonafide, spoof, num_resamples=15, seed=seed, **groups
    )
    slow = metrics.bootstrap_interval(
        lambda b, s: metrics.compute_eer(b, s, method)[0], bonafide, spoof, num_resamples=15, seed=seed, **groups
    )
    assert quick == pytest.approx(slow, rel=0, abs=1e-14)


@pytest.mark.parametrize("metric", [metrics.compute_min_dcf, metrics.compute_cllr])
def test_any_metric_and_same_seed_same_interval(metric):
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(2, 1, 200), rng.normal(-2, 1, 300)
    low, high = metrics.bootstrap_interval(metric, bonafide, spoof, num_resamples=200)
    assert low < metric(bonafide, spoof) < high
    assert (low, high) == metrics.bootstrap_interval(metric, bonafide, spoof, num_resamples=200)
    assert (low, high) != metrics.bootstrap_interval(metric, bonafide, spoof, num_resamples=200, seed=1)


def test_interval_widens_with_confidence():
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(1, 1, 200), rng.normal(-1, 1, 300)
    low, high = metrics.bootstrap_interval(metrics.compute_eer, bonafide, spoof, confidence=0.99)
    narrow_low, narrow_high = metrics.bootstrap_interval(metrics.compute_eer, bonafide, spoof, confidence=0.5)
    assert low < narrow_low < narrow_high < high


def test_interval_covers_the_true_eer_about_as_often_as_it_says():
    true_eer = 0.15865525393145707  # of two unit normals two apart
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        bonafide, spoof = rng.normal(2, 1, 300), rng.normal(0, 1, 300)
        low, high = metrics.bootstrap_interval(metrics.compute_eer, bonafide, spoof, num_resamples=200, seed=seed)
        covered += low <= true_eer <= high
    assert 87 <= covered <= 100


def test_whole_speakers_are_drawn():
    """Where the trials of a speaker are alike, an interval over trials is far too narrow."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(20), 50)
    offset = rng.normal(0, 1, 20)[speakers]
    bonafide, spoof = 2 + offset + rng.normal(0, 0.3, 1000), rng.normal(0, 1, 1000)
    low, high = metrics.bootstrap_interval(metrics.compute_eer, bonafide, spoof)
    wide_low, wide_high = metrics.bootstrap_interval(
        metrics.compute_eer, bonafide, spoof, bonafide_groups=speakers, spoof_groups=rng.integers(0, 20, 1000)
    )
    assert wide_high - wide_low > 2 * (high - low)


def test_a_draw_without_one_class_is_made_again():
    low, high = metrics.bootstrap_interval(
        metrics.compute_eer, [1.0, 2.0], [0.0], num_resamples=50, bonafide_groups=["a", "a"], spoof_groups=["b"]
    )
    assert (low, high) == (0, 0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_resamples": 0}, "num_resamples must be at least 1"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"bonafide_groups": ["a"]}, "or neither"),
        ({"bonafide_groups": ["a"], "spoof_groups": ["a", "b"]}, "one group per score"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        metrics.bootstrap_interval(metrics.compute_eer, [1.0], [0.0], **options)


def test_bad_scores():
    with pytest.raises(InputError, match="no spoof"):
        metrics.bootstrap_interval(metrics.compute_eer, [1.0], [])
    with pytest.raises(InputError, match="NaN"):
        metrics.bootstrap_interval(metrics.compute_eer, [np.nan], [1.0])
