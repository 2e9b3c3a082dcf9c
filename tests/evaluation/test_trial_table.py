"""Columns of trials: numbers of values in order, of a key and of a part of it."""

import numpy as np
import pytest

from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.trial_table import TrialTable

TRIALS = [
    Trial("a", attack="A08", phase="eval", extra=(("room", "hall"),)),
    Trial("b", attack="A07", phase="progress"),
    Trial("c"),
]


@pytest.fixture
def key():
    return TrialTable.of(TRIALS)


def test_values_of_a_column_are_numbered_in_alphabetical_order(key):
    """A trial without a value has the number -1."""
    assert key.column("attack").numbers.tolist() == [1, 0, -1]
    assert key.column("attack").values == ["A07", "A08"]
    assert key.column("room").numbers.tolist() == [0, -1, -1]


def test_values_of_a_column_have_the_same_numbers_in_a_key_and_in_a_subset_of_it(key):
    partial_key = key.take(np.array([2, 0]))
    assert partial_key.column("attack").numbers.tolist() == [-1, 1]


def test_trials_with_a_value_of_a_column_are_found_in_a_subset_of_a_key(key):
    partial_key = key.take(np.array([2, 0]))
    assert partial_key.column("attack").where("A08").tolist() == [False, True]


def test_a_trial_without_a_phase_is_in_the_phase_that_is_asked_for(key):
    assert key.is_in_phase("eval").tolist() == [True, False, True]
