"""Fusion of speaker and countermeasure scores, and outcomes: reference values, real scores, properties, bad input."""

import json
import typing

import numpy as np
import pytest
from builders import input_error

from nes2net.actions.flags import LearningClaims
from nes2net.metrics import SasvWeights, compute_a_dcf, compute_eer, compute_sasv_eers, compute_t_eer
from nes2net.scoring.decisions import fit, fit_person, fit_sasv, genuine_threshold, judge_person, sasv_ratio
from nes2net.scoring.decisions.claim import RuleName, SasvFit
from nes2net.scoring.decisions.person import (
    FUSION_RULES,
    PERSON_OUTCOMES,
    fit_genuine,
    fuse,
    held_out,
)

ASVSPOOF5 = SasvWeights(0.9405, 0.095, 0.5)
EQUAL = SasvWeights(1.0, 1.0, 1.0)
NAMES = ("target", "nontarget", "spoof")
OUTCOMES = ("this person, live", "another person", "this person, but not live", "cannot tell")


def read_json(shared, name):
    return json.loads((shared / "golden" / "person" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def formulas(shared):
    return read_json(shared, "fusion.json")


@pytest.fixture(scope="module")
def sasv2022(shared):
    """The arrays of the trials of development and evaluation."""
    with np.load(shared / "golden" / "person" / "sasv2022.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def development(sasv2022):
    """Speaker scores, countermeasure scores, and classes."""
    return sasv2022["dev_asv"], sasv2022["dev_cm"], sasv2022["dev_key"]


@pytest.fixture(scope="module")
def asv(sasv2022):
    return sasv2022["eval_asv"].astype(np.float64)


@pytest.fixture(scope="module")
def cm(sasv2022):
    return sasv2022["eval_cm"].astype(np.float64)


@pytest.fixture(scope="module")
def classes(sasv2022):
    return sasv2022["eval_key"]


@pytest.fixture(scope="module")
def expected(shared):
    return read_json(shared, "sasv2022.json")


@pytest.fixture(scope="module")
def joint_fit(development):
    return fit_sasv(*development, ASVSPOOF5)


@pytest.fixture(scope="module")
def separate_fit(development):
    return fit_sasv(*development, ASVSPOOF5, joint=False)


@pytest.fixture(scope="module")
def small(shared):
    """Speaker scores of GE2E, countermeasure scores, and classes of recordings about one person."""
    path = shared / "golden" / "person" / "small.tsv"
    table = np.genfromtxt(path, dtype=None, names=True, delimiter="\t", encoding="utf-8", comments=None)
    return table["ge2e"], table["aasist"], table["key"]


@pytest.fixture(scope="module")
def small_figures(shared):
    return read_json(shared, "small.json")["ge2e"]


@pytest.fixture
def made_up():
    """Overlapping speaker scores, countermeasure scores and classes of 150 trials."""
    rng = np.random.default_rng(1)
    classes = np.repeat([0, 1, 2], 50)
    means = np.array([[2.0, 2.0], [-1.0, 2.0], [2.0, -1.0]])[classes]
    asv, cm = (means + rng.normal(0, 1.5, means.shape)).T
    return asv, cm, classes


def judged(llr_asv, llr_cm, weights=EQUAL, **settings):
    """Judge log-likelihood ratios."""
    fusion = SasvFit(1.0, 0.0, 1.0, 0.0, 0.0, weights, [1, 1, 1], weights.threshold)
    return judge_person(fusion, llr_asv, llr_cm, **settings)


def fused_by(rule, asv, cm, weights=EQUAL):
    """Fuse by a rule; its scores count as their own log-likelihood ratios."""
    return fuse(SasvFit(1.0, 0.0, 1.0, 0.0, 0.0, weights, [1, 1, 1], 0.0, rule), asv, cm)


def split(values, labels):
    groups = []
    for number, name in enumerate(NAMES):
        groups.append(values[(labels == number) | (labels == name)])
    return groups


def outcome_counts(codes, labels):
    """Count accepted, another person, not live and cannot tell of each class."""
    words = np.array([PERSON_OUTCOMES[code] for code in codes.tolist()])
    counts = []
    for of_class in split(words, labels):
        counts.append([np.count_nonzero(of_class == word) for word in OUTCOMES])
    return counts


def assert_figures(groups, reference, tolerance):
    """The EERs in percent and the minimum a-DCF of three classes of scores are those of the reference."""
    sasv, sv, spf = compute_sasv_eers(*groups)
    a_dcf, _ = compute_a_dcf(*groups)
    assert 100 * sasv == pytest.approx(reference["sasv_eer"], abs=tolerance)
    assert 100 * sv == pytest.approx(reference["sv_eer"], abs=tolerance)
    assert 100 * spf == pytest.approx(reference["spf_eer"], abs=tolerance)
    assert a_dcf == pytest.approx(reference["min_a_dcf"], abs=tolerance)


# Reference values of the formulas.


def test_ratios_and_thresholds_are_those_of_the_reference(formulas):
    assert len(formulas["weights"]) == 5
    for name, of_classes in formulas["weights"].items():
        weights = SasvWeights(*of_classes.values())
        ratios = sasv_ratio(formulas["llr_asv"], formulas["llr_cm"], weights)
        reference = formulas["rules"][f"ratio_{name}"]
        np.testing.assert_allclose(ratios, reference, rtol=0, atol=1e-12)
        threshold = formulas["bayes_threshold"][name]
        assert weights.threshold == pytest.approx(threshold, abs=1e-15)


def test_ratios_of_extreme_and_infinite_values_are_those_of_the_reference(formulas):
    for case in formulas["extremes"]:
        ratio = sasv_ratio(float(case["llr_asv"]), float(case["llr_cm"]), ASVSPOOF5)
        assert ratio == pytest.approx(float(case["ratio"]), rel=0, abs=1e-15)


@pytest.mark.parametrize(("rule", "name"), [("sum", "sum"), ("product_sigmoid", "log_product_of_sigmoids")])
def test_sums_and_products_are_those_of_the_reference(formulas, rule, name):
    llr_asv = np.array(formulas["llr_asv"])
    llr_cm = np.array(formulas["llr_cm"])
    fused = fused_by(rule, llr_asv, llr_cm)
    np.testing.assert_allclose(fused, formulas["rules"][name], rtol=0, atol=1e-12)


def test_outcomes_around_the_boundaries_are_those_of_the_reference(formulas):
    cases = formulas["outcomes"]["cases"]
    assert len(cases) == 14
    for case in cases:
        codes, _ = judged([case["llr_asv"]], [case["llr_cm"]], ASVSPOOF5)
        words = PERSON_OUTCOMES[codes.item()]
        assert words == case["outcome"]


@pytest.fixture(params=["asvspoof5", "equal"])
def overlapping(request, formulas):
    """Overlapping scores, their classes and weights; and the fits of the reference."""
    fits = formulas["fits"]
    numbers = ["tns".index(letter) for letter in fits["class"]]
    weights = SasvWeights(*formulas["weights"][request.param].values())
    arguments = fits["asv"], fits["cm"], numbers, weights
    return arguments, fits["expected"][request.param]


def test_the_joint_fit_is_that_of_the_reference(overlapping):
    arguments, reference = overlapping
    fusion = fit_sasv(*arguments)
    expected_fit = reference["joint"]
    assert fusion.loss == pytest.approx(expected_fit["loss_nats"], abs=1e-9)
    assert fusion.asv_scale == pytest.approx(expected_fit["asv_scale"], rel=1e-4)
    assert fusion.asv_offset == pytest.approx(expected_fit["asv_offset"], rel=1e-4)
    assert fusion.cm_scale == pytest.approx(expected_fit["cm_scale"], rel=1e-4)
    assert fusion.cm_offset == pytest.approx(expected_fit["cm_offset"], rel=1e-4)


def test_separate_fits_are_those_of_the_reference_but_for_the_penalty(overlapping):
    arguments, reference = overlapping
    fusion = fit_sasv(*arguments, joint=False)
    speaker = reference["separate"]["asv"]
    assert fusion.asv_scale == pytest.approx(speaker["scale"], rel=1e-3)
    assert fusion.asv_offset == pytest.approx(speaker["offset"], rel=1e-3)
    countermeasure = reference["separate"]["cm"]
    assert fusion.cm_scale == pytest.approx(countermeasure["scale"], rel=1e-3)
    assert fusion.cm_offset == pytest.approx(countermeasure["offset"], rel=1e-3)
    loss = reference["joint"]["loss_at_separate_fits"]
    assert fusion.loss == pytest.approx(loss, abs=1e-4)


# Real scores of SASV 2022.


def test_the_sum_on_sasv_2022_has_its_reference_figures(asv, cm, classes, expected):
    fused = fused_by("sum", asv, cm)
    groups = split(fused, classes)
    assert_figures(groups, expected["eval"]["sum"], 1e-6)


def test_the_product_with_a_cosine_on_sasv_2022_has_its_reference_figures(asv, cm, classes, expected):
    fused = fused_by("product_linear", asv, cm)
    groups = split(fused, classes)
    reference = expected["eval"]["product (a+1)/2*sigmoid(c)"]
    assert_figures(groups, reference, 1e-6)


def test_the_product_of_sigmoids_on_sasv_2022_has_its_reference_figures(asv, cm, classes, expected):
    fused = fused_by("product_sigmoid", asv, cm)
    groups = split(fused, classes)
    reference = expected["eval"]["product sigmoid(a)*sigmoid(c)"]
    assert_figures(groups, reference, 1e-6)


def test_the_speaker_score_of_sasv_2022_alone_has_its_reference_figures(asv, classes, expected):
    groups = split(asv, classes)
    assert_figures(groups, expected["eval"]["asv alone"], 1e-6)


def test_the_speaker_score_of_sasv_2022_alone_has_its_published_figures(asv, classes):
    """Those of the evaluation plan, which has two digits."""
    percent = 100 * np.array(compute_sasv_eers(*split(asv, classes)))
    np.testing.assert_allclose(percent, [23.83, 1.63, 30.75], rtol=0, atol=0.01)


def test_the_joint_fit_of_sasv_2022_has_its_reference_loss_and_maps(joint_fit, expected):
    reference = expected["fit_on_dev"]["joint"]
    assert joint_fit.loss == pytest.approx(reference["loss_nats"], abs=1e-6)
    assert joint_fit.asv_scale == pytest.approx(reference["asv_scale"], rel=1e-4)
    assert joint_fit.asv_offset == pytest.approx(reference["asv_offset"], rel=1e-4)
    assert joint_fit.cm_scale == pytest.approx(reference["cm_scale"], rel=1e-4)
    assert joint_fit.cm_offset == pytest.approx(reference["cm_offset"], rel=1e-4)
    assert joint_fit.counts == [1484, 5768, 22296]


@pytest.fixture(scope="module")
def joint_ratios(joint_fit, asv, cm):
    llr_asv, llr_cm = joint_fit.llrs(asv, cm)
    return sasv_ratio(llr_asv, llr_cm, ASVSPOOF5)


def test_the_joint_fit_has_its_reference_figures_on_other_trials(joint_ratios, classes, expected):
    groups = split(joint_ratios, classes)
    reference = expected["eval"]["ratio, joint fit"]
    assert_figures(groups, reference, 0.003)
    actual, _ = compute_a_dcf(*groups, threshold=ASVSPOOF5.threshold)
    assert actual == pytest.approx(reference["actual_a_dcf"], abs=0.003)


def test_the_joint_fit_has_its_reference_figures_for_each_attack(joint_ratios, sasv2022, classes, expected):
    target = joint_ratios[classes == 0]
    by_attack = expected["eval"]["spf_eer per attack, ratio joint"]
    names = sasv2022["eval_attacks"].tolist()
    assert len(by_attack) == 13
    for name, (number, eer) in by_attack.items():
        spoof = joint_ratios[sasv2022["eval_attack"] == names.index(name)]
        assert spoof.size == number
        eer_of_attack, _ = compute_eer(target, spoof, "roc")
        assert 100 * eer_of_attack == pytest.approx(eer, abs=0.005)


SEPARATE = {
    "ratio": "ratio, separate fits",
    "sum_llr": "sum of calibrated llrs",
    "product_posterior": "product of calibrated posteriors",
}


@pytest.mark.parametrize("rule", SEPARATE)
def test_rules_of_separately_calibrated_scores_have_their_reference_figures(
    separate_fit, asv, cm, classes, expected, rule
):
    llr_asv, llr_cm = separate_fit.llrs(asv, cm)
    fused = fused_by(rule, llr_asv, llr_cm, ASVSPOOF5)
    groups = split(fused, classes)
    reference = expected["eval"][SEPARATE[rule]]
    assert_figures(groups, reference, 0.003)


def test_the_actual_a_dcf_of_a_cascade_is_that_of_the_reference(asv, cm, classes, expected):
    thresholds = expected["cascade_from_dev"]
    passes_both = (asv >= thresholds["asv_threshold"]) & (cm >= thresholds["cm_threshold"])
    groups = split(passes_both, classes)
    actual, _ = compute_a_dcf(*groups, threshold=1.0)
    assert actual == pytest.approx(expected["eval"]["cascade"]["actual_a_dcf"], abs=1e-6)


ON_RAW_SCORES = {
    "sum": "sum",
    "product_linear": "product (a+1)/2*sigmoid(c)",
    "product_sigmoid": "product sigmoid(a)*sigmoid(c)",
}


@pytest.mark.parametrize("rule", ON_RAW_SCORES)
def test_the_threshold_of_a_rule_is_that_of_the_least_a_dcf_of_its_trials(development, expected, rule):
    fusion = fit_sasv(*development, ASVSPOOF5, rule=rule)
    reference = expected["dev"][ON_RAW_SCORES[rule]]
    assert fusion.threshold == pytest.approx(reference["min_threshold"], rel=1e-12)
    assert fusion.loss == pytest.approx(reference["min_a_dcf"], abs=1e-12)


@pytest.mark.slow
def test_the_thresholds_of_a_cascade_cost_no_more_than_those_of_the_reference(development, asv, cm, classes, expected):
    fusion = fit_sasv(*development, ASVSPOOF5, rule="cascade")
    assert fusion.loss <= expected["cascade_from_dev"]["dev_a_dcf"]
    codes, _ = judge_person(fusion, asv, cm)
    actual, _ = compute_a_dcf(*split(codes == "accept", classes), threshold=1.0)
    assert actual <= expected["eval"]["cascade"]["actual_a_dcf"]


def test_outcomes_of_sasv_2022_with_equal_weights_are_those_of_the_reference(development, asv, cm, classes, expected):
    fusion = fit_sasv(*development)
    codes, _ = judge_person(fusion, asv, cm)
    counts = outcome_counts(codes, classes)
    reference = expected["equal weights (1,1,1), joint fit on dev"]["eval_outcomes"]
    assert len(reference) == 3
    for of_class, counts_of_class in zip(reference.values(), counts):
        reference_counts = list(of_class.values())
        np.testing.assert_allclose(counts_of_class, reference_counts, rtol=0, atol=5)


# One person, and a countermeasure at chance.


def test_scores_about_one_person_have_their_reference_figures(small, small_figures):
    speaker, countermeasure, labels = small
    assert_figures(split(speaker, labels), small_figures["asv alone"], 1e-3)
    assert_figures(split(countermeasure, labels), small_figures["cm alone"], 1e-3)
    assert_figures(split(speaker + countermeasure, labels), small_figures["sum"], 1e-3)
    is_spoof = labels == "spoof"
    t_eer = compute_t_eer(countermeasure[~is_spoof], countermeasure[is_spoof], *split(speaker, labels))
    assert 100 * t_eer == pytest.approx(small_figures["t_eer_percent"], abs=1e-3)


@pytest.fixture(scope="module")
def held_out_llrs(small):
    """Log-likelihood ratios (2, N) about one person, of five folds within each class."""
    speaker, countermeasure, labels = small
    folds = np.zeros(labels.size, dtype=np.int64)
    for name in NAMES:
        is_class = labels == name
        folds[is_class] = np.arange(is_class.sum()) % 5
    llrs = np.zeros((2, labels.size))
    for fold in range(5):
        is_tested = folds == fold
        is_training = ~is_tested
        training = speaker[is_training], countermeasure[is_training], labels[is_training]
        fusion = fit_sasv(*training, ASVSPOOF5, joint=False)
        llrs[:, is_tested] = fusion.llrs(speaker[is_tested], countermeasure[is_tested])
    return llrs


def test_five_folds_about_one_person_have_their_reference_figures(held_out_llrs, small, small_figures):
    ratios = sasv_ratio(held_out_llrs[0], held_out_llrs[1], ASVSPOOF5)
    _, _, labels = small
    groups = split(ratios, labels)
    reference = small_figures["ratio, five folds (index mod 5 in class), l2 1e-4"]
    assert_figures(groups, reference, 1e-3)
    actual, _ = compute_a_dcf(*groups, threshold=ASVSPOOF5.threshold)
    reference_actual = small_figures["ratio at the Bayes threshold"]["actual_a_dcf"]
    assert actual == pytest.approx(reference_actual, abs=1e-3)


def test_five_folds_about_one_person_have_their_reference_outcomes(held_out_llrs, small, small_figures):
    codes, _ = judged(held_out_llrs[0], held_out_llrs[1], ASVSPOOF5)
    _, _, labels = small
    counts = outcome_counts(codes, labels)
    reference = small_figures["outcomes"]
    assert counts == [list(of_class.values()) for of_class in reference.values()]


def test_folds_about_one_person_accept_as_many_fakes_as_the_reference(small, small_figures):
    speaker, countermeasure, labels = small
    classes = np.array([NAMES.index(label) for label in labels])
    numbers_in_class = np.concatenate([np.arange(np.sum(classes == number)) for number in range(3)])
    order = np.argsort(classes, kind="stable")
    trials = np.stack([speaker, countermeasure, classes])[:, order]
    distances = held_out(trials, numbers_in_class, ASVSPOOF5, False)
    accepted = [int((of_class >= 0).sum()) for of_class in split(distances, classes[order])]
    assert accepted == [of_class["this person, live"] for of_class in small_figures["outcomes"].values()]
    assert accepted[2] == 35


def test_liveness_is_refused_where_the_countermeasure_is_at_chance(small):
    speaker, countermeasure, labels = small
    fusion = fit_person(speaker, countermeasure, labels, ASVSPOOF5)
    assert "countermeasure" in fusion.refusal
    codes, _ = judge_person(fusion, speaker, countermeasure)
    assert set(codes.tolist()) == {"accept_speaker_only", "other_person"}


def test_the_interval_around_chance_is_told(small):
    speaker, countermeasure, labels = small
    fusion = fit_person(speaker, countermeasure, labels, ASVSPOOF5, joint=False)
    assert "the 95 % interval of its EER is" in fusion.refusal


@pytest.mark.slow
def test_liveness_is_not_refused_on_sasv_2022(development):
    fusion = fit_person(*development, ASVSPOOF5)
    assert fusion.refusal == ""
    assert fusion.weights == ASVSPOOF5


# Properties, on made-up scores.


def test_each_rule_has_its_flag_and_its_name_in_files():
    of_flag = typing.get_args(typing.get_type_hints(LearningClaims)["rule"])
    assert set(of_flag) == set(typing.get_args(RuleName)) == FUSION_RULES.keys()


def test_a_joint_fit_costs_less_than_separate_fits(made_up):
    assert fit_sasv(*made_up).loss < fit_sasv(*made_up, joint=False).loss


@pytest.mark.parametrize("rule", sorted(FUSION_RULES.keys() - {"cascade"}))
def test_fused_scores_rise_with_both_scores(rule):
    grid = np.linspace(-0.9, 0.9, 7)
    speaker, countermeasure = np.meshgrid(grid, grid)
    fused = fused_by(rule, speaker.ravel(), countermeasure.ravel(), ASVSPOOF5).reshape(7, 7)
    rises_by_row = np.diff(fused, axis=0)
    rises_by_column = np.diff(fused, axis=1)
    assert rises_by_row.min() > 0
    assert rises_by_column.min() > 0


@pytest.fixture
def fused(made_up):
    """The ratios of made-up scores by their own fit."""
    return fitted_ratios(*made_up)


def fitted_ratios(speaker, countermeasure, labels):
    fusion = fit_sasv(speaker, countermeasure, labels)
    llr_asv, llr_cm = fusion.llrs(speaker, countermeasure)
    return sasv_ratio(llr_asv, llr_cm, EQUAL)


def test_a_fit_does_not_depend_on_the_order_of_trials(made_up, fused):
    speaker, countermeasure, labels = made_up
    order = np.random.default_rng(2).permutation(labels.size)
    permuted = fitted_ratios(speaker[order], countermeasure[order], labels[order])
    np.testing.assert_allclose(permuted, fused[order], rtol=0, atol=1e-6)


def test_constants_added_to_scores_do_not_change_ratios_of_a_fit(made_up, fused):
    speaker, countermeasure, labels = made_up
    shifted = fitted_ratios(speaker + 100, countermeasure - 30, labels)
    np.testing.assert_allclose(shifted, fused, rtol=0, atol=1e-6)


def test_classes_are_numbers_or_names(made_up, fused):
    speaker, countermeasure, labels = made_up
    names = np.array(NAMES)[labels]
    named = fitted_ratios(speaker, countermeasure, names)
    np.testing.assert_array_equal(named, fused)


def test_without_spoofed_trials_the_ratio_is_that_of_the_speaker_score(made_up):
    speaker, countermeasure, labels = made_up
    is_bonafide = labels < 2
    weights = SasvWeights(1.0, 1.0, 0.0)
    fusion = fit_sasv(speaker[is_bonafide], countermeasure[is_bonafide], labels[is_bonafide], weights)
    llr_asv, llr_cm = fusion.llrs(speaker, countermeasure)
    ratios = sasv_ratio(llr_asv, llr_cm, weights)
    alone = fit(speaker[labels == 0], speaker[labels == 1])
    np.testing.assert_array_equal(ratios, llr_asv)
    np.testing.assert_allclose(ratios, alone(speaker), rtol=0, atol=1e-9)


def test_without_nontargets_the_ratio_is_that_of_the_countermeasure(made_up):
    speaker, countermeasure, labels = made_up
    is_used = labels != 1
    weights = SasvWeights(1.0, 0.0, 1.0)
    fusion = fit_sasv(speaker[is_used], countermeasure[is_used], labels[is_used], weights)
    llr_asv, llr_cm = fusion.llrs(speaker, countermeasure)
    ratios = sasv_ratio(llr_asv, llr_cm, weights)
    alone = fit(countermeasure[labels == 0], countermeasure[labels == 2])
    np.testing.assert_array_equal(ratios, llr_cm)
    np.testing.assert_allclose(ratios, alone(countermeasure), rtol=0, atol=1e-9)


def test_ratios_near_the_threshold_abstain_if_asked():
    codes, _ = judged([9.0, 0.1], [9.0, 9.0], abstain_within=0.5)
    assert codes.tolist() == ["accept", "borderline"]


def test_another_person_may_not_be_live_either():
    codes, may_not_be_live = judged([-5.0, -5.0, 5.0], [-5.0, 5.0, -5.0])
    assert codes.tolist() == ["other_person", "other_person", "not_live"]
    assert may_not_be_live.tolist() == [True, False, False]


def test_a_speaker_only_model_never_says_live():
    codes, may_not_be_live = judged([5.0, -5.0], [-9.0, -9.0], SasvWeights(1.0, 1.0, 0.0))
    assert codes.tolist() == ["accept_speaker_only", "other_person"]
    assert not may_not_be_live.any()


def test_folds_keep_the_trials_of_a_person_together(made_up):
    trials = np.stack(made_up)
    people = np.arange(150) // 5
    distances = held_out(trials, people, EQUAL)
    is_first_fold = people % 5 == 0
    others = fit_sasv(*trials[:, ~is_first_fold], EQUAL)
    expected = fuse(others, *trials[:2, is_first_fold]) - others.threshold
    np.testing.assert_array_equal(distances[is_first_fold], expected)


def test_the_order_of_outcomes_is_the_same_for_a_sum():
    fusion = SasvFit(1.0, 0.0, 1.0, 0.0, 0.0, EQUAL, [1, 1, 1], 2.0, "sum")
    codes, may_not_be_live = judge_person(fusion, [5.0, -1.0, -1.0, 5.0, 0.5], [5.0, 3.0, -1.0, -4.0, 0.5])
    assert codes.tolist() == ["accept", "accept", "other_person", "not_live", "borderline"]
    assert may_not_be_live.tolist() == [False, False, True, False, False]


def test_both_scores_of_a_cascade_must_reach_their_thresholds(made_up):
    speaker, countermeasure, _ = made_up
    fusion = fit_sasv(*made_up, rule="cascade")
    codes, _ = judge_person(fusion, speaker, countermeasure)
    speaker_threshold = fusion.threshold - fusion.asv_offset
    threshold = fusion.threshold - fusion.cm_offset
    np.testing.assert_array_equal(codes == "other_person", speaker < speaker_threshold)
    np.testing.assert_array_equal(codes == "accept", (speaker >= speaker_threshold) & (countermeasure >= threshold))
    assert set(codes.tolist()) == {"accept", "other_person", "not_live"}


def test_scores_from_the_thresholds_of_genuine_recordings_on_are_accepted():
    rng = np.random.default_rng(3)
    speaker = rng.normal(0.8, 0.1, 40)
    countermeasure = rng.normal(2, 1, 100)
    fusion = fit_genuine(speaker, countermeasure, "miss:5%")
    asv = genuine_threshold(speaker, "5%").threshold
    cm = genuine_threshold(countermeasure, "5%").threshold
    below_asv = np.nextafter(asv, -np.inf)
    below_cm = np.nextafter(cm, -np.inf)
    codes, may_not_be_live = judge_person(fusion, [asv, below_asv, asv, below_asv], [cm, cm, below_cm, below_cm])
    assert codes.tolist() == ["accept", "other_person", "not_live", "other_person"]
    assert may_not_be_live.tolist() == [False, False, False, True]


def test_a_fusion_that_costs_as_much_as_a_single_score_is_doubted(made_up):
    speaker, countermeasure, labels = made_up
    assert fit_person(*made_up).doubts == ()
    perfect = np.where(labels == 0, 1.0, -1.0) + 0.1 * speaker / np.abs(speaker).max()
    (doubt,) = fit_person(perfect, 20 * countermeasure, labels, rule="sum").doubts
    assert doubt.startswith("on held-out folds, the a-DCF is ")
    assert doubt.endswith("not below that of a single score, 0.0000")


def test_where_liveness_is_refused_the_ratio_of_the_speaker_decides(made_up):
    speaker, countermeasure, labels = made_up
    assert fit_person(speaker, -countermeasure, labels, rule="cascade").rule == "ratio"


# Bad input.


SYSTEMS = {"target": "speaker", "nontarget": "speaker", "spoof": "countermeasure"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_fit_without_a_class_names_the_class_and_the_score_that_needs_it(made_up, name):
    speaker, countermeasure, labels = made_up
    is_used = labels != NAMES.index(name)
    with input_error(f"no {name} trials: the {SYSTEMS[name]} score cannot be calibrated"):
        fit_sasv(speaker[is_used], countermeasure[is_used], labels[is_used])


def test_a_speaker_score_the_wrong_way_round_is_refused(made_up):
    speaker, countermeasure, labels = made_up
    with input_error("these speaker scores are the wrong way round or say nothing here"):
        fit_sasv(-speaker, countermeasure, labels)


def test_a_countermeasure_score_the_wrong_way_round_is_refused(made_up):
    speaker, countermeasure, labels = made_up
    with input_error("these countermeasure scores are the wrong way round or say nothing here"):
        fit_sasv(speaker, -countermeasure, labels)


def test_an_inverted_countermeasure_leaves_only_the_speaker(made_up):
    speaker, countermeasure, labels = made_up
    fusion = fit_person(speaker, -countermeasure, labels)
    assert "wrong way round" in fusion.refusal
    assert fusion.weights == (1.0, 1.0, 0.0)


def test_without_spoofed_trials_only_the_speaker_is_checked(made_up):
    speaker, countermeasure, labels = made_up
    is_bonafide = labels < 2
    fusion = fit_person(speaker[is_bonafide], countermeasure[is_bonafide], labels[is_bonafide])
    assert "no spoof trials" in fusion.refusal
    assert fusion.weights == (1.0, 1.0, 0.0)


def test_a_person_fit_without_nontargets_is_refused(made_up):
    speaker, countermeasure, labels = made_up
    is_used = labels != 1
    with input_error("no nontarget trials: the speaker score cannot be calibrated"):
        fit_person(speaker[is_used], countermeasure[is_used], labels[is_used])


def test_scores_that_are_not_finite_are_refused():
    with input_error("1 of 2 speaker scores are NaN"):
        fit_sasv([np.nan, 0.0], [1.0, 0.0], [0, 2])
    with input_error("countermeasure scores are infinite"):
        fit_sasv([1.0, 0.0], [np.inf, 0.0], [0, 2])


@pytest.mark.parametrize("fit", [fit_sasv, fit_person])
def test_a_product_with_a_cosine_refuses_scores_that_are_none(made_up, fit):
    speaker, countermeasure, labels = made_up
    with input_error(f"speaker scores must be cosines, above −1, not {speaker.min():g}"):
        fit(speaker, countermeasure, labels, rule="product_linear")


def test_unknown_classes_and_weights_without_meaning_are_refused():
    with input_error("classes must be target, nontarget or spoof"):
        fit_sasv([1.0, 0.0], [1.0, 0.0], ["target", "bonafide"])
    with input_error("`weights` must be at least 0"):
        fit_sasv([1.0, 0.0], [1.0, 0.0], ["target", "spoof"], (1.0, 0.0, 0.0))
