"""Decisions: ratio, probability, threshold, what they rest on, and recordings that are not decided."""

import math
from dataclasses import replace

import numpy as np
import pytest
from builders import input_error
from hypothesis import given
from hypothesis import strategies as st

from nes2net.scoring.decisions import (
    CANNOT_TELL,
    Decider,
    LinearCalibration,
    OperatingPoint,
    Population,
    ScoredBy,
    Traits,
    fit,
)

CALIBRATION = fit([2.0, 1.0, 0.5, -0.5], [-2.0, -1.0, 0.0, 0.7])


@given(st.floats(0.01, 0.99), st.floats(-20, 20))
def test_a_probability_is_the_ratio_times_the_odds_of_the_prior_as_odds(prior, score):
    decider = Decider(CALIBRATION, prior)
    decision = decider(score)
    odds = math.exp(decision.llr) * prior / (1 - prior)
    assert decision.probability == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("unbounded, bound", [(False, np.log(5)), (True, np.inf)])
@given(st.floats(-20, 20))
def test_a_ratio_is_linear_in_the_score_up_to_the_bound_if_there_is_one(unbounded, bound, score):
    """The bound is ln 5 for four trials a class."""
    ratio = CALIBRATION.weights[0] * score + CALIBRATION.offset
    decider = Decider(CALIBRATION, unbounded=unbounded)
    decision = decider(score)
    assert decision.llr == pytest.approx(np.clip(ratio, -bound, bound))


@pytest.mark.parametrize("name", ["eer", "cost:1,10,0.95", "cost:1,1,0.1", "fa:50%", "miss:25%"])
@given(st.floats(-20, 20))
def test_a_score_above_the_threshold_is_bona_fide_and_one_below_a_spoof(name, score):
    decider = Decider(CALIBRATION, operating_point=OperatingPoint.parse(name))
    if abs(score - decider.threshold) > 1e-9:
        assert (decider(score).decision == "bonafide") is (score > decider.threshold)


def test_ratios_and_probabilities_of_an_array_of_scores_equal_those_of_single_decisions():
    decider = Decider(CALIBRATION, 0.3)
    scores = [-9.0, 0.2]
    decisions = [decider(score) for score in scores]
    assert decider.probabilities(scores).tolist() == [decision.probability for decision in decisions]
    assert decider.llrs(scores).tolist() == [decision.llr for decision in decisions]


def test_a_score_beyond_all_600_of_a_calibration_is_not_decided_unless_abstain_is_0():
    rng = np.random.default_rng(0)
    decider = Decider(fit(rng.normal(3, 1, 300), rng.normal(-3, 1, 300)))
    for score in (-9.0, 9.0):
        decision = decider(score)
        assert decision.decision == CANNOT_TELL
        assert f"its score, {score:.4g}, lies outside" in decision.reason
    assert replace(decider, abstain=0)(9.0).decision == "bonafide"


def test_a_score_beyond_all_180_of_a_calibration_is_decided_unless_a_larger_abstain_is_given():
    """By chance, 2 of 181 scores lie outside: more than the 1 % of the default."""
    rng = np.random.default_rng(0)
    few = Decider(fit(rng.normal(3, 1, 90), rng.normal(-3, 1, 90)))
    assert few(9.0).decision == "bonafide"
    assert replace(few, abstain=0.02)(9.0).decision == CANNOT_TELL


def test_clipping_halves_the_ratio_of_a_score_before_the_decision():
    """A score just above the threshold is then undecided."""
    traits = Traits(4.0, -20.0, 8000.0, clipping="clipped: 3.0% of its samples are at its limit")
    rng = np.random.default_rng(0)
    decider = Decider(
        fit(rng.normal(3, 1, 90), rng.normal(-3, 1, 90)), operating_point=OperatingPoint.parse("cost:1,9,0.5")
    )
    decisions = {2.0: "bonafide", decider.threshold + 0.1: CANNOT_TELL, -2.0: "spoof"}
    for score, expected in decisions.items():
        decision = decider(score)
        decision_of_clipped = decider(score, traits)
        assert decision_of_clipped.llr == decision.llr / 2
        assert decision_of_clipped.decision == expected


def test_a_likelihood_ratio_is_at_most_the_number_of_trials_of_the_smaller_class_plus_one():
    """With 40 trials 41, so that the probability is at most 41/42."""
    rng = np.random.default_rng(0)
    separated = fit(rng.normal(3, 0.1, 300), rng.normal(-3, 0.1, 40))
    decider = Decider(separated, operating_point=OperatingPoint.parse("fa:5%"), abstain=0)
    high_score = decider(1000.0)
    assert high_score.llr == pytest.approx(np.log(41))
    assert high_score.probability == pytest.approx(41 / 42)


@pytest.fixture(params=[-2.0, 0.0, 1e-308])
def weightless(request):
    """A decider whose calibration has a weight that is negative, zero or tiny."""
    calibration = LinearCalibration((request.param,), 0.3, 0.5, 1e-6, ("a",))
    return Decider(calibration, 1e-9)


def test_without_a_weight_well_above_0_no_score_is_the_threshold(weightless):
    assert weightless.threshold is None


def test_without_a_weight_well_above_0_a_score_is_decided(weightless):
    assert weightless(0.5).decision == "spoof"


def test_the_basis_of_decisions_names_operating_point_prior_detector_corpus_and_largest_ratio():
    scored_by = ScoredBy("0123456789abcdef", "float32", None)
    basis = Decider(replace(CALIBRATION, trained_on={"corpus": "a"}, scored_by=scored_by), 0.25).basis()
    assert basis["operating_point"] == "cost:1,1,0.25"
    assert basis["prior"] == 0.25
    assert basis["detector"] == "0123456789abcdef"
    assert basis["corpus"] == "a"
    assert basis["largest_llr"] == pytest.approx(np.log(5))  # of four trials a class


rng = np.random.default_rng(0)
RECORDINGS = [Traits(3 + rng.random(), -20 + rng.standard_normal(), 8000.0) for _ in range(200)]
WITH_RECORDINGS = replace(CALIBRATION, population=Population.fit(RECORDINGS, np.arange(200) < 100))
QUIET = Traits(3.5, -60.0, 8000.0)


def test_a_recording_unlike_those_of_the_calibration_is_not_decided():
    decision_on_quiet = Decider(WITH_RECORDINGS)(1.0, QUIET)
    assert decision_on_quiet.decision == CANNOT_TELL
    assert decision_on_quiet.p_value == pytest.approx(1 / 201)
    assert "its level" in decision_on_quiet.reason
    assert decision_on_quiet.llr is None
    assert decision_on_quiet.probability is None


def test_a_recording_like_those_of_the_calibration_is_decided():
    decider = Decider(WITH_RECORDINGS)
    typical = decider(1.0, RECORDINGS[0])
    assert typical.decision == "bonafide"


def test_a_score_without_traits_of_its_recording_is_decided():
    decision = Decider(WITH_RECORDINGS)(1.0)
    assert decision.p_value is None
    assert decision.decision == "bonafide"


@pytest.mark.parametrize("abstain, decision", [(0, "bonafide"), (1 / 201, CANNOT_TELL), (0.99 / 201, "bonafide")])
def test_a_recording_is_undecided_only_if_its_p_value_is_at_most_abstain(abstain, decision):
    assert Decider(WITH_RECORDINGS, abstain=abstain)(1.0, QUIET).decision == decision


def test_a_calibration_that_fuses_two_systems_is_refused_as_a_basis_of_decisions():
    with input_error("fuses 2 systems"):
        Decider(LinearCalibration((1.0, 2.0), 0.0, 0.5, 1e-6, ("a", "b")))
