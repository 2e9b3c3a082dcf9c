"""Transferred thresholds: figures against the metrics, both sources of a threshold, warnings, the page."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders import input_error
from builders.files import write, write_record, write_scores
from builders.report_case import make_case
from numpy.random import default_rng

from nes2net import metrics
from nes2net.actions.calibration import calibrate
from nes2net.actions.evaluation import evaluate
from nes2net.evaluation.key import Labels
from nes2net.evaluation.page import html_page
from nes2net.evaluation.tables import Figure
from nes2net.evaluation.transfer import (
    SetFiles,
    ThresholdSource,
    choose_thresholds,
    judge_sets,
    losses_in_words,
    read_set,
)
from nes2net.scoring.decisions import OperatingPoint, calibration
from nes2net.scoring.score_file import read_scores

POINT = OperatingPoint.parse("cost:1,10,0.95")  # the costs of ASVspoof 5


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A test set in the layout of ASVspoof 2021, and a list of development trials of two systems."""
    folder = make_case(tmp_path_factory.mktemp("case"))
    rng = default_rng(7)
    labels = [("real", "fake")[n % 5 > 1] for n in range(150)]
    write(folder / "dev.csv", ["path,label", *(f"D{n},{label}" for n, label in enumerate(labels))])
    for name, shift in (("good", 1.2), ("worse", 0.0)):
        scores = {f"D{n}": shift + 3 * (label == "real") + rng.normal() for n, label in enumerate(labels)}
        write_scores(folder / f"{name}.dev.txt", scores)
    return folder


def source(case, *names, **settings):
    scores = [str(case / f"{name}.dev.txt") for name in names]
    dev = {"dev_scores": scores, "dev_corpus": "generic", "dev_keys": str(case / "dev.csv"), "dev_phase": "all"}
    return ThresholdSource(**dev | settings)


def report_of(case, *names, num_resamples=2, **settings):
    paths = [case / f"{name}.txt" for name in names]
    where = settings.pop("where", None) or source(case, *names, **settings)
    keys = case / "trial_metadata.txt"
    return evaluate("asvspoof2021_la", paths, keys, num_resamples=num_resamples, threshold_source=where)


def transfer_of(case, name, num_resamples=2, **settings):
    """The sets of :func:`report_of` as they are judged."""
    where = settings.pop("where", None) or source(case, name, **settings)
    (threshold,) = choose_thresholds(where, "asvspoof2021_la", 1)
    further_sets = [read_set(files, "further", None) for files in where.further]
    keys = str(case / "trial_metadata.txt")
    tested = read_set(SetFiles("asvspoof2021_la", str(case / f"{name}.txt"), keys), "scores", None)
    return judge_sets(name, threshold, [tested, *further_sets], num_resamples=num_resamples)


@pytest.fixture(scope="module")
def report(case):
    return report_of(case, "good", operating_point=POINT, num_resamples=40)


@pytest.fixture(scope="module")
def transfer(case):
    return transfer_of(case, "good", operating_point=POINT, num_resamples=40)


def classes(path, is_bonafide):
    ids, scores = read_scores(path)
    selected = np.array([is_bonafide(id) for id in ids])
    return scores[selected], scores[~selected]


def figures_at(threshold, *llrs):
    """The figures of log-likelihood ratios of both classes at a threshold, by the metrics."""
    rates = metrics.compute_rates(*llrs, threshold)
    eer = metrics.compute_eer(*llrs)[0]
    cllr = metrics.compute_cllr(*llrs)
    min_cllr = metrics.compute_min_cllr(*llrs)
    return rates._asdict() | {
        "eer": eer,
        "hter_lost": rates.hter - eer,
        "cllr": cllr,
        "min_cllr": min_cllr,
        "calibration_loss": cllr - min_cllr,
        "act_dcf": metrics.compute_act_dcf(*llrs),
    }


def test_figures_at_a_transferred_threshold_equal_direct_calls_of_the_metrics(case, transfer):
    """Of the raw scores, calibrated here; tests/metrics compares the metrics with scikit-learn and formulas."""
    development, test = transfer.sets
    (weight,), offset = transfer.decider.calibration.weights, transfer.decider.calibration.offset
    theta = -math.log(0.95 * 1 / (0.05 * 10))
    assert transfer.decider.llr_threshold == pytest.approx(theta, abs=1e-12)
    of_dev = classes(case / "good.dev.txt", lambda id: int(id[1:]) % 5 <= 1)
    of_test = classes(case / "good.txt", lambda id: int(id.split("_")[2]) % 3 == 0)
    for row, scores in ((development, of_dev), (test, of_test)):
        llrs = [weight * class_scores + offset for class_scores in scores]
        expected = figures_at(theta, *llrs)
        expected |= {"own_cost": expected["act_dcf"], "raw_cllr": metrics.compute_cllr(*scores)}
        assert {name: row.row.value(name) for name in expected} == pytest.approx(expected, abs=1e-12)


def test_intervals_of_figures_at_a_transferred_threshold_equal_those_of_speakers_drawn_by_hand(case, transfer):
    """The 24 speakers of the test set are drawn by hand, and every figure is computed anew."""
    row = transfer.sets[1]
    keys = str(case / "trial_metadata.txt")
    tested = read_set(SetFiles("asvspoof2021_la", str(case / "good.txt"), keys), "scores", None)
    trials = sorted(tested.matched.trials, key=lambda trial: trial.label)  # in their order, bona fide first
    num_bonafide = row.llrs.bonafide.size
    num_spoof = row.llrs.spoof.size
    speakers = list(dict.fromkeys(trial.speaker for trial in trials))
    draws = []
    for number in range(40):
        drawn_speakers = [speakers[n] for n in default_rng([0, number]).integers(24, size=24)]
        times = [drawn_speakers.count(trial.speaker) for trial in trials]
        drawn = np.split(np.repeat(np.concatenate(row.llrs), times), [sum(times[:num_bonafide])])
        draws.append(figures_at(transfer.decider.llr_threshold, *drawn))
    num_of_both = 4 / (1 / num_bonafide + 1 / num_spoof)
    num_trials = {"hter": num_of_both, "eer": num_of_both, "f1": 2 * num_spoof}
    for name in ("hter", "hter_lost", "cllr", "min_cllr", "calibration_loss", "act_dcf", "f1", "eer"):
        values = np.array([figures[name] for figures in draws])
        expected = np.quantile(values, [0.025, 0.975])
        if name in num_trials:
            expected = metrics.rate_interval(row.row.value(name), values, num_trials[name])
        assert row.row[name].interval == pytest.approx(expected, abs=1e-12), name


def test_each_further_set_of_a_single_system_has_a_row(case):
    further_set = SetFiles("asvspoof2021_la", str(case / "worse.txt"), str(case / "trial_metadata.txt"))
    rows = report_of(case, "good", further=[further_set]).rows("rates")
    names = ["generic, all (development)", "asvspoof2021_la (1)", "asvspoof2021_la (2)"]
    assert [row.labels["set"] for row in rows] == names


def test_further_sets_require_a_single_system(case):
    further_set = SetFiles("asvspoof2021_la", str(case / "worse.txt"), str(case / "trial_metadata.txt"))
    with input_error("`also` requires a single system, but 2"):
        report_of(case, "good", "worse", further=[further_set])


def test_a_calibration_of_frame_scores_is_refused_as_the_source_of_a_threshold_for_recordings(case, tmp_path):
    frames = replace(calibration.fit([2.0, 0.0], [-1.0, 1.0]), trained_on={"resolution_ms": 20})
    frames.save(tmp_path / "frames.json")
    where = ThresholdSource(calibrations=[str(tmp_path / "frames.json")])
    with input_error("of frames of 20 ms, not of recordings"):
        report_of(case, "good", where=where)


@pytest.fixture
def warnings_of_run(case, tmp_path):
    """A function that gives the warnings about scores of a run that differs from that of the development scores."""
    folder = shutil.copytree(case, tmp_path / "case")
    run = {"model": "a" * 64, "dtype": "float32", "num_samples": 64600}

    def evaluate_with(**changes):
        write_record(folder / "good.dev.txt", run=run)
        write_record(folder / "good.txt", run=run | changes)
        return [line for line in report_of(folder, "good").warnings if "made Cllr" not in line]

    return evaluate_with


def test_scores_of_clearly_other_lengths_of_audio_than_in_calibration_are_warned_of(warnings_of_run):
    """Those that are a few hundredths of a second shorter are not."""
    (warning,) = warnings_of_run(num_samples=None)
    assert "scores of the first 4.04 s, and asvspoof2021_la has scores of whole recordings" in warning
    assert warnings_of_run(num_samples=64000) == []


def test_scores_of_another_detector_than_in_calibration_are_warned_of(warnings_of_run):
    (warning,) = warnings_of_run(model="b" * 64)
    assert "come from another detector (bbbbbbbbbbbb, float32) than the calibration" in warning


@pytest.fixture
def of_its_own_trials(case):
    """The sets judged at a threshold that the test trials chose."""
    key = str(case / "trial_metadata.txt")
    where = ThresholdSource([str(case / "good.txt")], key, "asvspoof2021_la", "eval")
    return transfer_of(case, "good", where=where)


def test_evaluating_the_trials_whose_scores_chose_the_threshold_is_warned_of(of_its_own_trials):
    assert "240 of the 240 trials of asvspoof2021_la are development trials" in of_its_own_trials.warnings[0]


def test_scores_inverted_by_the_calibration_are_warned_of(case, tmp_path):
    ids, scores = read_scores(case / "good.dev.txt")
    inverted = write_scores(tmp_path / "dev.txt", dict(zip(ids, -scores)))
    transfer = transfer_of(case, "good", where=source(case, dev_scores=[str(inverted)]))
    assert "the weight of the calibration is negative" in transfer.warnings[0]


@pytest.fixture(scope="module")
def shifted(case):
    """At the operating point eer; development scores lie 1.2 above test scores of their class, which are good ratios."""
    return transfer_of(case, "good")


def test_at_the_operating_point_eer_the_hter_of_development_scores_is_their_eer(shifted):
    assert shifted.sets[0].row.value("hter_lost") == pytest.approx(0, abs=1e-12)


def test_a_threshold_of_higher_development_scores_lies_above_that_of_the_eer_of_the_test_set(shifted):
    """So the half total error rate is above the EER."""
    row = shifted.sets[1]
    assert row.row.value("hter") > row.row.value("eer")
    assert row.row.value("eer_llr") < shifted.decider.llr_threshold


def test_at_the_threshold_of_the_eer_the_hter_of_the_test_set_is_its_eer(shifted):
    row = shifted.sets[1]
    assert metrics.compute_rates(*row.llrs, row.row.value("eer_llr")).hter == pytest.approx(row.row.value("eer"))


def test_a_calibration_that_makes_cllr_worse_is_warned_of(shifted):
    (warning,) = shifted.warnings
    row = shifted.sets[1].row
    assert row.value("cllr") > row.value("raw_cllr")
    assert f"made Cllr of asvspoof2021_la worse: {row.value('raw_cllr'):.2f} bits" in warning


def test_a_result_with_much_loss_by_calibration_is_said_to_lose_by_calibration(shifted):
    assert "bits are lost by calibration, not by discrimination" in losses_in_words(shifted.sets[1])


def test_a_result_with_little_loss_by_calibration_is_said_to_lose_by_discrimination(transfer):
    row = transfer.sets[1]
    good = replace(row, row=replace(row.row, figures=row.row.figures | {"calibration_loss": Figure(0.001)}))
    assert "nearly all of it is lost by discrimination" in losses_in_words(good)


def test_every_form_of_a_result_has_the_figures_at_the_threshold(report, transfer):
    row = transfer.sets[1]
    texts = (html_page(report), report.text(), report.markdown(), report.latex())
    figures = [
        f"{100 * row.row.value(name):.2f}" for name in ("hter", "miss", "false_alarm", "accuracy", "f1", "macro_f1")
    ]
    for name in ("cllr", "min_cllr", "calibration_loss", "act_dcf"):
        figures += [f"{row.row.value(name):.3f}", f"{row.row[name].interval[1]:.3f}"]
    assert [figure for figure in figures if not all(figure in text for text in texts)] == []
    data = json.loads(json.dumps(report.to_dict()))
    tables = {table["name"]: table["rows"] for table in data["tables"]}
    assert tables["rates"][1]["hter"] == {"value": row.row.value("hter"), "interval": list(row.row["hter"].interval)}


def list_with_scores(folder, name, ids):
    """Scores of these trials, and a list of them, of which every other one is bona fide."""
    rows = [f"{id}.wav,{('bonafide', 'spoof')[number % 2]}" for number, id in enumerate(ids)]
    scores = {id: number % 7 - number % 2 for number, id in enumerate(ids)}
    return write_scores(folder / f"{name}.txt", scores), write(folder / f"{name}.csv", ["path,label", *rows])


def test_only_the_list_that_the_calibration_was_learned_on_is_warned_of(tmp_path):
    files = {name: list_with_scores(tmp_path, name, [f"{name}{n}" for n in range(60)]) for name in ("own", "other")}
    scores, key = files["own"]
    calibrate(Labels("generic", key, "all"), [scores]).calibration.save(tmp_path / "c.json")
    source = ThresholdSource(calibrations=[str(tmp_path / "c.json")])
    warned = []
    for name, (scores, key) in files.items():
        report = evaluate("generic", [scores], key, num_resamples=5, threshold_source=source)
        warned += [name for line in report.warnings if "learned on trials of" in line]
    assert warned == ["own"]


def test_equal_ids_in_the_lists_of_development_and_test_are_warned_of(tmp_path):
    ids = [str(number) for number in range(60)]
    dev_scores, dev_key = list_with_scores(tmp_path, "dev", ids)
    scores, key = list_with_scores(tmp_path, "test", [*ids, "new"])
    source = ThresholdSource([str(dev_scores)], str(dev_key), dev_phase="all")
    report = evaluate("generic", [scores], key, num_resamples=5, threshold_source=source)
    assert any("have ids of development" in line for line in report.warnings)
