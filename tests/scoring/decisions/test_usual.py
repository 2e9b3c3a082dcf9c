"""What is usual for a calibration: exact numbers outside by chance, whatever its size and the share of fakes."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from nes2net.scoring.decisions.calibration import fit
from nes2net.scoring.decisions.population import Population, Traits
from nes2net.scoring.decisions.usual import compare, trait_values, usual_of


def drawn_traits(rng, number):
    columns = rng.lognormal(0, 0.5, number), rng.normal(-20, 3, number), rng.normal(6000, 700, number)
    return [Traits(*row) for row in zip(*(column.tolist() for column in columns))]


def drawn_scores(rng, number, share=0.5):
    return np.where(rng.random(number) < share, 2, -2) + rng.normal(0, 1, number)


def values_of(calibration, scores, traits):
    columns = defaultdict(list)
    for score, of_recording in zip(scores, traits):
        for name, value in trait_values(calibration, score, of_recording).items():
            columns[name].append(value)
    return {name: np.array(column) for name, column in columns.items()}


def of_llrs(usual, llrs, alpha=0.01):
    (comparison,) = compare([usual], {"llr": np.array(llrs)}, alpha)
    return comparison, comparison.num_needed


def test_recordings_like_a_small_calibration_show_drift_at_most_as_often_as_asked_for():
    """If a probability of 20 % is asked for, in at most 14 of 40 runs, but in at least one."""
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        calibration = fit(rng.normal(2, 1, 20), rng.normal(-2, 1, 20))
        calibration = replace(calibration, population=Population.fit(drawn_traits(rng, 40), [True, False] * 20))
        all_usual = usual_of(calibration)
        values = values_of(calibration, drawn_scores(rng, 200, share=rng.random()), drawn_traits(rng, 200))
        comparisons = compare(all_usual, values, 0.2)
        alarms += any(comparison.adjusted_p <= 0.2 for comparison in comparisons)
    assert 1 <= alarms <= 14


@pytest.fixture(scope="module")
def p_of_drift():
    """The mean of 50 scores → their p-value, by a calibration whose classes have the means 6 and −6."""
    rng = np.random.default_rng(0)
    calibration = fit(rng.normal(6, 1, 200), rng.normal(-6, 1, 200))
    (usual,) = usual_of(calibration)
    return {mean: of_llrs(usual, calibration(rng.normal(mean, 1, 50)))[0].adjusted_p for mean in (6, -6, 0)}


def test_scores_of_either_class_alone_are_no_drift(p_of_drift):
    assert p_of_drift[6] > 0.01
    assert p_of_drift[-6] > 0.01


def test_scores_between_the_classes_are_drift(p_of_drift):
    assert p_of_drift[0] <= 0.01


@pytest.fixture
def usual_llrs():
    """The usual ratios of a calibration of 100 trials a class."""
    rng = np.random.default_rng(0)
    (usual,) = usual_of(fit(rng.normal(2, 1, 100), rng.normal(-2, 1, 100)))
    return usual


@pytest.mark.parametrize("number", [1, 2, 50])
def test_drift_begins_exactly_at_the_stated_number_of_ratios_outside_of_the_usual_range(usual_llrs, number):
    (low, high) = usual_llrs.ranges[0]
    for outside in range(number + 1):
        comparison, _ = of_llrs(usual_llrs, [high + 1] * outside + [low] * (number - outside))
        assert (comparison.adjusted_p <= 0.01) is (outside >= comparison.fewest)


@pytest.mark.parametrize("number, can_show_drift", [(1, False), (2, True), (50, True)])
def test_only_as_many_recordings_as_the_number_stated_as_needed_can_show_drift(usual_llrs, number, can_show_drift):
    comparison, needed = of_llrs(usual_llrs, [0.0] * number)
    assert needed == 2
    assert (comparison.fewest <= number) is can_show_drift


@pytest.fixture
def usual_by_name():
    """What is usual for a calibration of 4 trials and 100 recordings."""
    population = Population.fit(drawn_traits(np.random.default_rng(0), 100), [True, False] * 50)
    calibration = replace(fit([1.0, 2.0], [0.0, 1.5]), population=population)
    return {usual.name: usual for usual in usual_of(calibration)}


def test_by_a_calibration_of_100_recordings_7_percent_are_expected_outside_the_usual_levels(usual_by_name):
    assert usual_by_name["level"].expected == pytest.approx(2 * (1 + 0.025 * 99) / 101)


def test_four_trials_are_too_few_for_a_range_of_usual_ratios(usual_by_name):
    assert "llr" not in usual_by_name


def test_levels_of_a_lower_distribution_are_a_shift(usual_by_name):
    rng = np.random.default_rng(1)
    shift = usual_by_name["level"].shift(rng.normal(-23, 3, 100))
    assert shift.side == "below"
    assert shift.share > 0.75
    assert shift.p_value < 0.01


def test_levels_of_the_same_distribution_are_no_shift(usual_by_name):
    rng = np.random.default_rng(1)
    shift = usual_by_name["level"].shift(rng.normal(-20, 3, 100))
    assert shift.p_value > 0.05


def test_levels_equal_to_the_median_are_no_shift(usual_by_name):
    level = usual_by_name["level"]
    assert level.shift(np.full(100, level.middle)).p_value == 1


def test_the_usual_durations_are_in_seconds_not_in_logarithms(usual_by_name):
    low, high = usual_by_name["duration"].ranges[0]
    assert 0.2 < low < 0.6
    assert 1.8 < high < 4
