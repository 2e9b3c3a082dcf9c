"""t-DCF, DCF and Cllr: formulas by hand, isotonic regression, symmetry, and bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.lib.errors import InputError

scores = st.lists(st.integers(-6, 6).map(float), min_size=2, max_size=40)
ASV = ([2.0, 3.0, 4.0, 0.5], [0.0, 1.0, -1.0, 2.5], [1.5, 3.5, 2.0])


def test_tandem_weights_by_hand():
    rates = metrics.AsvErrorRates(miss=0.1, false_alarm=0.2, spoof_false_alarm=0.4)
    asv_cost = 0.95 * 0.99 * 0.1 + 0.95 * 0.01 * 10 * 0.2
    assert metrics.tandem_weights(rates) == pytest.approx((asv_cost, 0.95 * 0.99 - asv_cost, 0.05 * 10 * 0.4))
    legacy = metrics.tandem_weights(rates, version=2019)  # C1 = Ptar·(1 − Pmiss) − Pnon·10·Pfa
    assert legacy == pytest.approx((0, 0.95 * 0.99 * 0.9 - 0.95 * 0.01 * 10 * 0.2, 10 * 0.05 * (1 - 0.6)))


def test_dcf_and_cllr_by_hand():
    # One of two bona fide trials is missed at the best threshold: 0.95 · 0.5 over min(0.95, 0.5).
    # Accepting one of four spoofs instead costs 0.5 · 0.25.
    assert metrics.compute_min_dcf([0.0, 2.0], [1.0, -1.0, -2.0, -3.0]) == pytest.approx(0.125 / 0.5)
    assert metrics.compute_act_dcf([-0.65, 2.0], [-0.64, -1.0]) == pytest.approx((0.95 * 0.5 + 0.5 * 0.5) / 0.5)
    assert metrics.compute_cllr(np.zeros(3), np.zeros(7)) == pytest.approx(1)
    assert metrics.compute_cllr([1e4], [-1e4]) == 0
    assert metrics.compute_cllr([-1e4], [1e4]) == pytest.approx(1e4 / math.log(2))
    # Pools {0 b, 1 s} and {2 b}: of two bona fide trials one is in each, the spoof in the first,
    # where the LR is 1/2.
    expected = (0.5 * math.log2(1 + 2) + math.log2(1 + 0.5)) / 2
    assert metrics.compute_min_cllr([0.0, 2.0], [1.0]) == pytest.approx(expected)
    assert metrics.compute_min_cllr([0.0, 2.0], [0.0]) == pytest.approx(expected)  # equal scores are one pool


@settings(max_examples=25)
@given(scores, scores)
def test_min_cllr_is_that_of_the_isotonic_log_likelihood_ratios(bonafide, spoof):
    from sklearn.isotonic import IsotonicRegression

    label = np.repeat((1.0, 0.0), (len(bonafide), len(spoof)))
    posterior = IsotonicRegression().fit_transform(bonafide + spoof, label)
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log(1 - posterior) - math.log(len(bonafide) / len(spoof))
    expected = metrics.compute_cllr(llr[label == 1], llr[label == 0])
    assert metrics.compute_min_cllr(bonafide, spoof) == pytest.approx(expected, abs=1e-12)


@given(scores, scores)
def test_exchanging_the_classes_and_the_sign_changes_no_cost(bonafide, spoof):
    negated = [-score for score in spoof], [-score for score in bonafide]
    costs = {"p_spoof": 0.2, "c_miss": 3, "c_fa": 7}
    exchanged = {"p_spoof": 0.8, "c_miss": 7, "c_fa": 3}
    for method in ("asvspoof", "sklearn"):
        cost = metrics.compute_min_dcf(bonafide, spoof, **costs, method=method)
        assert metrics.compute_min_dcf(*negated, **exchanged, method=method) == pytest.approx(cost, abs=1e-12)
    for metric in (metrics.compute_cllr, metrics.compute_min_cllr):
        assert metric(*negated) == pytest.approx(metric(bonafide, spoof), abs=1e-12)


def test_costs_refuse_missing_or_nan_scores_and_unknown_methods():
    two = ([1.0, 2.0], [0.0])
    nan = ([1.0], [np.nan])
    min_dcf = metrics.compute_min_dcf
    min_tdcf = metrics.compute_min_tdcf
    for metric, classes, options, message in (
        (min_dcf, nan, {}, "1 of 1 spoof scores are NaN"),
        (metrics.compute_act_dcf, nan, {}, "1 of 1 spoof scores are NaN"),
        (metrics.compute_cllr, nan, {}, "1 of 1 spoof scores are NaN"),
        (metrics.compute_min_cllr, nan, {}, "1 of 1 spoof scores are NaN"),
        (min_dcf, two, {"method": "other"}, "threshold method 'other'"),
        (min_dcf, two, {"p_spoof": 1.0}, "p_spoof"),
        (min_dcf, two, {"c_fa": 0}, "`c_fa` is a cost above 0, not 0"),
        (min_tdcf, (*two, *ASV), {"version": 2020}, "`version` is 2019 .legacy. or 2021"),
        (min_tdcf, ([1.0, 1.0], [0.0], *ASV), {}, "three distinct"),
        (min_tdcf, ([1.0, np.inf], [0.0, 0.5], *ASV), {}, "1 of 4 scores are infinite"),
        (min_tdcf, (*two, *ASV[:2], []), {}, "no ASV spoof"),
        (min_tdcf, (*two, [np.nan], *ASV[1:]), {}, "ASV target scores are NaN"),
        (min_tdcf, (*two, np.arange(20), [30.0], [2.0]), {}, "is useless, and t-DCF has no meaning"),
        (min_tdcf, (*two, [2.0, 3.0], [0.0], [-1.0]), {"version": 2019}, "nothing to normalise by"),
    ):
        with pytest.raises(InputError, match=message):
            metric(*classes, **options)
