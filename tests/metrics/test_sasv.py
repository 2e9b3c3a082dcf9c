"""EERs, a-DCF and t-EER of speaker verification with spoofs: golden sets, a useless system, and bad input."""

import json

import numpy as np
import pytest
from builders import input_error

from nes2net.metrics import (
    ASVSPOOF5_WEIGHTS,
    SasvWeights,
    compute_a_dcf,
    compute_sasv_eers,
    compute_t_eer,
    tdcf_curve,
)

CLASSES = ("target", "nontarget", "spoof")
#: Costs times priors of each cost model: ASVspoof 5, and the package a_dcf.
COST_MODELS = {"a_dcf_asvspoof5": (0.9405, 0.095, 0.5), "a_dcf_a_dcf1_package_default": (0.9, 0.5, 1.0)}


@pytest.fixture(scope="module")
def golden_sets(shared):
    """Of each set with fused scores: its name, its scores by column and class, and what the originals computed."""
    sets = []
    for case in json.loads((shared / "golden" / "person" / "metrics.json").read_text(encoding="utf-8"))["cases"]:
        label = np.array(case["label"])
        columns = {}
        for column in ("cm", "asv", "sasv"):
            if case[column] is not None:
                scores = np.array(case[column], dtype=np.float64)
                columns[column] = [scores[label == name] for name in CLASSES]
        sets.append((case["name"], columns, case["expected"]))
    return sets


def is_valid(columns):
    return all(scores.size and np.isfinite(scores).all() for scores in columns["sasv"])


def test_sasv_sv_and_spf_eers_equal_those_of_sasv_2022(golden_sets):
    valid = [(columns, expected) for _, columns, expected in golden_sets if is_valid(columns)]
    assert len(valid) >= 8
    for columns, expected in valid:
        eers = [expected["sasv2022"][name] for name in ("sasv_eer", "sv_eer", "spf_eer")]
        np.testing.assert_allclose(compute_sasv_eers(*columns["sasv"]), eers, rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", COST_MODELS)
def test_the_a_dcf_equals_that_of_the_original_with_its_costs(golden_sets, model):
    for name, columns, expected in golden_sets:
        if not is_valid(columns):
            continue
        a_dcf, threshold = compute_a_dcf(*columns["sasv"], COST_MODELS[model])
        assert a_dcf == pytest.approx(expected[model]["min"], rel=0, abs=1e-15), name
        lowest = min(scores.min() for scores in columns["sasv"])
        if threshold < lowest:  # below all scores: by 0.001 here, by 1e-8 there
            assert expected[model]["threshold"] == pytest.approx(lowest, abs=2e-8)
        else:
            assert threshold == expected[model]["threshold"], name


def test_t_eer_and_min_t_dcf_of_the_sets_equal_those_of_track_2(golden_sets):
    for name, columns, expected in golden_sets:
        if "t_eer_percent" not in expected.get("track2", {}) or not is_valid(columns):
            continue
        target, nontarget, spoof = columns["cm"]
        bonafide = np.concatenate((target, nontarget))
        t_eer = 100 * compute_t_eer(bonafide, spoof, *columns["asv"])
        assert t_eer == pytest.approx(expected["track2"]["t_eer_percent"], abs=1e-9), name
        min_tdcf = tdcf_curve(bonafide, spoof, ASVSPOOF5_WEIGHTS).min()
        assert min_tdcf == pytest.approx(expected["track2"]["min_tdcf"], abs=1e-9), name


def test_only_the_t_dcf_of_equal_scores_is_refused(golden_sets):
    (columns,) = [columns for name, columns, _ in golden_sets if name == "all_equal"]
    assert compute_sasv_eers(*columns["sasv"]) == (0.5, 0.5, 0.5)
    assert compute_a_dcf(*columns["sasv"])[0] == 1.0
    with input_error("t-DCF needs soft scores"):
        tdcf_curve(columns["cm"][0], columns["cm"][2], ASVSPOOF5_WEIGHTS)


BAD_SCORES = {"missing": [], "nan": [1.0, np.nan], "infinite": [np.inf, 1.0]}
MESSAGES = {"missing": "no {} scores", "nan": "1 of 2 {} scores are NaN", "infinite": "{} scores are infinite"}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("fault", BAD_SCORES)
def test_the_class_of_missing_or_unusable_scores_is_named(name, fault):
    scores = {class_name: [0.0, 1.0] for class_name in CLASSES}
    scores[name] = BAD_SCORES[fault]
    message = MESSAGES[fault].format(name)
    with input_error(message):
        compute_sasv_eers(**scores)
    with input_error(message):
        compute_a_dcf(**scores)


def test_golden_sets_with_missing_or_unusable_scores_are_refused(golden_sets):
    unusable = [columns["sasv"] for _, columns, _ in golden_sets if not is_valid(columns)]
    assert len(unusable) >= 4
    for scores in unusable:
        for metric in (compute_sasv_eers, compute_a_dcf):
            with input_error("scores"):
                metric(*scores)


def test_the_actual_a_dcf_accepts_scores_at_the_threshold():
    # One of two targets is rejected, one of two nontargets and no spoofed trial are accepted.
    classes = [1.0, 3.0], [2.0, 0.0], [1.9]
    assert compute_a_dcf(*classes, (1.0, 2.0, 3.0), 2.0) == (0.5 + 2.0 * 0.5, 2.0)


def test_the_a_dcf_is_the_lowest_actual_a_dcf():
    rng = np.random.default_rng(0)
    target = rng.normal(1, 1, 40)
    nontarget = rng.normal(-1, 1, 30)
    spoof = rng.normal(0, 1, 20)
    actual = []
    for threshold in np.concatenate((target, nontarget, spoof)):
        cost, _ = compute_a_dcf(target, nontarget, spoof, threshold=threshold)
        actual.append(cost)
    best, highest_rejected = compute_a_dcf(target, nontarget, spoof)
    assert min(actual) == best
    lowest_accepted = np.nextafter(highest_rejected, np.inf)
    cost, _ = compute_a_dcf(target, nontarget, spoof, threshold=lowest_accepted)
    assert cost == best


def test_rejecting_all_trials_is_the_dearest_actual_a_dcf_if_misses_weigh_most():
    assert compute_a_dcf([1.0], [0.0], [0.0], (3.0, 1.0, 1.0), 2.0) == (1.5, 2.0)


@pytest.mark.parametrize("weights", [(0, 1, 1), (1, 0, 0), (1, -1, 2), (1, np.nan, 1)], ids=str)
def test_weights_without_meaning_are_refused(weights):
    scores = [0.0]
    with input_error("`weights` must be at least 0"):
        compute_a_dcf(scores, scores, scores, weights)


def test_the_threshold_of_asvspoof_5_is_that_of_its_costs():
    assert SasvWeights(0.9405, 0.095, 0.5).threshold == pytest.approx(-0.4578502431954553, abs=1e-15)


def test_the_a_dcf_of_a_system_that_separates_nothing_is_1_at_a_threshold_below_all_scores():
    assert compute_a_dcf([0.0], [0.0], [1.0]) == (1.0, -0.001)


def test_t_eer_is_refused_if_bona_fide_scores_lie_below_those_of_spoofs():
    with input_error("t-EER has no value"):
        compute_t_eer([0.0], [1.0], [1.0], [0.0], [-1.0])
