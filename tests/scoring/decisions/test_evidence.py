"""Evidence along a stream: golden numbers, invariances, saved state, bad input."""

import json
import math

import numpy as np
import pytest
from builders import golden, input_error

from nes2net import decisions

CASES = {case["name"]: case for case in golden.read("tracing/evidence")["cases"]}
WINDOW = 4.0375


def plain_decider(threshold=0.0, prior=0.5):
    """Ratios are the scores themselves, without a bound."""
    calibration = decisions.LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("system",))
    return decisions.Decider(calibration, prior, decisions.OperatingPoint("cost", c_fa=math.exp(threshold)))


@pytest.mark.parametrize("name", CASES)
def test_evidence_and_alarm_after_each_window_equal_the_golden_numbers(name):
    """Mean ratio, probability and cumulative sum, computed by two independent programs."""
    case = CASES[name]
    settings = case["settings"]
    evidence = decisions.Evidence(
        plain_decider(settings["theta"], settings["prior"]),
        settings["W"],
        half_life=settings["half"],
        alarm_probability=settings["on"],
        clear_probability=settings["off"],
        alarm_against=settings["b"],
    )
    for window, expected in zip(case["windows"], case["expected"], strict=True):
        score = np.clip(window["llr"], -settings["clip"], settings["clip"])
        running = evidence.add(window["end"], score, window.get("speech", 1.0))
        state = {name: getattr(running, name) for name in ("mean", "probability", "against")}
        assert state == pytest.approx({name: expected[name] for name in state}, rel=0, abs=1e-9)
        assert running.alarm == expected["alarm"]


@pytest.mark.parametrize("score, sign", [(1e3, 1), (-1e3, -1)])
def test_the_ratio_of_a_window_is_at_most_what_the_trials_of_the_smaller_class_support(score, sign):
    """ln(n + 1) for n trials; the specification says ln n (docs/deviations.md)."""
    rng = np.random.default_rng(0)
    decider = decisions.Decider(decisions.fit(rng.normal(1, 1, 12), rng.normal(-1, 1, 40)))
    assert decisions.Evidence(decider, WINDOW).add(WINDOW, score).mean == pytest.approx(sign * math.log(13), abs=1e-12)


def test_there_is_no_alarm_before_the_first_whole_window():
    evidence = decisions.Evidence(plain_decider(), WINDOW)
    assert not evidence.add(2.0, -9.0).alarm
    assert evidence.add(6.0, -9.0).alarm


@pytest.fixture
def without_speech():
    """The evidence after each of 20 windows without speech."""
    silent = decisions.Evidence(plain_decider(), WINDOW)
    return [silent.add(WINDOW + number, -9.0, 0.0) for number in range(20)]


def test_windows_without_speech_leave_the_evidence_at_the_prior(without_speech):
    assert without_speech[-1].mean == 0
    assert without_speech[-1].probability == 0.5


def test_windows_without_speech_raise_no_alarm(without_speech):
    assert not any(running.alarm for running in without_speech)


def test_a_window_with_a_score_outside_of_those_of_the_calibration_gets_weight_0_with_a_reason():
    rng = np.random.default_rng(0)
    decider = decisions.Decider(decisions.fit(rng.normal(1, 1, 200), rng.normal(-1, 1, 200)))
    evidence = decisions.Evidence(decider, WINDOW)
    traits = decisions.Traits(math.inf, -20.0, 7000.0)
    outside = [evidence.add(float(end), -50.0, 1.0, traits) for end in range(5, 60, 5)]
    for running in outside:
        assert running.weight == 0
        assert "lies outside of the range of the calibration's trials" in running.unusual
    inside = evidence.add(60.0, -1.0, 1.0, traits)
    assert inside.weight == 1
    assert inside.unusual == ""


def test_a_latched_alarm_lasts_through_bona_fide_windows_that_end_an_alarm_without_latch():
    loose, latched = (decisions.Evidence(plain_decider(), WINDOW, latch=latch) for latch in (False, True))
    for evidence in (loose, latched):
        evidence.add(WINDOW, -9.0)
    ends = [WINDOW * number for number in range(2, 12)]
    assert not [loose.add(end, 9.0) for end in ends][-1].alarm
    assert all(latched.add(end, 9.0).alarm for end in ends)


def test_evidence_continued_from_its_saved_state_equals_uninterrupted_evidence_exactly():
    rng = np.random.default_rng(1)
    scores = rng.normal(-1, 2, 60)
    uninterrupted = decisions.Evidence(plain_decider(), WINDOW)
    expected = [uninterrupted.add(WINDOW + number, score) for number, score in enumerate(scores)]
    first = decisions.Evidence(plain_decider(), WINDOW)
    for number, score in enumerate(scores[:30]):
        first.add(WINDOW + number, score)
    state = json.loads(json.dumps(first.state()))
    second = decisions.Evidence.from_state(state, plain_decider(), WINDOW)
    assert [second.add(WINDOW + 30 + number, score) for number, score in enumerate(scores[30:])] == expected[30:]


@pytest.mark.parametrize("state", [{"end": "x"}, {"weight": -1.0}, None])
def test_from_state_refuses_what_is_not_a_state(state):
    with input_error("not a state of evidence"):
        decisions.Evidence.from_state(state, plain_decider(), WINDOW)


@pytest.mark.parametrize(
    "window_score, message",
    [
        ([4.0, 0.0], "in the order of their ends"),
        ([6.0, math.nan], "NaN or infinite"),
    ],
)
def test_a_refused_window_leaves_the_evidence_unchanged(window_score, message):
    evidence = decisions.Evidence(plain_decider(), WINDOW)
    evidence.add(5.0, 0.0)
    state = evidence.state()
    with input_error(message):
        evidence.add(*window_score)
    assert evidence.state() == state
