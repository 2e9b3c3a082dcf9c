"""A ratio whose bootstrap interval holds the threshold is no answer: of a recording, along it, and in a stream."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from nes2net import InputError
from nes2net.scoring.decisions import CANNOT_TELL, Decider, Evidence, add_resamples, decide_along, fit, load
from nes2net.scoring.track import Track

NUM_TRIALS = 60


def scores_of(separation, number=NUM_TRIALS, seed=0):
    rng = np.random.default_rng(seed)
    return separation / 2 + rng.standard_normal(number), -separation / 2 + rng.standard_normal(number)


@pytest.fixture(scope="module")
def weak():
    """A calibration of a detector with error rates of about a third."""
    return add_resamples(fit(*scores_of(0.8)))


def score_at(calibration, llr):
    """The score whose ratio is ``llr``."""
    return (llr - calibration.offset) / calibration.weights[0]


def track_of(scores):
    times = 2.0 + 4.0 * np.arange(len(scores))
    return Track(times, np.array(scores, np.float32), 4.0, times[-1] + 2.0, speech=np.ones(len(scores)))


def test_the_interval_of_a_ratio_is_about_that_of_calibrations_fitted_to_resampled_trials(weak):
    """From each class as many trials as it has are drawn with replacement."""
    rng = np.random.default_rng(1)
    bonafide, spoof = scores_of(0.8)
    ratios = []
    for _ in range(300):
        refitted = fit(rng.choice(bonafide, NUM_TRIALS), rng.choice(spoof, NUM_TRIALS))
        ratios.append(refitted([0.5])[0])
    expected = np.quantile(ratios, (0.025, 0.975))
    assert weak.interval(weak([0.5])[0]) == pytest.approx(expected, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("l2", [1e-4, 0.0])
def test_each_resample_is_the_calibration_that_fit_gives_for_its_trials(l2):
    """Without a penalty, draws whose classes are separated have no calibration."""
    calibration = fit(*scores_of(1.0, 4), l2=l2)
    rng = np.random.default_rng(0)
    expected = [(1.0, 0.0)]
    for _ in range(500):
        draw = [rng.choice(llrs, len(llrs)) for llrs in calibration.llrs]
        with suppress(InputError):
            refitted = fit(*draw, l2=l2)
            expected.append((refitted.weights[0], refitted.offset))
    assert (len(expected) < 501) == (l2 == 0)
    resamples = add_resamples(calibration).resamples
    np.testing.assert_allclose(np.sort(resamples, 0), np.sort(expected, 0), rtol=1e-5, atol=1e-6)


def test_the_resamples_of_a_calibration_are_equal_each_time_they_are_drawn_from_the_same_trials(weak):
    assert np.array_equal(add_resamples(fit(*scores_of(0.8))).resamples, weak.resamples)


def test_the_resamples_of_a_saved_calibration_are_read_back(weak, tmp_path):
    weak.save(tmp_path / "c.json")
    assert np.array_equal(load(tmp_path / "c.json").resamples, weak.resamples)


@pytest.mark.parametrize("llr", [-0.05, 0.0, 0.02])
def test_a_ratio_near_the_threshold_is_stated_without_a_decision(weak, llr):
    """Its 95 % interval by the resampled trials contains the threshold."""
    decision = Decider(weak)(score_at(weak, llr))
    assert decision.decision == CANNOT_TELL
    assert decision.llr == pytest.approx(llr)
    assert "on either side of the threshold, 0.00" in decision.reason


@pytest.mark.parametrize("llr, decision", [(1.5, "bonafide"), (-1.5, "spoof")])
def test_a_ratio_far_from_the_threshold_is_decided(weak, llr, decision):
    """Its 95 % interval by the resampled trials does not contain the threshold."""
    assert Decider(weak)(score_at(weak, llr)).decision == decision


def test_with_abstain_0_a_ratio_near_the_threshold_is_decided(weak):
    assert Decider(weak, abstain=0)(score_at(weak, -0.05)).decision == "spoof"


def test_a_recording_whose_windows_all_lie_near_the_threshold_is_not_decided(weak):
    for llr in (-0.05, 0.02):
        decision = decide_along(Decider(weak), 0.0, track_of(np.full(60, score_at(weak, llr))))
        assert decision.decision == CANNOT_TELL
        assert "too uncertain" in decision.reason


def test_a_fake_part_is_found_in_a_recording_whose_mean_ratio_is_at_the_threshold():
    strong = add_resamples(fit(*scores_of(4.0, 200)))
    scores = np.full(40, score_at(strong, 0.0))
    scores[10:20] = score_at(strong, -5.0)
    scores[20:30] = score_at(strong, 5.0)
    decision = decide_along(Decider(strong), 0.0, track_of(scores))
    assert decision.decision == "spoof"
    assert decision.stretch.end == 80.0


def test_many_windows_near_the_threshold_raise_no_alarm(weak):
    """By a calibration without resamples, they raise one."""
    ends = 4.0 * np.arange(1, 200)
    alarms = []
    for calibration in (weak, replace(weak, resamples=None)):
        evidence = Evidence(Decider(calibration), window=4.0)
        alarms.append(any(evidence.add(end, score_at(calibration, -0.05)).alarm for end in ends))
    assert alarms == [False, True]
