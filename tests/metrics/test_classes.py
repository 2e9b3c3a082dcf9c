"""Closed and open sets of classes: the golden numbers, scikit-learn, symmetries, bad input."""

from functools import partial

import numpy as np
import pytest
from builders import golden, input_error

from nes2net.metrics import (
    accuracy,
    auroc,
    balanced_accuracy,
    class_rates,
    compute_eer,
    confusion_matrix,
    fpr95,
    macro_f1,
    one_against_rest_eer,
)

exactly = partial(pytest.approx, rel=0, abs=1e-12)
CLOSED = golden.read("tracing/closed_set")
TIES = golden.read("tracing/ood_ties")["cases"]


NUMBER = {name: index for index, name in enumerate(CLOSED["classes"])}
TRUE = [NUMBER[name] for name in CLOSED["labels"]]


def test_confusion_matrix_accuracies_precision_recall_and_f1_of_classes_equal_those_of_scikit_learn():
    expected = CLOSED["expected"]
    predicted = np.argmax(CLOSED["logits"], axis=1)
    confusion = confusion_matrix(TRUE, predicted, len(NUMBER))
    assert confusion.tolist() == expected["confusion"]
    assert accuracy(confusion) == exactly(expected["accuracy"])
    assert balanced_accuracy(confusion) == exactly(expected["balanced_accuracy"])
    for over, value in expected["macro_f1"].items():
        assert macro_f1(confusion, over) == exactly(value)
    rates = class_rates(confusion)
    for name, values in expected["per_class"].items():
        assert rates.precision[NUMBER[name]] == exactly(values["precision"])
        assert rates.recall[NUMBER[name]] == exactly(values["recall"])
        assert rates.f1[NUMBER[name]] == exactly(values["f1"])


def test_the_pooled_eer_of_classes_against_the_rest_by_the_arena_rule_equals_the_golden_number():
    """Another program computed it from posteriors, by the rule of the Speech Anti-Spoofing Arena."""
    expected = CLOSED["expected"]
    eer = one_against_rest_eer(expected["posteriors"], TRUE)
    assert eer == exactly(expected["one_vs_rest_pooled_eer"]["arena"])


def test_macro_f1_and_the_f1_of_each_class_equal_those_of_add_2023():
    """Of the predictions that REFD published."""
    add = golden.read("tracing/add2023_track3_refd")
    assert macro_f1(add["confusion"], "all") == exactly(add["expected"]["macro_f1"])
    assert class_rates(add["confusion"]).f1.tolist() == exactly(add["expected"]["f1"])


def test_macro_f1_equals_that_of_at_add():
    """By the rules of the challenge AT-ADD, for each type of audio."""
    at_add = golden.read("tracing/at_add")
    by_type = {name: macro_f1(np.reshape(counts, (2, 2)), "all") for name, counts in at_add["counts"].items()}
    assert by_type == exactly(at_add["expected"]["by_type"])


@pytest.mark.parametrize("case", TIES, ids=lambda case: case["name"])
def test_auroc_fpr95_and_eers_of_scores_with_and_without_ties_equal_the_golden_ones(case):
    """AUROC and FPR95 as scikit-learn computes them, and the EER by five rules."""
    known_scores = np.array(case["known"])
    unknown_scores = np.array(case["unknown"])
    expected = case["expected"]
    assert auroc(known_scores, unknown_scores) == exactly(expected["auroc"])
    assert fpr95(known_scores, unknown_scores) == exactly((expected["fpr95"], expected["fpr95_threshold"]))
    for method in ("roc", "arena", "sklearn", "asvspoof", "interpolated"):
        assert compute_eer(known_scores, unknown_scores, method)[0] == exactly(expected["eer"][method])


def test_a_confusion_matrix_refuses_the_number_of_a_class_out_of_range():
    with input_error("numbers from 0 to 1"):
        confusion_matrix([0, 2], [0, 1], 2)


def test_fpr95_refuses_scores_of_unknown_trials_that_are_nan():
    with input_error("NaN"):
        fpr95([1.0], [float("nan")])
