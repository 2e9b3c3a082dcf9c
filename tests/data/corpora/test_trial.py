"""Trials: light, pickled for reading processes, counted, and drawn in the proportions of labels and attacks."""

import dataclasses
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from builders import input_error

from nes2net.data.corpora.corpus import Counts, count
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, stratified_subset, trials_digest

_OTHERS = {"path": Path("a/b.flac"), "extra": (("room", "x"),), "system_scores": (0.5,)}
FULL = Trial(**{field.name: _OTHERS.get(field.name, field.name) for field in dataclasses.fields(Trial)})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_trial_is_the_same_after_pickling(protocol):
    for trial in (Trial("a"), FULL):
        copy = pickle.loads(pickle.dumps(trial, protocol))
        assert copy == trial
        assert hash(copy) == hash(trial)
        assert type(copy.path) is type(trial.path)


def test_a_trial_gives_a_field_that_only_some_corpora_have_by_its_name():
    assert FULL.get("room") == "x"


def test_asking_a_trial_from_a_key_for_the_path_of_its_audio_is_refused():
    with input_error("trial 'a' has no path to its audio, because it is from a key"):
        Trial("a").audio_path()


COUNTS = Counts(3, 1, 1, {"attack": {"A07": 1}, "codec": {"gsm": 2, "opus": 1}})


def test_trials_are_counted_in_total_for_each_label_and_for_each_value_of_a_field():
    trials = [
        Trial("a", label="bonafide", codec="gsm"),
        Trial("b", label="spoof", codec="gsm", attack="A07"),
        Trial("c", codec="opus"),
    ]
    assert count(trials) == COUNTS


def test_the_numbers_of_bona_fide_and_of_spoofed_trials_without_labels_are_unknown_not_0():
    assert count([Trial("a")]) == Counts(1)


def test_two_counts_of_trials_are_compared_only_in_the_fields_that_both_state():
    assert COUNTS.differences(Counts(1000, 1, None, {"codec": {"gsm": 5, "opus": 1}, "source": {"x": 9}})) == [
        "3 trials instead of 1,000",
        "codec gsm: 2 instead of 5",
    ]


def test_a_counted_value_of_a_field_that_the_official_counts_lack_is_compared_with_0():
    assert COUNTS.differences(Counts(3, 1, 1, {"codec": {"gsm": 2}})) == ["codec opus: 1 instead of 0"]


DIGESTED = [Trial("a", label="bonafide"), Trial("b", label="spoof"), Trial("\udcff", label="spoof")]


def digest(trials, in_order=False):
    return trials_digest(trials, lambda trial: f"{trial.id} {trial.label}", in_order=in_order)


def test_the_digest_of_trials_depends_on_their_order_only_if_asked_for():
    backwards = DIGESTED[::-1]
    assert digest(backwards) == digest(DIGESTED)
    assert digest(backwards, in_order=True) != digest(DIGESTED, in_order=True)


def test_the_digest_of_trials_depends_on_their_labels():
    assert digest([replace(DIGESTED[0], label="spoof"), *DIGESTED[1:]]) != digest(DIGESTED)


def mixed(sizes):
    """Trials of attacks in these numbers, of which None is bona fide."""
    attacks = [attack for attack, size in sizes.items() for _ in range(size)]
    trials = [Trial(str(n), label=SPOOF if x else BONAFIDE, attack=x) for n, x in enumerate(attacks)]
    return trials[::2] + trials[1::2]


TRIALS = mixed({None: 40, "A01": 40})


@pytest.mark.parametrize("count", [3, 4, 10, 57, 110])
def test_a_subset_keeps_the_shares_of_attacks_and_of_bona_fide_trials(count):
    """To within one trial."""
    trials = mixed({None: 100, "A01": 10})
    subset = stratified_subset(trials, count)
    assert len(subset) == count
    counts = Counter(trial.attack for trial in subset)
    for attack, size in ((None, 100), ("A01", 10)):
        assert abs(counts[attack] - (1 + (count - 2) * (size - 1) / 108)) < 1


def test_a_subset_keeps_the_only_trial_of_an_attack():
    trials = mixed({None: 100, "A01": 10, "A02": 1})
    assert "A02" in [trial.attack for trial in stratified_subset(trials, 3)]


def test_a_subset_keeps_the_order_of_its_trials():
    subset = stratified_subset(TRIALS, 20)
    assert subset == [trial for trial in TRIALS if trial in subset]


def test_a_subset_is_another_with_another_seed():
    assert stratified_subset(TRIALS, 20, 1) != stratified_subset(TRIALS, 20, 2)


def test_a_subset_of_the_number_of_all_trials_or_more_is_all_trials():
    assert stratified_subset(TRIALS, 80) == TRIALS
    assert stratified_subset(TRIALS, 1000) == TRIALS


def test_a_subset_too_small_for_a_trial_of_each_label_and_attack_is_refused():
    with input_error("`num_trials` must be at least 2, one for each label and attack"):
        stratified_subset(TRIALS, 1)


def test_the_bona_fide_trials_drawn_for_a_subset_do_not_depend_on_the_names_of_attacks():
    renamed = [replace(trial, attack=trial.attack and "A02") for trial in TRIALS]
    first, second = ([t.id for t in stratified_subset(x, 20) if t.label == BONAFIDE] for x in (TRIALS, renamed))
    assert first == second
