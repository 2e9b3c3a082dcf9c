"""Scores of being known, comparison with training trials, and the threshold: golden numbers, invariances, bad input."""

from functools import partial

import numpy as np
import pytest
from builders import golden, input_error

from nes2net import decisions

exactly = partial(pytest.approx, rel=0, abs=1e-9)
OPEN = golden.read("tracing/open_set")
DISTANCES = golden.read("tracing/distances")
#: kind and temperature of each score of the golden file
KINDS = {"log_odds": {}, "max_logit": {}, "energy": {}, "energy_T2": {"temperature": 2.0}, "sme": {}}


@pytest.mark.parametrize("name, options", KINDS.items())
def test_scores_of_being_known_are_the_golden_ones(name, options):
    """By the formula of each kind, computed by another program."""
    scores = decisions.known_scores(OPEN["logits"], name.removesuffix("_T2"), **options)
    assert scores.tolist() == exactly(OPEN["expected"]["scores"][name])


def test_log_odds_of_large_logits_do_not_saturate():
    large_logits = decisions.known_scores([[40.0, 0.0, 0.0], [45.0, 5.0, 0.0]])
    assert len(set(large_logits.tolist())) == 2


def test_the_threshold_of_development_trials_and_the_p_values_by_it_are_the_golden_ones():
    """Of being known, computed by another program."""
    expected = OPEN["expected"]["rejection"]
    threshold = decisions.KnownThreshold.of_logits(OPEN["dev_logits"], expected["score"])
    assert threshold.threshold == exactly(expected["threshold"])
    scores = decisions.known_scores(OPEN["logits"], expected["score"])
    assert [threshold.p_value(score) for score in scores] == exactly(expected["p_values"])


def test_a_threshold_of_being_known_is_read_back_from_its_dictionary():
    threshold = decisions.KnownThreshold.of_logits(OPEN["dev_logits"])
    assert decisions.KnownThreshold.read(threshold.to_dict()) == threshold


def test_95_percent_of_5000_development_scores_reach_a_threshold_that_keeps_1000_of_them():
    logits = np.random.default_rng(0).normal(size=(5000, 4))
    threshold = decisions.KnownThreshold.of_logits(logits)
    assert len(threshold.scores) == 1000
    assert np.mean(decisions.known_scores(logits) >= threshold.threshold) == pytest.approx(0.95, abs=0.002)


@pytest.mark.parametrize("facts", [None, [], {"kind": "knn", "scores": [1.0]}, {"kind": "energy", "scores": ["1"]}])
def test_damaged_facts_of_a_threshold_of_being_known_are_read_as_none(facts):
    assert decisions.KnownThreshold.read(facts) is None


@pytest.fixture(scope="module")
def reference():
    names = sorted(set(DISTANCES["train_labels"]))
    classes = np.array([names.index(name) for name in DISTANCES["train_labels"]])
    return names, decisions.Reference(np.array(DISTANCES["train"]), classes, np.array(DISTANCES["train_logits"]))


def test_distances_to_training_trials_are_the_golden_ones(reference):
    """Cosine of the k-th neighbour, Mahalanobis distance and NSD, computed by NumPy in float64."""
    _, reference = reference
    test = DISTANCES["test"]
    expected = DISTANCES["expected"]
    for k, scores in expected["knn_cosine"].items():
        assert reference.scores(test, "knn", k=int(k)).tolist() == exactly(scores)
    assert reference.scores(test, "mahalanobis").tolist() == pytest.approx(expected["mahalanobis"], rel=1e-9)
    nsd = reference.scores(test, "nsd", logits=DISTANCES["test_logits"])
    assert nsd.tolist() == exactly(expected["nsd"])


def test_nearest_classes_among_training_trials_are_the_golden_ones(reference):
    """By Mahalanobis distance, and of the nearest k trials, computed by NumPy in float64."""
    names, reference = reference
    test = DISTANCES["test"]
    expected = DISTANCES["expected"]
    assert [names[number] for number in reference.mahalanobis_class(test)] == expected["mahalanobis_class"]
    for k, classes in expected["knn_class"].items():
        assert [names[number] for number in reference.nearest_class(test, int(k))] == classes


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
def test_logits_and_embeddings_that_are_not_finite_or_of_the_wrong_shape_are_refused(reference, call, message):
    with input_error(message):
        call(reference[1])
