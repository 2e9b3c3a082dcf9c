"""t-DCF, DCF and Cllr: formulas by hand, isotonic regression, and bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.errors import InputError

scores = st.lists(st.integers(-6, 6).map(float), min_size=3, max_size=40)
ASV = ([2.0, 3.0, 4.0, 0.5], [0.0, 1.0, -1.0, 2.5], [1.5, 3.5, 2.0])


def test_tandem_weights_by_hand():
    rates = metrics.AsvErrorRates(miss=0.1, false_alarm=0.2, spoof_false_alarm=0.4)
    asv_cost = 0.95 * 0.99 * 0.1 + 0.95 * 0.01 * 10 * 0.2
    assert metrics.tandem_weights(rates) == pytest.approx((asv_cost, 0.95 * 0.99 - asv_cost, 0.05 * 10 * 0.4))
    legacy = metrics.tandem_weights(rates, version=2019)  # C1 = Ptar·(1 − Pmiss) − Pnon·10·Pfa
    assert legacy == pytest.approx((0, 0.95 * 0.99 * 0.9 - 0.95 * 0.01 * 10 * 0.2, 10 * 0.05 * (1 - 0.6)))


def test_a_perfect_countermeasure_leaves_the_cost_of_the_asv_system():
    weights = metrics.tandem_weights(metrics.asv_error_rates(*ASV))
    expected = weights.c0 / (weights.c0 + min(weights.c1, weights.c2))
    assert metrics.compute_min_tdcf([3.0, 4.0], [0.0, 1.0], *ASV) == pytest.approx(expected)
    assert metrics.compute_min_tdcf([3.0, 4.0], [0.0, 1.0], *ASV, version=2019) == 0


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


@pytest.mark.parametrize(
    "metric", [metrics.compute_min_dcf, metrics.compute_act_dcf, metrics.compute_cllr, metrics.compute_min_cllr]
)
def test_empty_classes_and_nan(metric):
    for bonafide, spoof, message in (([], [1.0], "no bona fide"), ([1.0], [], "no spoof"), ([1.0], [np.nan], "NaN")):
        with pytest.raises(InputError, match=message):
            metric(bonafide, spoof)


@pytest.mark.parametrize("version", [2019, 2021])
@pytest.mark.parametrize(
    "bonafide, spoof, asv, message",
    [
        ([1.0, 1.0], [0.0], ASV, "three distinct"),
        ([1.0, np.inf], [0.0, 0.5], ASV, "1 of 4 scores are infinite"),
        ([1.0, 2.0], [0.0], (*ASV[:2], []), "no ASV spoof"),
        ([1.0, 2.0], [0.0], ([np.nan], *ASV[1:]), "ASV target scores are NaN"),
    ],
)
def test_bad_input_of_tdcf(version, bonafide, spoof, asv, message):
    with pytest.raises(InputError, match=message):
        metrics.compute_min_tdcf(bonafide, spoof, *asv, version=version)


def test_tdcf_of_a_useless_asv_system():
    with pytest.raises(InputError, match="is useless, and t-DCF has no meaning"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], np.arange(20), [30.0], [2.0])
    with pytest.raises(InputError, match="nothing to normalise by"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], [2.0, 3.0], [0.0], [-1.0], version=2019)


def test_unknown_settings():
    with pytest.raises(InputError, match="version 2020"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], *ASV, version=2020)
    for setting, message in (
        ({"method": "other"}, "threshold method 'other'"),
        ({"p_spoof": 1.0}, "p_spoof"),
        ({"c_fa": 0}, "costs must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            metrics.compute_min_dcf([1.0], [0.0], **setting)
