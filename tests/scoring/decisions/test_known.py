"""Scores of being known, comparison with training trials, and the threshold: golden numbers, invariances, bad input."""

from functools import partial

import numpy as np
import pytest
from builders import golden, input_error

from nes2net import decisions

exactly = partial(pytest.approx, rel=0, abs=1e-9)
OPEN = golden.read("tracing/open_set")
DISTANCES = golden.read("tracing/distances")
EXPECTED = DISTANCES["expected"]
TEST = DISTANCES["test"]
NAMES = sorted(set(DISTANCES["train_labels"]))
#: kind and temperature of each score of the golden file
KINDS = {"log_odds": {}, "max_logit": {}, "energy": {}, "energy_T2": {"temperature": 2.0}, "sme": {}}


@pytest.mark.parametrize("name, options", KINDS.items())
def test_open_set_scores_of_logits_equal_golden_numbers_of_another_program(name, options):
    """By the formula of each kind."""
    scores = decisions.known_scores(OPEN["logits"], name.removesuffix("_T2"), **options)
    assert scores.tolist() == exactly(OPEN["expected"]["scores"][name])


def test_log_odds_of_large_logits_do_not_saturate():
    large_logits = decisions.known_scores([[40.0, 0.0, 0.0], [45.0, 5.0, 0.0]])
    assert len(set(large_logits.tolist())) == 2


REJECTION = OPEN["expected"]["rejection"]
THRESHOLD = decisions.KnownThreshold.of_logits(OPEN["dev_logits"], REJECTION["score"])


def test_an_open_set_threshold_equals_the_golden_number_of_another_program():
    assert THRESHOLD.threshold == exactly(REJECTION["threshold"])


def test_p_values_by_an_open_set_threshold_equal_golden_numbers_of_another_program():
    scores = decisions.known_scores(OPEN["logits"], REJECTION["score"])
    assert [THRESHOLD.p_value(score) for score in scores] == exactly(REJECTION["p_values"])


def test_an_open_set_threshold_is_read_back_from_its_dictionary():
    threshold = decisions.KnownThreshold.of_logits(OPEN["dev_logits"])
    assert decisions.KnownThreshold.read(threshold.to_dict()) == threshold


def test_an_open_set_threshold_that_stores_1000_of_5000_development_scores_is_reached_by_95_percent():
    logits = np.random.default_rng(0).normal(size=(5000, 4))
    threshold = decisions.KnownThreshold.of_logits(logits)
    assert len(threshold.scores) == 1000
    assert np.mean(decisions.known_scores(logits) >= threshold.threshold) == pytest.approx(0.95, abs=0.002)


@pytest.mark.parametrize("facts", [None, [], {"kind": "knn", "scores": [1.0]}, {"kind": "energy", "scores": ["1"]}])
def test_damaged_facts_of_an_open_set_threshold_are_read_as_none(facts):
    assert decisions.KnownThreshold.read(facts) is None


@pytest.fixture(scope="module")
def reference():
    """Training trials; what is expected of them was computed by NumPy in float64."""
    classes = np.array([NAMES.index(name) for name in DISTANCES["train_labels"]])
    return decisions.Reference(np.array(DISTANCES["train"]), classes, np.array(DISTANCES["train_logits"]))


@pytest.mark.parametrize("k", EXPECTED["knn_cosine"])
def test_the_score_knn_is_the_cosine_to_the_kth_nearest_training_trial_as_computed_by_numpy(reference, k):
    assert reference.scores(TEST, "knn", k=int(k)).tolist() == exactly(EXPECTED["knn_cosine"][k])


def test_the_score_by_mahalanobis_distance_to_training_trials_equals_golden_numbers_of_numpy(reference):
    scores = reference.scores(TEST, "mahalanobis")
    assert scores.tolist() == pytest.approx(EXPECTED["mahalanobis"], rel=1e-9)


def test_the_score_nsd_by_logits_and_cosines_to_training_trials_equals_golden_numbers_of_numpy(reference):
    scores = reference.scores(TEST, "nsd", logits=DISTANCES["test_logits"])
    assert scores.tolist() == exactly(EXPECTED["nsd"])


def test_verification_scores_equal_the_golden_numbers():
    """Cosines to enrolled models, computed by NumPy in float64."""
    golden_set = golden.read("tracing/verification")
    embeddings = [trial["embedding"] for trial in golden_set["trials"]]
    scores = decisions.verification_scores(embeddings, list(golden_set["enrol"].values()))
    assert scores.tolist() == [exactly(row) for row in golden_set["expected"]["scores"]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda _: decisions.known_scores([[1.0, np.nan]]), "of 1 are not finite"),
        (lambda reference: reference.scores([[1.0]]), "`of` its backend"),
        (lambda _: decisions.verification_scores([[1.0, 2.0]], [[[1.0]]]), "enrolled models of 1"),
        (lambda _: decisions.Reference(np.zeros((2, 3)), np.zeros(1)), "one class for each"),
    ],
)
def test_logits_embeddings_and_classes_that_are_not_finite_or_of_the_wrong_shape_are_refused(reference, call, message):
    with input_error(message):
        call(reference)
