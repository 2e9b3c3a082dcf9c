"""t-DCF, DCF and Cllr: bounds, invariances, formulas by hand, and bad input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from nes2net import metrics
from nes2net.errors import InputError

scores = st.lists(st.integers(-6, 6).map(float), min_size=3, max_size=40)
ASV = ([2.0, 3.0, 4.0, 0.5], [0.0, 1.0, -1.0, 2.5], [1.5, 3.5, 2.0])


@given(scores, scores)
def test_normalised_costs_lie_between_0_and_1(bonafide, spoof):
    assert 0 <= metrics.compute_min_dcf(bonafide, spoof) <= 1
    assert (
        metrics.compute_act_dcf(bonafide, spoof) >= metrics.compute_min_dcf(bonafide, spoof, method="sklearn") - 1e-12
    )
    if len({*bonafide, *spoof}) >= 3:
        for version in (2019, 2021):
            assert 0 <= metrics.compute_min_tdcf(bonafide, spoof, *ASV, version=version) <= 1 + 1e-12


@given(scores, scores)
def test_minimum_costs_depend_only_on_the_order_of_scores(bonafide, spoof):
    warped = [[math.sinh(score / 3) for score in scores] for scores in (bonafide, spoof)]
    assert metrics.compute_min_dcf(*warped) == metrics.compute_min_dcf(bonafide, spoof)
    if len({*bonafide, *spoof}) >= 3:
        assert metrics.compute_min_tdcf(*warped, *ASV) == metrics.compute_min_tdcf(bonafide, spoof, *ASV)


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


def test_dcf_by_hand():
    # One of two bona fide trials is missed at the best threshold: 0.95 · 0.5 over min(0.95, 0.5).
    # Accepting one of four spoofs instead costs 0.5 · 0.25.
    assert metrics.compute_min_dcf([0.0, 2.0], [1.0, -1.0, -2.0, -3.0]) == pytest.approx(0.125 / 0.5)
    assert metrics.compute_act_dcf([-0.65, 2.0], [-0.64, -1.0]) == pytest.approx((0.95 * 0.5 + 0.5 * 0.5) / 0.5)


def test_cllr_does_not_overflow():
    assert metrics.compute_cllr([1e4], [-1e4]) == 0
    assert metrics.compute_cllr([-1e4], [1e4]) == pytest.approx(1e4 / math.log(2))


@given(scores, scores)
def test_cllr_of_uninformative_scores_is_one_bit(bonafide, spoof):
    zeros = [np.zeros(len(bonafide)), np.zeros(len(spoof))]
    assert metrics.compute_cllr(*zeros) == pytest.approx(1)
    assert metrics.compute_cllr(bonafide, spoof) >= 0


def test_min_cllr_by_hand():
    # Pools {0 b, 1 s} and {2 b}: of two bona fide trials one is in each, the spoof in the first,
    # where the LR is 1/2.
    expected = (0.5 * math.log2(1 + 2) + math.log2(1 + 0.5)) / 2
    assert metrics.compute_min_cllr([0.0, 2.0], [1.0]) == pytest.approx(expected)
    assert metrics.compute_min_cllr([0.0, 2.0], [0.0]) == pytest.approx(expected)  # equal scores are one pool


def test_min_cllr_of_calibrated_scores_is_about_their_cllr():
    rng = np.random.default_rng(0)  # 2 x is the log-likelihood ratio of unit normals at ±1
    bonafide, spoof = 2 * rng.normal(1, 1, 20000), 2 * rng.normal(-1, 1, 20000)
    assert metrics.compute_min_cllr(bonafide, spoof) == pytest.approx(metrics.compute_cllr(bonafide, spoof), abs=0.003)
    assert metrics.compute_min_cllr(bonafide + 3, spoof + 3) == metrics.compute_min_cllr(bonafide, spoof)


@pytest.mark.parametrize(
    "metric", [metrics.compute_min_dcf, metrics.compute_act_dcf, metrics.compute_cllr, metrics.compute_min_cllr]
)
def test_empty_classes_and_nan(metric):
    with pytest.raises(InputError, match="no bona fide"):
        metric([], [1.0])
    with pytest.raises(InputError, match="no spoof"):
        metric([1.0], [])
    with pytest.raises(InputError, match="NaN"):
        metric([1.0], [np.nan])


@pytest.mark.parametrize("version", [2019, 2021])
def test_bad_input_of_tdcf(version):
    with pytest.raises(InputError, match="three distinct"):
        metrics.compute_min_tdcf([1.0, 1.0], [0.0], *ASV, version=version)
    with pytest.raises(InputError, match="1 of 4 scores are infinite"):
        metrics.compute_min_tdcf([1.0, np.inf], [0.0, 0.5], *ASV, version=version)
    with pytest.raises(InputError, match="no ASV spoof"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], ASV[0], ASV[1], [], version=version)
    with pytest.raises(InputError, match="ASV target scores are NaN"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], [np.nan], ASV[1], ASV[2], version=version)


def test_tdcf_of_a_useless_asv_system():
    with pytest.raises(InputError, match="is useless, and t-DCF has no meaning"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], np.arange(20), [30.0], [2.0])
    with pytest.raises(InputError, match="nothing to normalise by"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], [2.0, 3.0], [0.0], [-1.0], version=2019)


def test_unknown_settings():
    with pytest.raises(InputError, match="version 2020"):
        metrics.compute_min_tdcf([1.0, 2.0], [0.0], *ASV, version=2020)
    with pytest.raises(InputError, match="threshold method 'other'"):
        metrics.compute_min_dcf([1.0], [0.0], method="other")
    with pytest.raises(InputError, match="p_spoof"):
        metrics.compute_min_dcf([1.0], [0.0], p_spoof=1.0)
    with pytest.raises(InputError, match="costs must be positive"):
        metrics.compute_act_dcf([1.0], [0.0], c_fa=0)


@given(scores, scores)
def test_min_cllr_is_that_of_the_isotonic_log_likelihood_ratios(bonafide, spoof):
    label = np.repeat((1.0, 0.0), (len(bonafide), len(spoof)))
    posterior = IsotonicRegression().fit_transform(bonafide + spoof, label)
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log(1 - posterior) - math.log(len(bonafide) / len(spoof))
    expected = metrics.compute_cllr(llr[label == 1], llr[label == 0])
    assert metrics.compute_min_cllr(bonafide, spoof) == pytest.approx(expected, abs=1e-12)


def test_cllr_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    bonafide, spoof = rng.normal(1, 2, 41), rng.normal(-1, 2, 67)
    total = 0.0
    for scores, sign in ((bonafide, -1), (spoof, 1)):
        for score in scores:
            total += math.log2(1 + math.exp(sign * score)) / len(scores) / 2
    assert metrics.compute_cllr(bonafide, spoof) == pytest.approx(total, abs=1e-13)
