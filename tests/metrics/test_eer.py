"""The EER rules: definitions, invariances, agreement, and bad input."""

from bisect import bisect_left

import numpy as np
import pytest
from builders import input_error
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nes2net.metrics import compute_eer, roc_points
from nes2net.metrics.eer import METHODS

# Few distinct values, so that most scores are tied within and between the classes.
tied_scores = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=40)


def eer_by_definition(bonafide, spoof):
    """The ASVspoof rule, step by step."""
    trials = sorted([(s, 0, True) for s in bonafide] + [(s, 1, False) for s in spoof], key=lambda trial: trial[:2])
    rejected = {True: 0, False: 0}
    best = (1.0, 0.5, min(bonafide + spoof) - 0.001)
    for score, _, is_bonafide in trials:
        rejected[is_bonafide] += 1
        frr = rejected[True] / len(bonafide)
        false_alarm_rate = (len(spoof) - rejected[False]) / len(spoof)
        if abs(frr - false_alarm_rate) < best[0]:
            best = (abs(frr - false_alarm_rate), (frr + false_alarm_rate) / 2, score)
    return best[1], best[2]


@given(tied_scores, tied_scores)
def test_eer_and_threshold_by_the_asvspoof_rule_equal_their_definition(bonafide, spoof):
    assert compute_eer(bonafide, spoof) == eer_by_definition(bonafide, spoof)


@settings(max_examples=25)
@given(tied_scores, tied_scores)
def test_roc_points_are_those_of_scikit_learn(bonafide, spoof):
    from sklearn.metrics import roc_curve

    misses, false_alarms, thresholds = roc_points(bonafide, spoof)
    labels = [1] * len(bonafide) + [0] * len(spoof)
    fpr, tpr, expected_thresholds = roc_curve(labels, bonafide + spoof)
    assert_allclose(1 - misses, tpr, atol=1e-15)
    assert_allclose(false_alarms, fpr, atol=1e-15)
    assert_array_equal(thresholds, expected_thresholds)


@pytest.mark.parametrize("method", METHODS)
def test_every_rule_of_the_eer_requires_bona_fide_scores(method):
    with input_error("no bona fide scores"):
        compute_eer([], [1.0], method)


@pytest.mark.parametrize("method", METHODS)
def test_every_rule_of_the_eer_refuses_bona_fide_scores_that_are_nan(method):
    with input_error("1 of 2 bona fide scores are NaN"):
        compute_eer([1.0, np.nan], [1.0], method)


def eer_of_the_arena(bonafide, spoof):
    """The rule of the Speech Anti-Spoofing Arena's client, threshold by threshold, and its threshold."""
    steps = sorted({*bonafide, *spoof})
    lower = sorted(spoof)
    upper = sorted(bonafide)
    false_alarms = [(len(lower) - bisect_left(lower, step)) / len(lower) for step in steps]
    misses = [bisect_left(upper, step) / len(upper) for step in steps]
    for i, j in zip(range(len(steps)), range(1, len(steps))):
        gaps = false_alarms[i] - misses[i], false_alarms[j] - misses[j]
        if np.sign(gaps[0]) != np.sign(gaps[1]):
            share = gaps[0] / (gaps[0] - gaps[1])
            return misses[i] + share * (misses[j] - misses[i]), steps[i] + share * (steps[j] - steps[i])
    nearest = min(range(len(steps)), key=lambda i: abs(false_alarms[i] - misses[i]))
    return (false_alarms[nearest] + misses[nearest]) / 2, steps[nearest]


TIES = {
    "none": lambda scores: scores,
    "whole numbers": np.round,
    "probabilities of one decimal": lambda scores: np.round(1 / (1 + np.exp(-6 * scores)), 1),
    "saturated": lambda scores: np.clip(scores, -1, 0.5),
}


@pytest.mark.parametrize("ties", TIES)
def test_eer_and_threshold_by_the_arena_rule_equal_those_of_the_arenas_client(ties):
    """The rule of the Speech Anti-Spoofing Arena."""
    rng = np.random.default_rng(0)
    for _ in range(250):
        shift = rng.uniform(-1, 3)
        sizes = rng.integers(1, 80, 2)
        classes = [TIES[ties](rng.normal(mean, 1, size)) for mean, size in zip((shift, 0), sizes)]
        result = compute_eer(*classes, "arena")
        assert result == pytest.approx(eer_of_the_arena(*classes), abs=1e-12)
