"""Decisions: ratio, probability, threshold, what they rest on, and recordings that are not decided."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nes2net.lib.errors import InputError
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


@given(
    st.floats(0.01, 0.99), st.floats(-20, 20), st.sampled_from(["eer", "cost:1,10,0.95", "fa:50%", "miss:25%", None])
)
def test_a_decision_follows_its_threshold(prior, score, name):
    decider = Decider(CALIBRATION, prior, OperatingPoint.parse(name) if name else None)
    found = decider(score)
    odds = math.exp(found.llr) * prior / (1 - prior)
    ratio = CALIBRATION.weights[0] * score + CALIBRATION.offset
    assert found.llr == pytest.approx(np.clip(ratio, -np.log(5), np.log(5)))  # of four trials a class
    assert replace(decider, unbounded=True)(score).llr == pytest.approx(ratio)
    assert found.probability == pytest.approx(odds / (1 + odds))
    assert found.decision == replace(decider, unbounded=True)(score).decision
    if abs(score - decider.threshold) > 1e-9:
        assert found.decision == ("bonafide" if score > decider.threshold else "spoof")
    # Where the trials support the ratio that the prior asks for, the probability says the same.
    if name is None and abs(decider.llr_threshold) < np.log(5) and abs(found.probability - 0.5) > 1e-9:
        assert found.decision == ("bonafide" if found.probability > 0.5 else "spoof")
    assert list(found.row()) == ["score", "llr", "probability", "decision"]
    assert decider.probabilities([score])[0] == found.probability
    assert decider.llrs([score])[0] == found.llr


def test_a_score_outside_of_those_of_the_calibration_is_not_decided():
    """Unless there are so few of them that a new score is often outside."""
    rng = np.random.default_rng(0)
    decider = Decider(fit(rng.normal(3, 1, 300), rng.normal(-3, 1, 300)))
    for score in (-9.0, 9.0):
        found = decider(score)
        assert found.decision == CANNOT_TELL
        assert f"its score, {score:.4g}, lies outside" in found.reason
    assert decider(2.0).decision == "bonafide"
    assert replace(decider, abstain=0)(9.0).decision == "bonafide"
    few = Decider(fit(rng.normal(3, 1, 90), rng.normal(-3, 1, 90)))
    assert few(9.0).decision == "bonafide"
    assert replace(few, abstain=0.02)(9.0).decision == CANNOT_TELL


def test_a_clipped_recording_counts_half():
    traits = Traits(4.0, -20.0, 8000.0, clipping="clipped: 3.0% of its samples are at its limit")
    rng = np.random.default_rng(0)
    decider = Decider(
        fit(rng.normal(3, 1, 90), rng.normal(-3, 1, 90)), operating_point=OperatingPoint.parse("cost:1,9,0.5")
    )
    for score, expected in ((2.0, "bonafide"), (decider.threshold + 0.1, CANNOT_TELL), (-2.0, "spoof")):
        whole = decider(score)
        found = decider(score, traits)
        assert (found.llr, found.decision) == (whole.llr / 2, expected)
        assert found.probability == decider.probability(whole.llr / 2)
        assert found.reason == (traits.clipping if expected == CANNOT_TELL else None)


def test_ratios_are_bounded_by_the_trials_of_the_calibration():
    """So that no probability is 1; the decision is that of the score, beyond the bound, too."""
    rng = np.random.default_rng(0)
    separated = fit(rng.normal(3, 0.1, 300), rng.normal(-3, 0.1, 40))
    decider = Decider(separated, operating_point=OperatingPoint.parse("fa:5%"), abstain=0)
    assert separated.largest_llr == pytest.approx(np.log(41))
    assert decider.basis()["largest_llr"] == pytest.approx(np.log(41))
    far = decider(1000.0)
    assert (far.llr, far.probability, far.decision) == (pytest.approx(np.log(41)), pytest.approx(41 / 42), "bonafide")
    assert far.llr < replace(decider, unbounded=True)(1000.0).llr
    assert "±3.714" in decider.describe()[1]
    assert "±" not in replace(decider, unbounded=True).describe()[1]
    assert replace(separated, llrs=None).largest_llr == math.inf


@pytest.mark.parametrize("weight", [-2.0, 0.0, 1e-308])
def test_a_threshold_out_of_all_scores_is_none(weight):
    decider = Decider(LinearCalibration((weight,), 0.3, 0.5, 1e-6, ("a",)), 1e-9)
    assert decider.threshold is None
    assert json.dumps(decider.basis(), allow_nan=False)
    assert "a score of" not in decider.describe()[0]
    assert decider(0.5).decision == "spoof"


def test_what_decisions_rest_on():
    about = {"corpus": "a\x1b[2J", "phase": "dev", "num_bonafide": 4, "num_spoof": 4}
    about["date"] = "2026-01-02T03:04:05+00:00"
    calibration = replace(CALIBRATION, trained_on=about, scored_by=ScoredBy("0123456789abcdef", "float32", None))
    decider = Decider(calibration, 0.25)
    basis = decider.basis()
    assert (basis["operating_point"], basis["prior"], basis["detector"]) == ("cost:1,1,0.25", 0.25, "0123456789abcdef")
    assert basis["corpus"] == about["corpus"]
    assert "figures" not in basis
    *_, line = decider.describe()
    assert line == (
        "calibration: a\\x1b[2J, phase dev, 4 bona fide and 4 spoofed trials, 2026-01-02, detector 0123456789ab"
    )


def test_recordings_unlike_those_of_the_calibration():
    rng = np.random.default_rng(0)
    usual = [Traits(3 + rng.random(), -20 + rng.standard_normal(), 8000.0) for _ in range(200)]
    calibration = replace(CALIBRATION, population=Population.fit(usual, np.arange(200) < 100))
    decider = Decider(calibration)
    quiet = Traits(3.5, -60.0, 8000.0)
    found = decider(1.0, quiet)
    assert found.decision == CANNOT_TELL
    assert found.p_value == pytest.approx(1 / 201)
    assert "its level" in found.reason
    assert (found.llr, found.probability) == (None, None)
    typical = decider(1.0, usual[0])
    assert typical.decision == "bonafide"
    assert typical.reason is None
    assert typical.p_value > 0.01
    # not measured
    assert decider(1.0).p_value is None
    assert decider(1.0).decision == "bonafide"
    for abstain, decision in ((0, "bonafide"), (found.p_value, CANNOT_TELL), (found.p_value * 0.99, "bonafide")):
        assert Decider(calibration, abstain=abstain)(1.0, quiet).decision == decision


@pytest.mark.parametrize(
    "weights, settings, message",
    [
        (None, {"prior": 1.0}, "`prior` is between 0 and 1, not 1.0"),
        (None, {"abstain": 1.0}, "`abstain` is a share from 0 to below 1, not 1"),
        (None, {"operating_point": OperatingPoint("fa", rate=0.1)}, "use a rate of at least 25 %"),
        ((1.0, 2.0), {}, "fuses 2 systems"),
        ((1.0,), {"operating_point": OperatingPoint("eer")}, "holds no scores"),
    ],
)
def test_settings_that_do_not_fit_the_calibration_are_refused(weights, settings, message):
    calibration = LinearCalibration(weights, 0.0, 0.5, 1e-6, tuple("ab"[: len(weights)])) if weights else CALIBRATION
    with pytest.raises(InputError, match=message):
        Decider(calibration, **settings)
