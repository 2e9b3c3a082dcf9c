"""Subsets in the proportions of labels and attacks."""

from collections import Counter
from dataclasses import replace

import pytest

from nes2net import InputError
from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial, stratified_subset


def make(sizes):
    trials = [
        Trial(f"{attack}_{n}", label=SPOOF if attack else BONAFIDE, attack=attack)
        for attack, size in sizes.items()
        for n in range(size)
    ]
    return trials[::2] + trials[1::2]  # mixed


@pytest.mark.parametrize("count", [3, 4, 10, 57, 110])
def test_shares_are_kept_and_no_attack_is_lost(count):
    trials = make({None: 100, "A01": 10, "A02": 1})
    found = stratified_subset(trials, count)
    assert found == [trial for trial in trials if trial in found] and len(found) == count
    counts = Counter(trial.attack for trial in found)
    assert counts["A02"] == 1
    for attack, size in ((None, 100), ("A01", 10)):
        assert abs(counts[attack] - (1 + (count - 3) * (size - 1) / 108)) < 1


def test_the_seed_draws_and_everything_is_everything():
    trials = make({None: 40, "A01": 40})
    assert stratified_subset(trials, 20, 1) == stratified_subset(trials, 20, 1) != stratified_subset(trials, 20, 2)
    assert stratified_subset(trials, 80) == stratified_subset(trials, 1000) == trials
    with pytest.raises(InputError, match="`num_trials` is at least 2, one for each label and attack"):
        stratified_subset(trials, 1)


def test_a_stratum_does_not_depend_on_the_others():
    """So two corpora that share an attack share its trials."""
    trials = make({None: 40, "A01": 40})
    renamed = [replace(trial, attack=trial.attack and "A02") for trial in trials]
    first, second = ([t.id for t in stratified_subset(x, 20) if t.label == BONAFIDE] for x in (trials, renamed))
    assert first == second
