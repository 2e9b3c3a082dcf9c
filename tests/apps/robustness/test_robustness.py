"""Figures under conditions, against metrics computed here, and what the result says in words."""

import functools

import numpy as np
import pytest

from nes2net import metrics
from nes2net.apps.robustness.robustness import CLEAN, evaluate_robustness
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.scoring.decisions import Decider, LinearCalibration, OperatingPoint
from nes2net.scoring.score_file import write_scores

DRAWS = 50
CONDITIONS = ("mp3:64", "mp3:8", "telephone")
RULE = functools.partial(metrics.compute_eer, method="interpolated")


@pytest.fixture
def case(tmp_path):
    """Trials, their clean scores, and those under conditions that shift or blur them."""
    rng = np.random.default_rng(1)
    trials = [Trial(f"u{n}", label=BONAFIDE if n % 3 == 0 else SPOOF) for n in range(150)]
    clean = np.array([2.0 * (trial.label == BONAFIDE) for trial in trials]) + rng.normal(size=150)
    scores = {CLEAN: clean, "mp3:64": clean + 0.01 * rng.normal(size=150), "mp3:8": clean + 3 * rng.normal(size=150)}
    scores["telephone"] = clean - 2
    paths = {condition: tmp_path / f"{condition.replace(':', '_')}.txt" for condition in scores}
    for condition, path in paths.items():
        save(path, trials, scores[condition])
    return trials, paths, scores


def save(path, trials, scores):
    write_scores(path, [trial.id for trial in trials], scores)


def row_of(result, condition):
    return result.tables[0].row(condition=condition)


def evaluated(trials, paths, **options):
    return evaluate_robustness("in_the_wild", "eval", trials, paths, num_resamples=DRAWS, **options)


def of_classes(trials, scores):
    """The scores of bona fide and of spoofed trials."""
    is_bonafide = np.array([trial.label == BONAFIDE for trial in trials])
    return scores[is_bonafide], scores[~is_bonafide]


@pytest.fixture
def result(case):
    trials, paths, _ = case
    return evaluated(trials, paths)


def test_the_eer_of_each_condition_and_its_interval_are_those_of_its_scores(case, result):
    trials, _, scores = case
    for condition, condition_scores in scores.items():
        row = row_of(result, condition)
        classes = of_classes(trials, condition_scores)
        assert row["eer"].value == pytest.approx(RULE(*classes)[0])
        assert row["eer"].interval == metrics.bootstrap_interval(RULE, *classes, num_resamples=DRAWS)


def test_the_error_rates_of_each_condition_are_those_at_the_threshold(case, result):
    """Misses, false alarms, and half of their sum with its interval."""
    trials, _, scores = case
    threshold = result.header["threshold"]
    rates = functools.partial(metrics.compute_rates, threshold=threshold)
    for condition, condition_scores in scores.items():
        row = row_of(result, condition)
        bonafide, spoof = of_classes(trials, condition_scores)
        value = {name: figure.value for name, figure in row.figures.items()}
        assert value["miss"] == np.mean(bonafide < threshold)
        assert value["false_alarm"] == np.mean(spoof >= threshold)
        assert value["hter"] == pytest.approx((value["miss"] + value["false_alarm"]) / 2)
        draws = metrics.bootstrap_values([rates], bonafide, spoof, num_resamples=DRAWS)
        number = 4 / (1 / len(bonafide) + 1 / len(spoof))
        assert row["hter"].interval == metrics.rate_interval(value["hter"], draws[:, 2], number)


def test_each_condition_is_compared_with_the_clean_scores_as_two_systems_are(case, result):
    """By the difference of the EERs, its interval and its p-value."""
    trials, _, scores = case
    clean = of_classes(trials, scores[CLEAN])
    for condition in CONDITIONS:
        row = row_of(result, condition)
        classes = of_classes(trials, scores[condition])
        compared = metrics.compare_systems(RULE, classes, clean, num_resamples=DRAWS)
        assert (row["difference"].value, row["difference"].interval, row["p_value"].value) == compared[2:]


def test_the_share_of_changed_decisions_is_that_of_trials_that_a_condition_moves_across_the_threshold(case, result):
    *_, scores = case
    is_accepted = scores[CLEAN] >= result.header["threshold"]
    for condition in CONDITIONS:
        flipped = (scores[condition] >= result.header["threshold"]) != is_accepted
        assert row_of(result, condition)["changed"].value == pytest.approx(flipped.mean())


def test_a_shift_of_all_scores_changes_the_hter_at_the_threshold_but_not_the_eer(result):
    clean_row = row_of(result, CLEAN)
    shifted = row_of(result, "telephone")
    assert shifted["difference"].value == 0
    assert shifted["hter"].value > clean_row["hter"].value + 0.1


def test_without_an_operating_point_the_threshold_is_that_of_the_eer_of_the_clean_scores(result):
    row = row_of(result, CLEAN)
    assert abs(row["miss"].value - row["false_alarm"].value) < 0.02


def test_an_operating_point_chooses_the_threshold_by_the_clean_scores(case):
    trials, paths, scores = case
    spoof = np.sort([score for trial, score in zip(trials, scores[CLEAN]) if trial.label == SPOOF])
    result = evaluated(trials, paths, rule=OperatingPoint.parse("fa:5%"))
    assert row_of(result, CLEAN)["false_alarm"].value == 0.05
    assert spoof[-6] < result.header["threshold"] <= spoof[-5]


def test_a_few_trials_that_one_condition_lacks_are_omitted_from_all(case):
    trials, paths, scores = case
    save(paths["mp3:8"], trials[2:], scores["mp3:8"][2:])
    result = evaluated(trials, paths)
    assert result.header["left_out"] == {"u0": ["mp3:8"], "u1": ["mp3:8"]}
    assert result.header["num_bonafide"] + result.header["num_spoof"] == 148
    classes = of_classes(trials[2:], scores[CLEAN][2:])
    assert row_of(result, CLEAN)["eer"].value == pytest.approx(RULE(*classes)[0])


def test_a_condition_that_lacks_20_of_150_scores_is_named_as_failed(case):
    trials, paths, scores = case
    save(paths["telephone"], trials[20:], scores["telephone"][20:])
    failed = evaluated(trials, paths).header["failed"]
    assert failed == {"telephone": "20 of 150 trials have no score; the record of its scores says why"}


def test_a_result_tells_of_how_many_trials_it_is_and_which_conditions_failed(case):
    trials, paths, _ = case
    text = evaluated(trials, paths, num_available=2000, failed={"noise": "needs musan"}).text()
    assert "150 of 2,000 trials (50 bona fide, 100 spoof), clean and under 3 conditions" in text
    assert "no figures of noise: needs musan" in text


def test_a_result_names_the_most_damaging_conditions_and_how_many_raise_or_lower_the_eer(result):
    by_eer, by_hter, last = result.lines[-3:]
    assert by_eer.startswith("Most damaging to the EER: mp3:8 (+")
    assert "telephone has the highest half total error rate" in by_hter
    assert last == "Of 3 conditions, 1 raise the EER more than chance would (p < 0.05), and 0 lower it."


def test_a_summary_says_if_no_condition_raises_the_eer(case):
    """Shifts of all scores change no EER."""
    trials, paths, scores = case
    for condition, shift in zip(CONDITIONS, (9, 9, -9)):
        save(paths[condition], trials, scores[CLEAN] + shift)
    lines = evaluated(trials, paths).lines
    assert "No condition raises the EER for certain." in lines


def test_misses_and_accepted_fakes_are_those_at_the_threshold_of_genuine_recordings_alone(case):
    trials, paths, scores = case
    bonafide, spoof = of_classes(trials, scores["mp3:8"])
    genuine = {"scores": sorted(bonafide.tolist()), "alpha": "10%", "groups": None, "assured": False}
    decider = Decider(LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("a",), genuine=genuine))
    result = evaluated(trials, paths, rule=decider)
    row = row_of(result, "mp3:8")
    assert row["miss"].value == 4 / 50  # k = 5 of N = 50
    assert row["false_alarm"].value == np.mean(spoof >= decider.threshold)
    assert "operating point miss:10% of the calibration" in result.header["basis"]


def test_a_result_notes_few_trials_and_what_is_known_of_the_trials(case):
    trials, paths, scores = case
    some = {trial.id: score for trial, score in zip(trials, scores[CLEAN])}
    few = [trial for number, trial in enumerate(trials) if trial.label == SPOOF or number < 30]
    for path in paths.values():
        save(path, few, [some[trial.id] for trial in few])
    unofficial, note = evaluated(few, paths, notes=["not the official trials"]).notes
    assert unofficial == "not the official trials"
    assert note.startswith("there are only 10 bona fide trials: if none of them is wrong")


def changed_by(case, changes):
    """The result under one condition that adds ``changes`` to the clean scores, and its row."""
    trials, paths, scores = case
    save(paths["mp3:8"], trials, scores[CLEAN] + changes)
    result = evaluated(trials, {name: paths[name] for name in (CLEAN, "mp3:8")})
    return result, row_of(result, "mp3:8")


def test_a_condition_that_raises_the_eer_no_more_than_chance_would_is_not_called_damaging(case):
    result, row = changed_by(case, 0.3 * np.random.default_rng(0).normal(size=150))
    assert row["difference"].value > 0
    assert row["p_value"].value >= 0.05
    assert "Most damaging" not in result.text()


def test_a_condition_that_lowers_the_eer_is_not_called_damaging(case):
    trials, _, _ = case
    result, row = changed_by(case, np.array([3 * (trial.label == BONAFIDE) for trial in trials]))
    assert row["difference"].value <= 0
    assert row["p_value"].value < 0.05
    assert "Most damaging" not in result.text()
