"""Rates at a threshold against scikit-learn, and their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.metrics.intervals import num_trials_by_rate

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)


@settings(max_examples=25)
@given(scores, scores, st.integers(-5, 5))
def test_accuracy_hter_f1_and_macro_f1_at_a_threshold_equal_those_of_scikit_learn(bonafide, spoof, threshold):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    rates = metrics.compute_rates(bonafide, spoof, threshold)
    is_spoof = np.repeat([0, 1], [len(bonafide), len(spoof)])
    called = [int(score < threshold) for score in bonafide + spoof]
    assert rates.accuracy == pytest.approx(accuracy_score(is_spoof, called), abs=1e-12)
    assert 1 - rates.hter == pytest.approx(balanced_accuracy_score(is_spoof, called), abs=1e-12)
    assert rates.f1 == pytest.approx(f1_score(is_spoof, called, zero_division=0), abs=1e-12)
    macro = f1_score(is_spoof, called, average="macro", labels=[0, 1], zero_division=0)
    assert rates.macro_f1 == pytest.approx(macro, abs=1e-12)


def test_numbers_of_trials_behind_rates_of_one_class_and_of_both_equal_their_formulas():
    """Of 40 bona fide and 60 spoofed trials; 4 / (1/40 + 1/60) for a mean of both classes."""
    numbers = num_trials_by_rate(40, 60)
    expected = {"miss": 40, "false_alarm": 60, "hter": 96, "eer": 96, "accuracy": 100, "f1": 120, "macro_f1": 96}
    assert numbers == pytest.approx(expected)
