"""Calibration and fusion: true likelihood ratios, the minimum, invariances, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from builders import input_error
from builders.files import read_json, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nes2net import metrics
from nes2net.scoring.decisions import calibration

overlapping = st.lists(st.integers(-6, 6).map(float), min_size=2, max_size=30)


@pytest.fixture(scope="module")
def two_systems():
    """Draw scores of two independent systems: unit normals with means 1 and −1, then scaled.

    The log-likelihood ratio of the unscaled scores x and y is 2 (x + y).
    """
    rng = np.random.default_rng(0)
    unit = np.array([10, 0.5])
    return rng.normal(1, 1, (6000, 2)) * unit + 3, rng.normal(-1, 1, (9000, 2)) * unit + 3


@pytest.fixture(scope="module")
def figures_of_fusion(two_systems):
    return calibration.figures(*map(calibration.fit(*two_systems), two_systems))


def test_a_fusion_of_systems_that_are_not_calibrated_is_calibrated(two_systems, figures_of_fusion):
    before = calibration.figures(*(scores[:, 1] for scores in two_systems))
    after = figures_of_fusion
    assert before["act_dcf"] > before["min_dcf"] + 0.2
    assert after["act_dcf"] < after["min_dcf"] + 0.02
    assert after["min_cllr"] <= after["cllr"] < after["min_cllr"] + 0.005


@pytest.fixture(scope="module", params=[0, 1])
def system(request, two_systems):
    """The scores of one of the systems, and the figures of its calibration."""
    scores = [scores[:, request.param] for scores in two_systems]
    return scores, calibration.figures(*map(calibration.fit(*scores), scores))


def test_a_fusion_has_a_lower_eer_than_each_of_its_systems(figures_of_fusion, system):
    assert figures_of_fusion["eer"] < metrics.compute_eer(*system[0])[0]


def test_calibration_lowers_the_cllr_of_a_system_that_is_not_calibrated(system):
    scores, figures = system
    assert figures["cllr"] < metrics.compute_cllr(*scores)


def test_calibration_keeps_the_eer_of_a_system_with_higher_scores_for_bona_fide_trials(system):
    scores, figures = system
    assert figures["eer"] == metrics.compute_eer(*scores)[0]


@pytest.mark.parametrize("prior", [0.05, 0.5, 0.655])
def test_fit_without_a_penalty_finds_the_weights_and_the_offset_that_scikit_learn_finds(two_systems, prior):
    from sklearn.linear_model import LogisticRegression

    bonafide, spoof = (scores[::10] for scores in two_systems)
    fitted = calibration.fit(bonafide, spoof, prior=prior, l2=0)
    label = np.repeat((1, 0), (len(bonafide), len(spoof)))
    weight = np.where(label, prior / len(bonafide), (1 - prior) / len(spoof)) * len(label)
    regression = LogisticRegression(C=1e12, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    regression.fit(np.concatenate((bonafide, spoof)), label, sample_weight=weight)
    assert fitted.weights == pytest.approx(regression.coef_[0], rel=1e-5)
    assert fitted.offset == pytest.approx(regression.intercept_[0] - np.log(prior / (1 - prior)), rel=1e-5)


@settings(max_examples=15)
@given(overlapping, overlapping, st.floats(0.01, 100), st.floats(-50, 50), st.sampled_from([-1, 1]))
def test_scale_shift_and_sign_of_scores_do_not_change_their_calibrated_ratios(bonafide, spoof, scale, shift, sign):
    if len({*bonafide, *spoof}) == 1:
        return
    mapped = [sign * scale * np.array(scores) + shift for scores in (bonafide, spoof)]
    plain = calibration.fit(bonafide, spoof)
    fitted_to_mapped = calibration.fit(*mapped)
    for scores, mapped_scores in zip((bonafide, spoof), mapped):
        assert_allclose(fitted_to_mapped(mapped_scores), plain(scores), rtol=1e-4, atol=1e-4)


SEPARATED = ([2.0, 3.0], [-2.0, -3.0, -4.0])


def test_the_penalty_keeps_the_weight_below_20_if_the_classes_are_separated():
    assert 1 < calibration.fit(*SEPARATED).weights[0] < 20


def test_a_larger_penalty_makes_the_weight_smaller():
    assert 0 < calibration.fit(*SEPARATED, l2=0.1).weights[0] < calibration.fit(*SEPARATED).weights[0]


that_at_most_touch = pytest.mark.parametrize("bonafide, spoof", [SEPARATED, ([0.0, 1.0], [0.0, -1.0])])


@that_at_most_touch
def test_classes_whose_scores_at_most_touch_are_called_separated(bonafide, spoof):
    assert calibration.separates(calibration.fit(bonafide, spoof).llrs)


@that_at_most_touch
def test_classes_whose_scores_at_most_touch_cannot_be_fitted_without_a_penalty(bonafide, spoof):
    with input_error("separated without error, so the best weights are infinite"):
        calibration.fit(bonafide, spoof, l2=0)


@pytest.mark.parametrize("bonafide, spoof", [([0.0, 2.0], [1.0, -1.0]), ([1.0, -1.0], [1.0, -1.0])])
def test_classes_whose_scores_overlap_are_not_called_separated(bonafide, spoof):
    assert not calibration.separates(calibration.fit(bonafide, spoof, l2=0).llrs)


def test_fit_raises_if_its_steps_run_out_before_a_minimum(two_systems, monkeypatch):
    monkeypatch.setattr(calibration, "_MAX_STEPS", 1)
    with input_error("no best weights were found .*Maximum number of iterations"):
        calibration.fit(*two_systems)


@pytest.mark.parametrize(
    "bonafide, spoof, options, message",
    [
        ([], [1.0], {}, "there are no bona fide scores"),
        ([1.0, np.nan], [1.0], {}, "1 of 2 bona fide scores are NaN or infinite"),
        ([[1.0, 2.0]], [[3.0, 2.0]], {"systems": ["A", "B"]}, "B: all trials have the same score"),
        ([[1.0, 2.0]], [[3.0]], {}, "bona fide scores are of 2 systems, spoof scores of 1"),
    ],
)
def test_fit_refuses_scores_that_cannot_be_calibrated(bonafide, spoof, options, message):
    with input_error(message):
        calibration.fit(bonafide, spoof, **options)


def test_a_calibration_refuses_scores_of_another_number_of_systems():
    with input_error(r"of 1 system \(A\), got 2"):
        calibration.fit([1.0, 2.0], [0.0, 1.5], systems=["A"])([[1.0, 2.0]])


def test_a_calibration_refuses_scores_of_another_resolution_than_it_was_learned_from():
    """Of frames of another length, or of recordings in place of frames."""
    fitted = calibration.fit([1.0, 2.0], [0.0, 1.5])
    frames = replace(fitted, trained_on={"resolution_ms": 20})
    scores = calibration.ScoredBy("a", "float32", None, 20.0)
    for calibrated, resolution_ms, message in (
        (frames, 40.0, "of frames of 20 ms, not of frames of 40 ms"),
        (frames, None, "of frames of 20 ms, not of recordings"),
        (fitted, 20.0, "of recordings, not of frames of 20 ms"),
    ):
        with input_error(message):
            calibrated.check_fits(replace(scores, resolution_ms=resolution_ms), "")


def test_a_fitted_calibration_holds_the_ratios_of_its_trials_sorted(two_systems):
    fitted = calibration.fit(*two_systems)
    for ratios, scores in zip(fitted.llrs, two_systems):
        assert np.array_equal(ratios, np.sort(fitted(scores)))


@pytest.fixture
def fitted(two_systems):
    """A calibration with provenance."""
    fitted = calibration.fit(*two_systems, prior=0.3, systems=["première", "take"])
    scored_by = calibration.ScoredBy("0f" * 32, "bfloat16", 64600, 20.0)
    trained_on = {"corpus": "x", "figures": {"eer": 0.1}, "numbers": [1, 2.5]}
    return replace(fitted, trained_on=trained_on, scored_by=scored_by)


def test_a_saved_calibration_is_read_back_to_the_last_bit(tmp_path, fitted):
    path = tmp_path / "new" / "parameters.json"
    fitted.save(path)
    loaded = calibration.load(path)
    assert loaded == fitted
    assert all(map(np.array_equal, loaded.llrs, fitted.llrs))


def test_the_name_of_a_system_that_is_no_utf_8_is_saved_with_escapes(tmp_path, fitted):
    """A system has the name of its file, which on Linux may be any bytes."""
    replace(fitted, systems=("première", "take\udcff")).save(tmp_path / "parameters.json")
    assert calibration.load(tmp_path / "parameters.json").systems == ("première", r"take\udcff")


def test_of_a_class_with_very_many_trials_a_calibration_holds_only_quantiles_of_the_ratios(monkeypatch):
    """Here with more than 101."""
    monkeypatch.setattr(calibration, "_MAX_SAVED_TRIALS", 101)
    rng = np.random.default_rng(0)
    bonafide = rng.normal(1, 1, 5000)
    spoof = rng.normal(-1, 1, 90)
    fitted = calibration.fit(bonafide, spoof)
    quantiles = np.quantile(fitted(bonafide), np.linspace(0, 1, 101))
    assert fitted.llrs.bonafide == pytest.approx(quantiles, abs=0.01)


USUAL = {name: [0, 1, 2] for name in ("duration", "level", "bandwidth")}
_POPULATION = {"num_recordings": 2, "usual": USUAL, "distances": [2, 1]}


def saved_with(path, **changes):
    """A calibration file in which keys are changed."""
    calibration.fit([1.0, 2.0], [0.0, 1.5]).save(path)
    write_json(path, read_json(path) | changes)
    return path


def test_load_sorts_the_ratios_of_a_file(tmp_path):
    path = saved_with(tmp_path / "c.json", llrs={"bonafide": [3, -1.5, 2], "spoof": [0]})
    assert calibration.load(path).llrs.bonafide.tolist() == [-1.5, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"offset": float("nan")},
        {"llrs": {"bonafide": [], "spoof": [1.0]}},
        {"scored_by": {"fingerprint": "a", "precision": "float32", "num_samples": 0}},
        {"population": _POPULATION | {"distances": [1.0]}},
        {"population": _POPULATION | {"usual": {"duration": [1, 2, 1e6]}}},
    ],
)
def test_load_refuses_files_that_are_not_a_calibration(tmp_path, change):
    """Of another format, or with a value that no calibration has."""
    with input_error(r"parameters\.json: not a calibration.* that `nes2net calibrate` saved"):
        calibration.load(saved_with(tmp_path / "parameters.json", **change))
