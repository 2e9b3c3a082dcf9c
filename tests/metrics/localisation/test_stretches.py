"""Fake stretches: hysteresis, gaps and the minimum duration."""

import math

import numpy as np
import pytest
from builders import input_error
from hypothesis import given
from hypothesis import strategies as st

from nes2net.metrics.localisation.stretches import StretchRule, fake_stretches

SCORES = st.lists(st.integers(-3, 3).map(float), max_size=40)
RULES = st.builds(
    StretchRule, st.integers(-2, 2).map(float), st.integers(0, 2).map(float), st.sampled_from([0, 0.04, 0.1])
)


def frames(stretches, count, duration):
    """(first, behind) of each stretch, in frames of 20 ms."""
    return [(round(s.start * 50), count if s.end == duration else round(s.end * 50)) for s in stretches]


def slowly(scores, rule):
    """The same in a loop over frames."""
    runs = []
    inside = False
    for frame, score in enumerate(scores):
        inside = score <= rule.threshold + (rule.hysteresis if inside else 0)
        if inside and runs and runs[-1][1] == frame:
            runs[-1][1] += 1
        elif inside:
            runs.append([frame, frame + 1])
    joined = []
    for first, behind in runs:
        if joined and (first - joined[-1][1]) * 20 < rule.min_duration * 1000:
            joined[-1][1] = behind
        else:
            joined.append([first, behind])
    tail = {len(scores): 25}  # ms behind the last frame
    return [(f, b) for f, b in joined if (b - f) * 20 + tail.get(b, 0) >= rule.min_duration * 1000]


@given(SCORES, RULES)
def test_stretches_follow_threshold_hysteresis_and_minimum_duration(scores, rule):
    duration = len(scores) * 0.02 + 0.025
    stretches = fake_stretches(scores, 20, duration, rule)
    assert frames(stretches, len(scores), duration) == slowly(scores, rule)


@given(SCORES, RULES)
def test_a_fake_stretch_has_the_mean_score_of_its_frames(scores, rule):
    stretches = fake_stretches(scores, 20, len(scores) * 0.02 + 0.025, rule)
    for stretch, (first, behind) in zip(stretches, slowly(scores, rule), strict=True):
        mean = np.mean(scores[first:behind])
        assert stretch.score == pytest.approx(mean)


def test_scores_are_compared_with_the_threshold_in_double_precision():
    # In single precision, 0.1 would be at most the float64 0.1.
    assert fake_stretches(np.full(9, 0.1, np.float32), 20, 0.18, StretchRule(0.1, 0.0)) == []


def test_default_settings_of_a_rule_of_stretches_depend_on_its_kind_of_score():
    assert StretchRule.of("logit") == (0.0, 1.0, 0.1)
    assert StretchRule.of("cosine") == (0.5, 0.1, 0.1)


def test_given_settings_of_a_rule_of_stretches_replace_the_defaults_of_its_kind_of_score():
    assert StretchRule.of("cosine", 0.2, 0.0, 0.5) == (0.2, 0.0, 0.5)


def test_scores_of_frames_that_are_not_finite_are_refused():
    with input_error("1 of 1 scores of frames are not finite"):
        fake_stretches([math.nan], 20, 1.0, StretchRule(0.0, 0.0))


def test_scores_of_frames_that_are_not_one_row_are_refused():
    with input_error(r"scores of frames must be one row \(T,\), not of shape \(1, 1\)"):
        fake_stretches([[1.0]], 20, 1.0, StretchRule(0.0, 0.0))
