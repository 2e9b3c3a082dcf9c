"""Strict matching of scores with the key."""

from dataclasses import replace

import numpy as np
import pytest
from builders import input_error

from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.matching import match
from nes2net.evaluation.trial_table import TrialTable

KEY = [
    *(Trial(id, label="bonafide", phase="eval") for id in ("b1", "b2")),
    *(Trial(id, label="spoof", phase="eval") for id in ("s1", "s2")),
    Trial("p1", label="spoof", phase="progress"),
]


def test_matched_trials_have_the_order_of_the_score_file():
    matched_trials = match(KEY, ["s2", "b1", "b2", "s1"], np.array([1.0, 2.0, 3.0, 4.0]), "eval")
    assert [trial.id for trial in matched_trials.trials] == ["s2", "b1", "b2", "s1"]
    assert list(matched_trials.bonafide) == [2, 3]
    assert list(matched_trials.spoof) == [1, 4]


def test_without_a_phase_matching_refuses_scores_that_lack_any_trial_of_the_key():
    with input_error("1 of 5 trials without a score: p1"):
        match(KEY, ["b1", "b2", "s1", "s2"], [1.0, 2, 3, 4])


def test_scores_are_matched_with_a_subset_of_a_key():
    partial_key = TrialTable(KEY).take(np.array([2, 1]))
    assert match(partial_key, ["b2", "s1"], [7.0, 5.0]).by_id == {"b2": 7.0, "s1": 5.0}


REPEATED = ["b1", "b1", "b1.wav", "b2.flac", "s1", "s2"], [1.0, 1.0, 1.0, 2.0, 3.0, 4.0]


def test_repeated_rows_of_a_score_file_are_refused():
    """Also with equal values, and under another suffix."""
    message = r"do not fit: 1 scored more than once \(was a run appended to another\?\): b1; correct them"
    with input_error(message):
        match(KEY, *REPEATED, "eval")


def test_if_allowed_a_trial_with_repeated_rows_in_a_score_file_counts_once():
    matched_trials = match(KEY, *REPEATED, "eval", allow_partial=True)
    assert matched_trials.mismatch.repeated == ["b1"]
    assert [trial.id for trial in matched_trials.trials] == ["b1", "b2", "s1", "s2"]
    assert list(matched_trials.scores) == [1, 2, 3, 4]


def test_the_score_of_a_trial_of_another_phase_is_left_out():
    matched_trials = match(KEY, ["b1", "b2", "s1", "s2", "p1"], [1.0, 2, 3, 4, 5], "eval")
    assert list(matched_trials.scores) == [1, 2, 3, 4]


def test_scores_that_do_not_fit_the_key_are_omitted_only_if_allowed():
    ids = ["b1", "b2", "b2", "s1", "zz"]
    scores = [1.0, 2.0, 2.5, float("inf"), 0.0]
    with input_error() as error:
        match(KEY, ids, scores, "eval")
    assert str(error.value) == (
        "scores and key do not fit: 1 of 4 trials without a score: s2; 1 scored twice with different values: b2; "
        "1 scored but not in the key: zz; 1 with a score that is not finite: s1; correct them, or evaluate the rest with `allow_partial`"
    )
    matched_trials = match(KEY, [*ids, "s2"], [*scores, -1.0], "eval", allow_partial=True)
    assert [trial.id for trial in matched_trials.trials] == ["b1", "s2"]


def test_a_score_file_without_any_trial_of_the_key_is_refused():
    with input_error("none of the 4 trials of the key has a score"):
        match(KEY, ["zz"], [1.0], "eval", allow_partial=True)


def test_a_scored_trial_without_a_label_in_the_key_is_refused():
    with input_error("1 trial has no label in the key: t0; use a key with labels"):
        match([Trial("t0")], ["t0"], [0.0])


def test_a_phase_that_no_trial_of_the_key_has_is_refused():
    with input_error("no trials in phase 'dev'; the key has eval, progress"):
        match(KEY, ["t0"], [0.0], "dev")


@pytest.mark.parametrize("id", ["a.M4A", "/data/eval/a.wav", r"D:\data\a.wav"])
def test_only_the_stem_of_a_path_beside_a_score_is_the_id_of_its_trial(id):
    key = [Trial("a", label="bonafide"), Trial("b", label="spoof")]
    assert match(key, [id, "b"], [1.0, 0.0]).by_id == {"a": 1.0, "b": 0.0}


def test_trials_in_the_order_of_their_key_have_the_eer_of_the_file_although_scores_are_equal():
    matched_trials = match(KEY, ["b2", "s1", "p1", "s2", "b1"], np.ones(5))
    in_key_order = matched_trials.in_key_order()
    assert [trial.id for trial in in_key_order.trials] == ["b1", "b2", "s1", "s2", "p1"]
    as_if_file_order = replace(in_key_order, file_order=None)
    eers = []
    for ordered_trials in (matched_trials, in_key_order, as_if_file_order):
        eers.append(ordered_trials.eer_rule("interpolated")(ordered_trials.bonafide, ordered_trials.spoof))
    assert eers[0] == eers[1] != eers[2]
