"""Bootstrap intervals and comparisons: quick metrics, draws, coverage, and bad input."""

from functools import partial
from statistics import NormalDist

import numpy as np
import pytest
from builders import crossed_effects, input_error
from hypothesis import strategies as st
from numpy.random import default_rng

from nes2net.metrics import (
    bootstrap_interval,
    bootstrap_values,
    compare_systems,
    compute_act_dcf,
    compute_cllr,
    compute_eer,
    compute_min_cllr,
    compute_min_dcf,
    compute_min_tdcf,
    compute_rates,
    percentiles,
    rate_interval,
    wilson_interval,
)
from nes2net.metrics.intervals import two_sided_p
from nes2net.metrics.resampling import figures_of

scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)
ASV = {"asv_target": [2.0, 3.0, 4.0, 0.5], "asv_nontarget": [0.0, 1.0, -1.0, 2.5], "asv_spoof": [1.5, 3.5, 2.0]}
QUICK = {
    "eer": compute_eer,
    "eer interpolated": partial(compute_eer, method="interpolated"),
    **{method: partial(compute_eer, method=method) for method in ("arena", "roc", "rocch", "sklearn")},
    "min_dcf": partial(compute_min_dcf, p_spoof=0.3),
    "min_dcf sklearn": partial(compute_min_dcf, p_spoof=0.5, method="sklearn", normalize=False),
    "act_dcf": partial(compute_act_dcf, c_fa=2),
    "cllr": compute_cllr,
    "min_cllr": compute_min_cllr,
    "rates": partial(compute_rates, threshold=0.5),
    "min_tdcf 2019": partial(compute_min_tdcf, **ASV, version=2019),
    "min_tdcf 2021": partial(compute_min_tdcf, **ASV),
}


def drawn(distance, num_bonafide=200, num_spoof=300, seed=0):
    """Scores of two classes that lie ``distance`` apart, and speakers of them by name of their argument."""
    rng = default_rng(seed)
    classes = rng.normal(distance, 1, num_bonafide), rng.normal(0, 1, num_spoof)
    speakers = {
        f"{kind}_groups": rng.integers(0, 30, len(class_scores))
        for kind, class_scores in zip(("bonafide", "spoof"), classes)
    }
    return *classes, speakers


def plain(metric):
    """``metric`` as an unknown function, which is computed anew on each resample."""

    return lambda bonafide, spoof: figures_of(metric(bonafide, spoof))


@pytest.mark.parametrize("hits, number", [(0, 1), (1, 1), (0, 37), (37, 37), (5, 37), (400, 1001)])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_wilson_interval_equals_that_of_scipy(hits, number, confidence):
    from scipy.stats import binomtest

    expected = binomtest(hits, number).proportion_ci(confidence, "wilson")
    interval = wilson_interval(hits / number, number, confidence)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)


#: What is drawn → the arguments that name it.
DRAWN = {
    "trials": (),
    "speakers": ("bonafide_groups", "spoof_groups"),
    "both": ("bonafide_groups", "spoof_groups", "spoof_attacks"),
}


@pytest.mark.parametrize("unit", ["trials", "both"])
@pytest.mark.parametrize("name", QUICK)
def test_the_quick_computation_of_draws_equals_the_metric_of_each_resample(name, unit):
    *classes, speakers = drawn(2)
    classes = [np.round(scores, 1) for scores in classes]
    metric = QUICK[name]
    units = {**speakers, "spoof_attacks": [f"A{number % 7}" for number in range(300)]}
    groups = {argument: units[argument] for argument in DRAWN[unit]}
    quick = bootstrap_values([metric], *classes, num_resamples=30, **groups)
    slow = bootstrap_values([plain(metric)], *classes, num_resamples=30, **groups)
    assert quick == pytest.approx(slow, abs=1e-13)


@pytest.mark.parametrize("unit", ["trials", "speakers"])
def test_the_quick_draws_of_21_000_trials_equal_the_eer_of_each_resample(unit):
    """Of more than about 1,100 trials no tables are made, and from 20,000 on threads share the draws."""
    bonafide, spoof, speakers = drawn(2, 3000, 18000)
    groups = {argument: speakers[argument] for argument in DRAWN[unit]}
    quick = bootstrap_values([compute_eer], bonafide, spoof, num_resamples=9, **groups)
    slow = bootstrap_values([plain(compute_eer)], bonafide, spoof, num_resamples=9, **groups)
    assert quick[:, 0] == pytest.approx(slow[:, 0], abs=1e-13)


def test_the_bootstrap_interval_of_the_eer_is_computed_by_rate_interval_from_its_draws():
    bonafide, spoof, _ = drawn(2)
    draws = bootstrap_values([plain(compute_eer)], bonafide, spoof, num_resamples=9)[:, 0]
    eer, _ = compute_eer(bonafide, spoof)
    expected = rate_interval(eer, draws, 4 / (1 / 200 + 1 / 300))
    assert bootstrap_interval(compute_eer, bonafide, spoof, num_resamples=9) == pytest.approx(expected, abs=1e-13)


@pytest.fixture(params=[compute_eer, compute_min_dcf, compute_cllr])
def interval(request):
    """A function that computes an interval of a metric of fixed scores."""
    bonafide, spoof, _ = drawn(2)
    return partial(bootstrap_interval, request.param, bonafide, spoof, num_resamples=100)


def test_the_seed_decides_on_the_draws_of_an_interval(interval):
    assert interval() == interval() != interval(seed=1)


def test_an_interval_widens_around_the_metric_with_its_confidence(interval):
    low, high = interval()
    narrow = interval(confidence=0.5)
    wide = interval(confidence=0.99)
    metric, *classes = interval.args
    assert wide[0] < low < narrow[0] < plain(metric)(*classes) < narrow[1] < high < wide[1]


@pytest.mark.slow
@pytest.mark.parametrize(("distance", "num_bonafide", "num_spoof"), [(2, 300, 300), (4, 40, 400)])
def test_intervals_of_95_percent_cover_the_true_eer_in_about_95_of_100_samples(distance, num_bonafide, num_spoof):
    """Also if only about one of 40 bona fide trials is an error."""
    true_eer = NormalDist().cdf(-distance / 2)
    covered = 0
    for seed in range(100):
        bonafide, spoof, _ = drawn(distance, num_bonafide, num_spoof, seed)
        low, high = bootstrap_interval(compute_eer, bonafide, spoof, num_resamples=60, seed=seed)
        covered += low <= true_eer <= high
    assert 91 <= covered < 100


@pytest.fixture
def draws_of_three_attacks():
    """A function that draws metrics of scores of three attacks, which are so few that the draws are spread."""
    rng = default_rng(0)
    bonafide = 9 * rng.normal(0.5, 1, 60)
    spoof = 9 * rng.normal(0, 1, 60)
    options = {"num_resamples": 50, "spoof_attacks": np.arange(60) % 3}
    return partial(bootstrap_values, bonafide=bonafide, spoof=spoof, **options)


def test_the_draws_of_a_metric_do_not_depend_on_the_metrics_beside_it(draws_of_three_attacks):
    alone = draws_of_three_attacks([compute_min_cllr])
    both = draws_of_three_attacks([compute_min_cllr, compute_cllr])
    np.testing.assert_allclose(alone[:, 0], both[:, 0], rtol=1e-12)


def test_draws_of_min_cllr_are_at_most_1_although_some_of_cllr_are_above_1(draws_of_three_attacks):
    min_cllr, cllr = draws_of_three_attacks([compute_min_cllr, compute_cllr]).T
    assert min_cllr.max() <= 1
    assert cllr.max() > 1


def test_intervals_over_speakers_and_attacks_hold_the_true_eer_in_9_of_10_simulations():
    """The one for new speakers and attacks; also the true difference of EERs."""
    repeats = [crossed_effects.coverage(40, seed) for seed in range(50)]
    covered = {unit: np.sum([repeat[unit] for repeat in repeats], axis=0) for unit in repeats[0]}
    assert (covered["both"] >= 45).all()


def test_an_interval_of_many_errors_is_that_of_the_draws_not_of_the_number_of_trials():
    rng = default_rng(0)
    many = rng.binomial(4000, 0.2, 20000) / 4000
    low, high = rate_interval(0.2, many, 4000)
    assert (low, high) == pytest.approx(percentiles(many, 0.95), abs=1e-3)
    assert rate_interval(0.2, many, 1000) == pytest.approx((low, high), rel=0.01)  # draws tell more
    clustered = rng.binomial(400, 0.2, 20000) / 400
    assert rate_interval(0.2, clustered, 4000) == pytest.approx(wilson_interval(0.2, 400), rel=0.01)


def test_an_interval_of_few_errors_is_that_of_wilson():
    for rate in (0.0, 1.0, 0.01):
        assert rate_interval(rate, np.full(50, rate), 100) == wilson_interval(rate, 100)


def test_a_draw_without_bona_fide_or_without_spoofed_trials_is_repeated():
    """With one speaker of each class, each draw then has all trials."""
    groups = {"bonafide_groups": ["a", "a"], "spoof_groups": ["b"]}
    draws = bootstrap_values([compute_eer], [1.0, -1.0], [0.0], num_resamples=50, **groups)
    eer, _ = compute_eer([1.0, -1.0], [0.0])
    assert eer > 0
    assert draws[:, 0].tolist() == [eer] * 50


def test_groups_that_do_not_fit_the_scores_are_refused():
    for options, message in (
        ({"bonafide_groups": ["a"]}, "or remove both"),
        ({"bonafide_groups": ["a"], "spoof_groups": ["a", "b"]}, "one group per score"),
    ):
        with input_error(message):
            bootstrap_interval(compute_eer, [1.0], [0.0], **options)


def test_a_name_of_a_single_attack_is_refused_for_draws_over_attacks():
    with input_error("at least two, one for each spoof score: 1 spoof scores, but 1 name of 1 attack"):
        bootstrap_interval(compute_eer, [1.0], [0.0], spoof_attacks=["A07"])


def test_systems_are_compared_only_on_the_same_number_of_trials():
    with input_error("2 bona fide and 1 spoof scores of the first system, but 1 and 1 of the second"):
        compare_systems(compute_eer, ([1.0, 2.0], [0.0]), ([1.0], [0.0]))


# Comparisons


@pytest.fixture
def two_systems():
    """A system and a slightly worse one on the same trials."""
    rng = default_rng(0)
    first = rng.normal(2, 1, 800), rng.normal(0, 1, 1200)
    return first, tuple(scores + rng.normal(0, 0.35, scores.size) for scores in first)


@pytest.mark.parametrize("metric", [compute_eer, plain(compute_eer), compute_min_dcf])
def test_paired_draws_find_a_difference_between_systems_with_overlapping_intervals(two_systems, metric):
    first, second = two_systems
    result = compare_systems(metric, first, second, num_resamples=120)
    assert result.difference == result.first - result.second < 0
    assert result.p_value < 0.05
    low, high = result.interval
    assert low < result.difference < high < 0
    first_interval, second_interval = (bootstrap_interval(metric, *system, num_resamples=120) for system in two_systems)
    assert first_interval[1] > second_interval[0]  # the two intervals overlap


def test_systems_with_the_same_eer_have_no_difference_and_a_p_value_of_1(two_systems):
    for second in (two_systems[0], tuple(3 * scores + 1 for scores in two_systems[0])):
        result = compare_systems(compute_eer, two_systems[0], second, num_resamples=20)
        assert result.difference == 0
        assert result.interval == (0, 0)
        assert result.p_value == 1


def test_the_smallest_p_value_of_99_resamples_is_2_of_100():
    systems = ([9.0] * 9, [-9.0] * 9), ([0.0] * 9, [0.0] * 9)
    result = compare_systems(compute_cllr, *systems, num_resamples=99)
    assert result.p_value == pytest.approx(2 / 100)


def test_resamples_without_a_difference_count_half_on_each_side_of_a_p_value():
    assert two_sided_p(np.array([0.0] * 90 + [0.1] * 10)) == pytest.approx(2 * 46 / 101)
    assert two_sided_p(np.array([0.0, 0.1, 0.1, -0.1])) == pytest.approx(1.0)
    assert two_sided_p(np.zeros(9)) == 1


def test_drawing_speakers_in_place_of_trials_changes_the_interval_but_not_the_difference(two_systems):
    groups = {"bonafide_groups": np.arange(800) % 40, "spoof_groups": np.arange(1200) % 40}
    rule = compute_eer
    clustered, alone = (
        compare_systems(rule, *two_systems, num_resamples=50, **draw_groups) for draw_groups in (groups, {})
    )
    assert clustered.difference == alone.difference
    assert clustered.interval != alone.interval
