"""Decisions along a recording: the whole of it, a part that stands out, and what chance does."""

from dataclasses import replace

import numpy as np
import pytest

from nes2net.scoring.decisions import CANNOT_TELL, Decider, OperatingPoint, Traits, decide_along, fit
from nes2net.scoring.track import Track


def decider(separation, trials=200, **options):
    """A decider for scores of both classes with a standard deviation of 1, ``separation`` apart."""
    rng = np.random.default_rng(0)
    bonafide = separation / 2 + rng.standard_normal(trials)
    return Decider(fit(bonafide, -separation / 2 + rng.standard_normal(trials)), **options)


def track(scores, speech=None, window=4.0, hop=4.0):
    """A track of windows with these ``scores``, all of them with speech if not given otherwise."""
    times = window / 2 + hop * np.arange(len(scores))
    share = np.ones(len(scores)) if speech is None else np.array(speech, float)
    return Track(times, np.array(scores, np.float32), window, times[-1] + window / 2, speech=share)


STRONG = decider(6.0)
GENUINE = np.full(40, 3.0)
PARTLY_FAKE = np.where((np.arange(40) >= 20) & (np.arange(40) < 23), -3.0, GENUINE)
CLIPPED = Traits(4.0, -20.0, 8000.0, clipping="clipped: 3.0% of its samples are at its limit")


def test_a_recording_with_high_scores_throughout_is_very_probably_bona_fide():
    decided = decide_along(STRONG, 5.0, track(GENUINE))
    assert decided.decision == "bonafide"
    assert decided.probability > 0.99


@pytest.mark.parametrize("separation, seconds", [(6.0, 8.0), (2.0, 16.0)])
def test_a_decision_states_the_shortest_fake_part_that_would_be_found(separation, seconds):
    """Two windows of 4 s by a strong detector, four by a weaker one."""
    assert decide_along(decider(separation), 3.0, track(GENUINE)).shortest_found == seconds


def test_a_fake_part_makes_the_decision_spoof_though_the_mean_ratio_is_bona_fide():
    decided = decide_along(STRONG, 3.0, track(PARTLY_FAKE))
    assert decided.decision == "spoof"
    assert decided.llr > 0 > decided.stretch.llr


def test_the_row_of_a_decision_says_that_a_recording_is_fake_in_part_and_where():
    along = decide_along(STRONG, 3.0, track(PARTLY_FAKE)).row()["along"]
    assert along["in_part"]
    assert along["stretch"]["start"] == 80.0
    assert along["stretch"]["end"] == 92.0


def test_the_row_of_a_decision_has_number_length_and_hop_of_the_windows_and_the_share_with_speech():
    facts = {"rests_on": 1.0, "windows": 40, "window": 4.0, "hop": 4.0}
    assert facts.items() <= decide_along(STRONG, 3.0, track(GENUINE)).row()["along"].items()


def test_a_recording_that_is_fake_throughout_is_not_called_fake_in_part():
    decided = decide_along(STRONG, 3.0, track(-GENUINE))
    assert decided.decision == "spoof"
    assert not decided.in_part


def test_one_genuine_window_does_not_make_a_fake_recording_bona_fide():
    scores = -GENUINE
    scores[0] = 3.0
    assert decide_along(STRONG, 3.0, track(scores)).decision == "spoof"


def test_more_windows_of_low_scores_than_chance_explains_leave_a_recording_undecided():
    """They are not adjacent, so no part stands out as fake."""
    scores = GENUINE.copy()
    scores[::5] = 0.6
    decided = decide_along(decider(6.0, trials=2000), 3.0, track(scores))
    assert decided.low_windows.p_value < 1e-4
    assert not decided.stretch.stands_out
    assert decided.decision == CANNOT_TELL
    assert decided.reason.startswith("8 of its 40 windows are lower than nearly all")


def test_a_recording_with_as_few_windows_of_low_scores_as_chance_explains_is_bona_fide():
    """One of 40 windows; about one is expected."""
    scores = GENUINE.copy()
    scores[3] = 0.6
    decided = decide_along(decider(6.0, trials=2000), 3.0, track(scores))
    assert decided.low_windows.expected == pytest.approx(1.0, abs=0.01)
    assert decided.decision == "bonafide"


def test_low_scores_of_windows_without_speech_do_not_change_the_decision():
    """It rests on the other windows, three quarters of the recording."""
    scores = GENUINE.copy()
    scores[10:20] = -9.0
    speech = np.ones(40)
    speech[10:20] = 0.2
    decided = decide_along(STRONG, 3.0, track(scores, speech))
    assert decided.decision == "bonafide"
    assert decided.windows == 30
    assert decided.rests_on == pytest.approx(0.75)


def test_a_recording_without_speech_is_not_decided():
    silent = decide_along(STRONG, 3.0, track(GENUINE, np.zeros(40)))
    assert silent.decision == CANNOT_TELL
    assert silent.llr is None
    assert silent.probability is None
    assert silent.reason.startswith("no voice was found")


def test_a_recording_whose_traits_call_it_unfit_is_not_decided():
    unfit = Traits(4.0, -20.0, 8000.0, unfit="digital silence")
    decided = decide_along(STRONG, 3.0, track(GENUINE), unfit)
    assert decided.decision == CANNOT_TELL
    assert decided.reason == "digital silence"
    assert decided.llr is None


def test_clipping_halves_the_log_likelihood_ratio_of_a_recording():
    decided, decided_clipped = (decide_along(STRONG, 3.0, track(GENUINE), traits) for traits in (None, CLIPPED))
    assert decided_clipped.llr == decided.llr / 2


def test_clipping_weakens_the_evidence_of_a_fake_part():
    p_value = decide_along(STRONG, 3.0, track(PARTLY_FAKE)).stretch.p_value
    assert decide_along(STRONG, 3.0, track(PARTLY_FAKE), CLIPPED).stretch.p_value > p_value


def test_a_clipped_recording_is_undecided_only_if_clipping_brings_its_ratio_below_the_threshold():
    strict = replace(STRONG, operating_point=OperatingPoint.parse("cost:1,20,0.5"))
    undecided = decide_along(strict, 3.0, track(GENUINE), CLIPPED)
    assert undecided.decision == CANNOT_TELL
    assert undecided.reason == CLIPPED.clipping
    assert decide_along(STRONG, 3.0, track(GENUINE), CLIPPED).decision == "bonafide"
    assert decide_along(strict, 3.0, track(GENUINE)).decision == "bonafide"


def test_a_weak_detector_does_not_call_a_recording_of_ten_windows_bona_fide():
    """It would miss that half of the recording is fake."""
    undecided = decide_along(decider(0.3), 1.0, track(np.full(10, 0.5)))
    assert undecided.decision == CANNOT_TELL
    assert undecided.reason == "if half of a recording of this length were fake, this detector would mostly miss it"


def test_a_weak_detector_may_call_a_recording_of_ten_windows_fake():
    assert decide_along(decider(0.3), -1.0, track(np.full(10, -0.5))).decision == "spoof"


def test_a_weak_detector_may_call_a_single_window_bona_fide():
    """It was calibrated on recordings of one window."""
    assert decide_along(decider(0.3), 1.0, track([0.5])).decision == "bonafide"


@pytest.fixture(scope="module", params=[(2.0, 5), pytest.param((4.0, 40), marks=pytest.mark.slow)])
def bona_fide(request):
    """What is decided about 1,000 bona fide recordings."""
    separation, num_windows = request.param
    scores = separation / 2 + np.random.default_rng(1).standard_normal((1000, num_windows))
    decide = decider(separation, trials=2000)
    return [decide_along(decide, 0.0, track(row)) for row in scores]


def test_in_fewer_than_16_of_1000_bona_fide_recordings_a_part_stands_out_as_fake(bona_fide):
    assert np.mean([decided.stretch.stands_out for decided in bona_fide]) < 0.016


def test_fewer_than_16_of_1000_bona_fide_recordings_have_more_low_scores_than_chance_explains(bona_fide):
    assert np.mean([decided.low_windows.p_value <= 0.01 for decided in bona_fide]) < 0.016


OVERLAPPING = track(np.repeat(PARTLY_FAKE, 2)[:-1], hop=2.0)


def test_overlap_of_windows_by_half_changes_the_ratio_by_at_most_0_1():
    llr = decide_along(STRONG, 3.0, track(PARTLY_FAKE)).llr
    assert decide_along(STRONG, 3.0, OVERLAPPING).llr == pytest.approx(llr, abs=0.1)


def test_overlap_of_windows_by_half_changes_a_fake_part_by_at_most_a_hop():
    """From 80 to 92 s without overlap."""
    stretch = decide_along(STRONG, 3.0, OVERLAPPING).stretch
    assert stretch.start == 80.0
    assert stretch.end == 94.0


def test_a_threshold_above_the_largest_ratio_of_a_calibration_makes_a_recording_spoof():
    """Nine of its ten windows have the largest ratio, one a smaller one."""
    strict = decider(6.0, operating_point=OperatingPoint.parse("cost:1,1000,0.5"), abstain=0)
    assert strict.llr_threshold > strict.largest_llr
    assert decide_along(strict, 9.0, track([*np.full(9, 9.0), 0.0])).decision == "spoof"


def test_without_saved_ratios_of_trials_a_recording_is_decided_without_seeking_a_fake_part():
    bare = Decider(replace(STRONG.calibration, llrs=None))
    decided = decide_along(bare, 3.0, track(GENUINE))
    assert decided.decision == "bonafide"
    assert decided.stretch is None
    assert decided.shortest_found is None
