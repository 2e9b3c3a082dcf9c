"""t-DCF, DCF and Cllr: formulas by hand, isotonic regression, symmetry, and bad input."""

import math

import numpy as np
import pytest
from builders import input_error
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net.metrics import (
    compute_act_dcf,
    compute_cllr,
    compute_min_cllr,
    compute_min_dcf,
    compute_min_tdcf,
)

scores = st.lists(st.integers(-6, 6).map(float), min_size=2, max_size=40)
ASV = ([2.0, 3.0, 4.0, 0.5], [0.0, 1.0, -1.0, 2.5], [1.5, 3.5, 2.0])
TWO = ([1.0, 2.0], [0.0])


def test_the_actual_dcf_equals_a_computation_by_hand():
    # At the threshold of these costs, −0.642, one of two trials of each class is wrong.
    assert compute_act_dcf([-0.65, 2.0], [-0.64, -1.0]) == pytest.approx((0.95 * 0.5 + 0.5 * 0.5) / 0.5)


def test_cllr_equals_a_computation_by_hand():
    assert compute_cllr(np.zeros(3), np.zeros(7)) == pytest.approx(1)
    assert compute_cllr([1e4], [-1e4]) == 0
    assert compute_cllr([-1e4], [1e4]) == pytest.approx(1e4 / math.log(2))


@settings(max_examples=25)
@given(scores, scores)
def test_min_cllr_is_that_of_the_isotonic_log_likelihood_ratios(bonafide, spoof):
    from sklearn.isotonic import IsotonicRegression

    label = np.repeat((1.0, 0.0), (len(bonafide), len(spoof)))
    posterior = IsotonicRegression().fit_transform(bonafide + spoof, label)
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log(1 - posterior) - math.log(len(bonafide) / len(spoof))
    expected = compute_cllr(llr[label == 1], llr[label == 0])
    assert compute_min_cllr(bonafide, spoof) == pytest.approx(expected, abs=1e-12)


def test_dcfs_and_cllrs_refuse_spoof_scores_that_are_nan():
    for metric in (compute_min_dcf, compute_act_dcf, compute_cllr, compute_min_cllr):
        with input_error("1 of 1 spoof scores are NaN"):
            metric([1.0], [np.nan])


def test_the_minimum_dcf_refuses_a_cost_of_0_for_false_alarms():
    with input_error("`c_fa` must be a cost above 0, not 0"):
        compute_min_dcf([1.0, 2.0], [0.0], c_fa=0)


def test_min_tdcf_refuses_scores_for_which_it_has_no_value():
    _, nontarget, spoofed = ASV
    for classes, asv, version, message in (
        (([1.0, np.inf], [0.0, 0.5]), ASV, 2021, "1 of 4 scores are infinite"),
        (TWO, ([np.nan], nontarget, spoofed), 2021, "ASV target scores are NaN"),
        (TWO, (np.arange(20), [30.0], [2.0]), 2021, "t-DCF has no meaning, because the ASV system"),
        (TWO, ([2.0, 3.0], [0.0], [-1.0]), 2019, "nothing to normalise by"),
    ):
        with input_error(message):
            compute_min_tdcf(*classes, *asv, version=version)
