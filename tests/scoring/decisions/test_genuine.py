"""Thresholds from genuine scores alone: exact places and p-values, and ranges of the true share."""

import json
import lzma
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from builders import input_error

from nes2net.scoring.decisions.genuine import genuine_threshold


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "golden" / "person" / "genuine_threshold.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("assured", "rank", "interval"), [(False, "k", "interval95"), (True, "k_assured_95", "interval95_assured")]
)
def test_ranks_and_ranges_are_those_of_the_reference(golden, assured, rank, interval):
    for row in golden["table"]:
        scores = range(row["N"])
        alpha = row["alpha"]
        if not row[rank]:
            with input_error("recordings are too few"):
                genuine_threshold(scores, alpha, assured=assured)
            continue
        result = genuine_threshold(scores, alpha, assured=assured)
        assert result.k == row[rank]
        assert result.threshold == row[rank] - 1
        np.testing.assert_allclose([result.low, result.high], row[interval], rtol=0, atol=1e-12)


def test_p_values_and_thresholds_of_equal_scores_are_those_of_the_reference(golden):
    for case in golden["ties"]["cases"]:
        result = genuine_threshold(golden["ties"]["scores"], case["alpha"])
        assert [result.k, result.threshold] == [case["k"], case["threshold"]]
        for trial in case["tests"]:
            assert result.p(trial["x"]) == Fraction(trial["p"])
            assert (trial["x"] < result.threshold) == trial["unusual"]


def test_p_values_and_thresholds_over_people_are_those_of_the_reference(golden):
    reference = golden["groups"]
    scores = []
    people = []
    for name, scores_of_person in reference["groups"].items():
        scores += scores_of_person
        people += [name] * len(scores_of_person)
    for case in reference["cases"]:
        result = genuine_threshold(scores, case["alpha"], groups=people)
        assert result.threshold == case["threshold"]
        assert result.p(result.threshold) == Fraction(case["p_at_threshold"])
        for trial in case["tests"]:
            assert result.p([trial["x"]]) == [Fraction(trial["p"])]
    for case in reference["pooled_for_comparison"]:
        result = genuine_threshold(scores, case["alpha"])
        assert [result.number, result.k, result.threshold] == [case["N"], case["k"], case["threshold"]]


def test_the_threshold_of_a_real_system_is_that_of_the_reference(golden, shared):
    folder = shared / "real" / "scores" / "in_the_wild"
    names = ("in_the_wild_key.txt.xz", "SLS_paper.scores_Wild.txt.xz")
    key, table = [lzma.open(folder / name, "rt").read().splitlines() for name in names]
    score_of = dict(line.split() for line in table)
    scores = np.array([float(score_of[line.split()[1]]) for line in key])
    is_genuine = np.array([line.endswith("bona-fide") for line in key])
    genuine = scores[is_genuine]
    reference = golden["in_the_wild_sls"]
    result = genuine_threshold(genuine, "0.05")
    assert [result.k, result.threshold] == [reference["k_all"], reference["t_all"]]
    is_accepted = scores[~is_genuine] >= result.threshold
    assert is_accepted.mean() == reference["spoof_at_or_above_t_all"]
    for case in reference["first_N_in_key_order"]:
        number = case["N"]
        result = genuine_threshold(genuine[:number], "5%")
        assert result.k == case["k"]
        assert result.threshold == case["threshold"]
        is_below = genuine[number:] < result.threshold
        is_accepted = scores[~is_genuine] >= result.threshold
        shares = [case["rest_below"], case["spoof_at_or_above"]]
        np.testing.assert_allclose([is_below.mean(), is_accepted.mean()], shares, rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", ["0.29", "29%", Decimal("0.29"), Fraction(29, 100), 0.29])
def test_a_share_is_taken_as_it_is_written(alpha):
    """The float nearest to 0.29 times 100 is below 29."""
    assert genuine_threshold(range(99), alpha).k == 29


@pytest.mark.parametrize("alpha", ["0", "1", "-5%", "nan", "inf", "five", "1/0", ""])
def test_a_share_outside_of_0_and_1_is_refused(alpha):
    with input_error("a share of misses lies between 0 and 1"):
        genuine_threshold(range(99), alpha)


@pytest.mark.parametrize(("alpha", "plain", "assured"), [("10%", 9, 29), ("5%", 19, 59), ("0.5%", 199, 598)])
def test_too_few_recordings_are_refused_with_the_number_that_is_needed(alpha, plain, assured):
    for needed, is_assured in ((plain, False), (assured, True)):
        assert genuine_threshold(range(needed), alpha, assured=is_assured).k == 1
        with input_error(f"at least {needed} are needed"):
            genuine_threshold(range(needed - 1), alpha, assured=is_assured)


def test_too_few_people_are_refused_however_many_recordings_there_are():
    with input_error("N = 10 people are too few for 5 %: at least 19 are needed"):
        genuine_threshold(range(100), "5%", groups=[f"person {number % 10}" for number in range(100)])


def test_people_with_one_recording_each_have_the_threshold_of_recordings():
    scores = np.random.default_rng(0).normal(size=60).round(1)
    people = [str(number) for number in range(60)]
    for assured in (False, True):
        of_people = genuine_threshold(scores, "5%", groups=people, assured=assured)
        assert of_people.threshold == genuine_threshold(scores, "5%", assured=assured).threshold


def test_a_score_is_below_the_threshold_exactly_if_its_p_value_is_at_most_alpha():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=200).round(1)
    people = rng.integers(0, 40, 200)
    result = genuine_threshold(scores, "0.07", groups=people)
    for score in np.unique(np.concatenate([scores, scores + 0.05])):
        assert (score < result.threshold) == (result.p(score) <= result.alpha)


def test_scores_that_are_no_numbers_or_lack_a_person_are_refused():
    with input_error("1 of 20 genuine scores are NaN"):
        genuine_threshold([*range(19), np.nan], "5%")
    with input_error("20 scores need as many groups, not 2"):
        genuine_threshold(range(20), "5%", groups=["a", "b"])
