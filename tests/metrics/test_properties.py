"""What holds for every metric: monotone maps, exchange of classes, bounds; how EER rules differ."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.metrics.eer import METHODS

tied = st.lists(st.integers(-6, 6).map(float), min_size=2, max_size=40)
ASV = {"asv_target": [2.0, 3.0, 4.0, 0.5], "asv_nontarget": [0.0, 1.0, -1.0, 2.5], "asv_spoof": [1.5, 3.5, 2.0]}
CTRSVDD = {"p_spoof": 0.5, "c_fa": 1, "method": "sklearn", "normalize": False}
BY_ORDER = {  # depend on the order of the scores alone
    **{method: functools.partial(metrics.compute_eer, method=method) for method in METHODS},
    "min_dcf": metrics.compute_min_dcf,
    "min_dcf_ctrsvdd": functools.partial(metrics.compute_min_dcf, **CTRSVDD),
    "min_cllr": metrics.compute_min_cllr,
    "a_dcf": lambda b, s: metrics.compute_a_dcf(b, s[:1], s[1:]),
    "t_eer": lambda b, s: metrics.compute_t_eer(b, s, *ASV.values()),
}


def value(metric, bonafide, spoof):
    result = metric(bonafide, spoof)
    return result[0] if isinstance(result, tuple) else result


@st.composite
def distinct(draw):
    """Scores of two classes, all distinct."""
    labels = np.array(draw(st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda labels: len({*labels}) == 2)))
    scores = np.array(draw(st.permutations(range(len(labels)))), dtype=float)
    return scores[labels], scores[~labels]


@pytest.mark.parametrize("name", BY_ORDER)
@settings(max_examples=25)
@given(tied, tied, st.integers(-3, 3), st.integers(1, 5))
def test_strictly_monotone_maps_change_nothing_and_values_have_bounds(name, bonafide, spoof, shift, scale):
    warped = [np.sinh(scale * (np.array(scores) + shift) / 3) for scores in (bonafide, spoof)]
    found = value(BY_ORDER[name], bonafide, spoof)
    assert value(BY_ORDER[name], *warped) == found
    assert 0 <= found <= {"min_dcf_ctrsvdd": 0.5, "a_dcf": 0.9405 / 0.595}.get(name, 1) + 1e-12


@pytest.mark.parametrize("version", [2019, 2021])
@settings(max_examples=25)
@given(tied, tied)
def test_monotone_maps_and_bounds_of_tdcf(version, bonafide, spoof):
    bonafide, spoof = np.append(bonafide, 100.0), np.append(spoof, -100.0)  # three distinct scores at least
    expected = metrics.compute_min_tdcf(bonafide, spoof, **ASV, version=version)
    assert metrics.compute_min_tdcf(bonafide**3, spoof**3, **ASV, version=version) == expected
    weights = metrics.tandem_weights(metrics.asv_error_rates(*ASV.values()), version)
    floor = weights.c0 / (weights.c0 + min(weights.c1, weights.c2))  # the ASV system's own errors
    assert floor - 1e-12 <= expected <= 1 + 1e-12


@given(tied, tied)
def test_the_best_calibration_costs_least(bonafide, spoof):
    assert metrics.compute_min_cllr(bonafide, spoof) <= metrics.compute_cllr(bonafide, spoof) + 1e-12
    assert (
        metrics.compute_min_dcf(bonafide, spoof, method="sklearn") <= metrics.compute_act_dcf(bonafide, spoof) + 1e-12
    )


@given(tied, tied)
def test_exchanging_the_classes_and_the_sign_of_tied_scores(bonafide, spoof):
    negated = [-score for score in spoof], [-score for score in bonafide]
    # Of two equally near steps one is taken; walking backwards it may be the other one.
    half_a_step = 0.5 / min(len(bonafide), len(spoof)) + 1e-12
    assert metrics.compute_eer(*negated)[0] == pytest.approx(metrics.compute_eer(bonafide, spoof)[0], abs=half_a_step)
    costs, exchanged = {"p_spoof": 0.2, "c_miss": 3, "c_fa": 7}, {"p_spoof": 0.8, "c_miss": 7, "c_fa": 3}
    for method in ("asvspoof", "sklearn"):
        assert metrics.compute_min_dcf(*negated, **exchanged, method=method) == pytest.approx(
            metrics.compute_min_dcf(bonafide, spoof, **costs, method=method), abs=1e-12
        )
    assert metrics.compute_cllr(*negated) == pytest.approx(metrics.compute_cllr(bonafide, spoof), abs=1e-12)
    assert metrics.compute_min_cllr(*negated) == pytest.approx(metrics.compute_min_cllr(bonafide, spoof), abs=1e-12)


@given(distinct())
def test_distinct_scores_mirror_and_rules_agree_within_a_step(scores):
    bonafide, spoof = scores
    smallest = min(bonafide.size, spoof.size)
    asvspoof, interpolated, arena, sklearn = (metrics.compute_eer(bonafide, spoof, method)[0] for method in METHODS)
    mirrored = metrics.compute_eer(-spoof, -bonafide, "interpolated")[0]
    negated = metrics.compute_eer(-bonafide, -spoof, "interpolated")[0]
    assert (mirrored, negated) == pytest.approx((interpolated, 1 - interpolated), abs=1e-12)
    assert arena == pytest.approx(interpolated, abs=1e-12)
    assert asvspoof == pytest.approx(interpolated, abs=0.5 / smallest + 1e-12)
    # scikit-learn drops the points within a straight piece of the ROC: up to half of it is lost.
    frr, far, _ = metrics.roc_points(bonafide, spoof)
    crossing = np.argmax(far >= frr)
    piece = np.abs(np.diff(frr)[crossing - 1]) + np.abs(np.diff(far)[crossing - 1])
    assert sklearn == pytest.approx(interpolated, abs=piece / 2 + 1e-12)


@given(tied)
def test_uninformative_scores(scores):
    for method in ("arena", "sklearn"):
        assert metrics.compute_eer(scores, scores, method)[0] == pytest.approx(0.5)
    assert metrics.compute_min_cllr(scores, scores) == pytest.approx(1)
    assert metrics.compute_min_dcf(scores, scores, method="sklearn") == pytest.approx(1)
