"""Fusion of speaker and countermeasure scores, and outcomes: reference values, real scores, properties, bad input."""

import csv
import json

import numpy as np
import pytest
from builders import input_error

from nes2net.metrics import SasvWeights, compute_a_dcf, compute_eer, compute_sasv_eers
from nes2net.scoring.decisions import fit, fit_person, fit_sasv, judge_person, sasv_ratio
from nes2net.scoring.decisions.person import FUSION_RULES, PERSON_OUTCOMES

ASVSPOOF5 = SasvWeights(0.9405, 0.095, 0.5)
EQUAL = SasvWeights(1.0, 1.0, 1.0)
NAMES = ("target", "nontarget", "spoof")


def read_json(shared, name):
    return json.loads((shared / "golden" / "person" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def formulas(shared):
    return read_json(shared, "fusion.json")


@pytest.fixture(scope="module")
def sasv2022(shared):
    """Speaker scores, countermeasure scores, classes and attacks of the trials of development and evaluation."""
    with np.load(shared / "golden" / "person" / "sasv2022.npz", allow_pickle=False) as arrays:
        trials = {}
        for part in ("dev", "eval"):
            scores = [arrays[f"{part}_{system}"].astype(np.float64) for system in ("asv", "cm")]
            trials[part] = *scores, arrays[f"{part}_key"].astype(np.int64), arrays[f"{part}_attack"]
        trials["attacks"] = arrays["eval_attacks"].tolist()
    return trials


@pytest.fixture(scope="module")
def expected(shared):
    return read_json(shared, "sasv2022.json")


@pytest.fixture(scope="module")
def joint_fit(sasv2022):
    return fit_sasv(*sasv2022["dev"][:3], ASVSPOOF5)


@pytest.fixture(scope="module")
def small(shared):
    """Speaker scores of GE2E, countermeasure scores, and classes of recordings about one person."""
    with (shared / "golden" / "person" / "small.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scores = [np.array([float(row[column]) for row in rows]) for column in ("ge2e", "aasist")]
    return *scores, np.array([row["key"] for row in rows])


@pytest.fixture
def made_up():
    """Overlapping speaker scores, countermeasure scores and classes of 150 trials."""
    rng = np.random.default_rng(1)
    classes = np.repeat([0, 1, 2], 50)
    means = np.array([[2.0, 2.0], [-1.0, 2.0], [2.0, -1.0]])[classes]
    asv, cm = (means + rng.normal(0, 1.5, means.shape)).T
    return asv, cm, classes


def split(values, classes):
    return [values[(classes == number) | (classes == name)] for number, name in enumerate(NAMES)]


def outcome_counts(codes, classes):
    """Count accepted, other person, not live and cannot tell of each class."""
    words = np.array([PERSON_OUTCOMES[code] for code in codes.tolist()])
    order = ("this person, live", "another person", "this person, but not live", "cannot tell")
    return [[int((of_class == word).sum()) for word in order] for of_class in split(words, classes)]


# Reference values of the formulas.


@pytest.mark.parametrize("name", ["asvspoof5", "a_dcf_package_default", "equal", "no_nontarget_cost", "no_spoof_cost"])
def test_ratios_and_thresholds_are_those_of_the_reference(formulas, name):
    weights = SasvWeights(*formulas["weights"][name].values())
    ratios = sasv_ratio(formulas["llr_asv"], formulas["llr_cm"], weights)
    np.testing.assert_allclose(ratios, formulas["rules"][f"ratio_{name}"], rtol=0, atol=1e-12)
    assert weights.threshold == pytest.approx(formulas["bayes_threshold"][name], abs=1e-15)


def test_ratios_of_extreme_and_infinite_values_are_those_of_the_reference(formulas):
    for case in formulas["extremes"]:
        ratio = sasv_ratio(float(case["llr_asv"]), float(case["llr_cm"]), ASVSPOOF5)
        assert ratio == float(case["ratio"])


def test_sums_and_products_are_those_of_the_reference(formulas):
    llrs = np.array(formulas["llr_asv"]), np.array(formulas["llr_cm"])
    for rule, name in (("sum", "sum"), ("product_sigmoid", "log_product_of_sigmoids")):
        fused = FUSION_RULES[rule](*llrs, EQUAL)
        np.testing.assert_allclose(fused, formulas["rules"][name], rtol=0, atol=1e-12)


def test_outcomes_around_the_boundaries_are_those_of_the_reference(formulas):
    cases = formulas["outcomes"]["cases"]
    codes, _ = judge_person([case["llr_asv"] for case in cases], [case["llr_cm"] for case in cases], ASVSPOOF5)
    assert [PERSON_OUTCOMES[code] for code in codes.tolist()] == [case["outcome"] for case in cases]


@pytest.mark.parametrize("name", ["asvspoof5", "equal"])
def test_joint_and_separate_fits_are_those_of_the_reference(formulas, name):
    fits = formulas["fits"]
    classes = ["tns".index(letter) for letter in fits["class"]]
    reference = fits["expected"][name]
    weights = SasvWeights(*formulas["weights"][name].values())
    joint = fit_sasv(fits["asv"], fits["cm"], classes, weights)
    assert joint.loss == pytest.approx(reference["joint"]["loss_nats"], abs=1e-9)
    separate = fit_sasv(fits["asv"], fits["cm"], classes, weights, joint=False)
    assert separate.loss == pytest.approx(reference["joint"]["loss_at_separate_fits"], abs=1e-4)
    for system in ("asv", "cm"):
        for number in ("scale", "offset"):
            field = f"{system}_{number}"
            assert getattr(joint, field) == pytest.approx(reference["joint"][field], rel=1e-4)
            # The reference has no penalty, which keeps separate maps finite here.
            assert getattr(separate, field) == pytest.approx(reference["separate"][system][number], rel=1e-3)


# Real scores of SASV 2022.


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("sum", "sum"),
        ("product_linear", "product (a+1)/2*sigmoid(c)"),
        ("product_sigmoid", "product sigmoid(a)*sigmoid(c)"),
    ],
)
def test_baselines_of_sasv_2022_have_their_reference_figures(sasv2022, expected, rule, name):
    asv, cm, classes, _ = sasv2022["eval"]
    fused = split(FUSION_RULES[rule](asv, cm, EQUAL), classes)
    assert_figures(fused, expected["eval"][name], 1e-6)


def assert_figures(classes, reference, tolerance):
    eers = [reference[name] for name in ("sasv_eer", "sv_eer", "spf_eer")]
    np.testing.assert_allclose(100 * np.array(compute_sasv_eers(*classes)), eers, rtol=0, atol=tolerance)
    assert compute_a_dcf(*classes)[0] == pytest.approx(reference["min_a_dcf"], abs=tolerance)


def test_the_speaker_score_of_sasv_2022_alone_has_its_reference_figures(sasv2022, expected):
    asv, _, classes, _ = sasv2022["eval"]
    assert_figures(split(asv, classes), expected["eval"]["asv alone"], 1e-6)


def test_the_joint_fit_of_sasv_2022_has_its_reference_loss_and_maps(joint_fit, expected):
    reference = expected["fit_on_dev"]["joint"]
    assert joint_fit.loss == pytest.approx(reference["loss_nats"], abs=1e-6)
    maps = [reference[name] for name in ("asv_scale", "asv_offset", "cm_scale", "cm_offset")]
    np.testing.assert_allclose(joint_fit[:4], maps, rtol=1e-4)
    assert joint_fit.counts == [1484, 5768, 22296]


def test_the_joint_fit_has_its_reference_figures_on_other_trials_and_attacks(sasv2022, expected, joint_fit):
    asv, cm, classes, attacks = sasv2022["eval"]
    ratios = sasv_ratio(*joint_fit.llrs(asv, cm), ASVSPOOF5)
    of_classes = split(ratios, classes)
    reference = expected["eval"]["ratio, joint fit"]
    assert_figures(of_classes, reference, 0.003)
    actual, _ = compute_a_dcf(*of_classes, threshold=ASVSPOOF5.threshold)
    assert actual == pytest.approx(reference["actual_a_dcf"], abs=0.003)
    by_attack = expected["eval"]["spf_eer per attack, ratio joint"]
    assert len(by_attack) == 13
    for name, (number, eer) in by_attack.items():
        spoof = ratios[attacks == sasv2022["attacks"].index(name)]
        assert spoof.size == number
        assert 100 * compute_eer(of_classes[0], spoof, "roc")[0] == pytest.approx(eer, abs=0.005)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("ratio", "ratio, separate fits"),
        ("sum_llr", "sum of calibrated llrs"),
        ("product_posterior", "product of calibrated posteriors"),
    ],
)
def test_rules_of_separately_calibrated_scores_have_their_reference_figures(sasv2022, expected, rule, name):
    separate = fit_sasv(*sasv2022["dev"][:3], ASVSPOOF5, joint=False)
    asv, cm, classes, _ = sasv2022["eval"]
    fused = split(FUSION_RULES[rule](*separate.llrs(asv, cm), ASVSPOOF5), classes)
    assert_figures(fused, expected["eval"][name], 0.003)


def test_outcomes_of_sasv_2022_with_equal_weights_are_those_of_the_reference(sasv2022, expected):
    fusion = fit_sasv(*sasv2022["dev"][:3])
    asv, cm, classes, _ = sasv2022["eval"]
    codes, _ = judge_person(*fusion.llrs(asv, cm))
    reference = expected["equal weights (1,1,1), joint fit on dev"]["eval_outcomes"]
    counts = [list(of_class.values()) for of_class in reference.values()]
    np.testing.assert_allclose(outcome_counts(codes, classes), counts, rtol=0, atol=5)


# One person, and a countermeasure at chance.


def test_scores_about_one_person_have_their_reference_figures(shared, small):
    asv, cm, classes = small
    reference = read_json(shared, "small.json")["ge2e"]
    for name, scores in (("asv alone", asv), ("cm alone", cm), ("sum", asv + cm)):
        assert_figures(split(scores, classes), reference[name], 1e-3)


def test_five_folds_about_one_person_have_their_reference_figures_and_outcomes(shared, small):
    asv, cm, classes = small
    folds = np.concatenate([np.arange(scores.size) % 5 for scores in split(asv, classes)])
    llrs = np.zeros((2, folds.size))
    for fold in range(5):
        is_tested = folds == fold
        fusion = fit_sasv(asv[~is_tested], cm[~is_tested], classes[~is_tested], ASVSPOOF5, joint=False)
        llrs[:, is_tested] = fusion.llrs(asv[is_tested], cm[is_tested])
    reference = read_json(shared, "small.json")["ge2e"]
    ratios = split(sasv_ratio(*llrs, ASVSPOOF5), classes)
    assert_figures(ratios, reference["ratio, five folds (index mod 5 in class), l2 1e-4"], 1e-3)
    actual, _ = compute_a_dcf(*ratios, threshold=ASVSPOOF5.threshold)
    assert actual == pytest.approx(reference["ratio at the Bayes threshold"]["actual_a_dcf"], abs=1e-3)
    codes, _ = judge_person(*llrs, ASVSPOOF5)
    assert outcome_counts(codes, classes) == [list(counts.values()) for counts in reference["outcomes"].values()]


def test_liveness_is_refused_where_the_countermeasure_is_at_chance(small):
    asv, cm, classes = small
    fusion, refusal = fit_person(asv, cm, classes, ASVSPOOF5)
    assert "countermeasure" in refusal
    codes, _ = judge_person(*fusion.llrs(asv, cm), fusion.weights)
    assert set(codes.tolist()) == {"accept_speaker_only", "other_person"}


@pytest.mark.slow
def test_liveness_is_not_refused_on_sasv_2022(sasv2022):
    fusion, refusal = fit_person(*sasv2022["dev"][:3], ASVSPOOF5)
    assert refusal == ""
    assert fusion.weights == ASVSPOOF5


# Properties, on made-up scores.


def test_a_joint_fit_costs_less_than_separate_fits(made_up):
    assert fit_sasv(*made_up).loss < fit_sasv(*made_up, joint=False).loss


@pytest.mark.parametrize("rule", FUSION_RULES)
def test_fused_scores_rise_with_both_scores(rule):
    grid = np.linspace(-0.9, 0.9, 7)
    asv, cm = np.meshgrid(grid, grid)
    fused = FUSION_RULES[rule](asv.ravel(), cm.ravel(), ASVSPOOF5).reshape(7, 7)
    assert (np.diff(fused, axis=0) > 0).all()
    assert (np.diff(fused, axis=1) > 0).all()


def test_a_fit_depends_on_neither_the_order_of_trials_nor_constants_added_to_scores(made_up):
    asv, cm, classes = made_up
    ratios = sasv_ratio(*fit_sasv(asv, cm, classes).llrs(asv, cm), EQUAL)
    order = np.random.default_rng(2).permutation(classes.size)
    permuted = fit_sasv(asv[order], cm[order], np.array(NAMES)[classes[order]])
    np.testing.assert_allclose(sasv_ratio(*permuted.llrs(asv, cm), EQUAL), ratios, rtol=0, atol=1e-6)
    shifted = fit_sasv(asv + 100, cm - 30, classes)
    np.testing.assert_allclose(sasv_ratio(*shifted.llrs(asv + 100, cm - 30), EQUAL), ratios, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "system"), [((1.0, 1.0, 0.0), 0), ((1.0, 0.0, 1.0), 1)], ids=["no spoof", "no other"]
)
def test_without_a_class_the_ratio_is_that_of_the_other_system(made_up, weights, system):
    asv, cm, classes = made_up
    has_weight = np.array(weights)[classes] > 0
    fusion = fit_sasv(asv[has_weight], cm[has_weight], classes[has_weight], weights)
    llrs = fusion.llrs(asv, cm)
    np.testing.assert_array_equal(sasv_ratio(*llrs, weights), llrs[system])
    positive, negative = (made_up[system][classes == number] for number in (0, system + 1))
    alone = fit(positive, negative)
    np.testing.assert_allclose(llrs[system], alone(made_up[system]), rtol=0, atol=1e-9)


def test_outcomes_abstain_near_the_threshold_and_on_unusable_recordings():
    llrs = [9.0, 9.0, 0.1, -5.0], [9.0, 9.0, 9.0, -5.0]
    codes, may_not_be_live = judge_person(*llrs, abstain_within=0.5, usable=[True, False, True, True])
    assert codes.tolist() == ["accept", "unusable", "borderline", "other_person"]
    assert may_not_be_live.tolist() == [False, False, False, True]


def test_a_speaker_only_model_never_says_live():
    codes, may_not_be_live = judge_person([5.0, -5.0], [-9.0, -9.0], (1.0, 1.0, 0.0))
    assert codes.tolist() == ["accept_speaker_only", "other_person"]
    assert not may_not_be_live.any()


# Bad input.


@pytest.mark.parametrize(
    ("name", "system"), [("target", "speaker"), ("nontarget", "speaker"), ("spoof", "countermeasure")]
)
def test_a_fit_without_a_class_names_the_class_and_the_score_that_needs_it(made_up, name, system):
    is_used = made_up[2] != NAMES.index(name)
    with input_error(f"no {name} trials: the {system} score cannot be calibrated"):
        fit_sasv(*[values[is_used] for values in made_up])


@pytest.mark.parametrize("system", ["speaker", "countermeasure"])
def test_scores_the_wrong_way_round_are_refused(made_up, system):
    asv, cm, classes = made_up
    scores = (-asv, cm) if system == "speaker" else (asv, -cm)
    with input_error(f"these {system} scores are the wrong way round or say nothing here"):
        fit_sasv(*scores, classes)


def test_an_inverted_countermeasure_or_no_spoofed_trials_leave_only_the_speaker(made_up):
    asv, cm, classes = made_up
    fusion, refusal = fit_person(asv, -cm, classes)
    assert "wrong way round" in refusal
    assert fusion.weights == (1.0, 1.0, 0.0)
    is_bonafide = classes < 2
    fusion, refusal = fit_person(asv[is_bonafide], cm[is_bonafide], classes[is_bonafide])
    assert "no spoof trials" in refusal
    assert fusion.weights == (1.0, 1.0, 0.0)


def test_a_person_fit_without_nontargets_is_refused(made_up):
    is_used = made_up[2] != 1
    with input_error("no nontarget trials: the speaker score cannot be calibrated"):
        fit_person(*[values[is_used] for values in made_up])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asv": [np.nan, 0.0]}, "1 of 2 speaker scores are NaN"),
        ({"cm": [np.inf, 0.0]}, "countermeasure scores are infinite"),
        ({"classes": ["target", "bonafide"]}, "classes must be target, nontarget or spoof"),
        ({"weights": (1.0, 0.0, 0.0)}, "`weights` must be at least 0"),
    ],
    ids=["nan", "infinite", "class", "weights"],
)
def test_scores_classes_and_weights_without_meaning_are_refused(change, message):
    arguments = {"asv": [1.0, 0.0], "cm": [1.0, 0.0], "classes": ["target", "spoof"], "weights": EQUAL}
    with input_error(message):
        fit_sasv(**{**arguments, **change})
