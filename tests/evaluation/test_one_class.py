"""Sets of spoofed or of bona fide trials alone: errors at a transferred threshold against independent figures."""

import operator
import shutil

import numpy as np
import pytest
from builders import input_error
from builders.files import write

from nes2net.actions.evaluation import evaluate
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.matching import match
from nes2net.evaluation.one_class import judge_one_class
from nes2net.evaluation.transfer import SetFiles, ThresholdSource
from nes2net.scoring.decisions import Decider, LinearCalibration, OperatingPoint
from nes2net.scoring.score_file import read_scores

GENUINE = LinearCalibration(
    (1.0,),
    0.0,
    0.5,
    0.0,
    ("a",),
    {"corpus": "generic", "phase": "all"},
    genuine={"scores": [0.5, 1.0, *range(2, 20)], "alpha": "10%", "groups": None, "assured": False},
)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Development trials of both classes, and sets of one class: 90 spoofed by three attacks, 30 bona fide."""
    folder = tmp_path_factory.mktemp("one_class")
    rng = np.random.default_rng(3)
    sets = {"dev": ["real", "fake"] * 40, "spoof": ["fake"] * 90, "bonafide": ["real"] * 30}
    sets["both"] = ["real", "fake", "fake"] * 20
    for name, labels in sets.items():
        rows = ["path,label,attack"]
        scores = {"one": [], "two": []}
        for number, label in enumerate(labels):
            attack = f"A{number % 3}" if label == "fake" else ""
            rows.append(f"{name}{number},{label},{attack}")
            mean = 2 * (label == "real")
            scores["one"].append(f"{name}{number} {mean + rng.normal()}")
            scores["two"].append(f"{name}{number} {mean + 2 * rng.normal()}")
        write(folder / f"{name}.csv", rows)
        for system, lines in scores.items():
            write(folder / f"{system}.{name}.txt", lines)
    return folder


def report_of(case, name, *systems, further_sets=(), **options):
    dev = [str(case / f"{system}.dev.txt") for system in systems]
    options |= {
        "num_resamples": 2,
        "threshold_source": ThresholdSource(dev, str(case / "dev.csv"), "generic", "all", further=further_sets),
    }
    return evaluate(
        "generic", [case / f"{system}.{name}.txt" for system in systems], case / f"{name}.csv", "all", **options
    )


def scores_and_threshold(case, name, system, basis):
    """The scores of a set of one class, and the threshold of the development scores."""
    _, scores = read_scores(case / f"{system}.{name}.txt")
    return scores, (basis["llr_threshold"] - basis["offset"]) / basis["weight"]


@pytest.mark.parametrize(
    "name, is_error, measure", [("spoof", operator.ge, "one_minus_srr"), ("bonafide", operator.lt, "miss")]
)
def test_the_error_rate_of_one_class_is_that_at_the_threshold_of_the_development_scores(case, name, is_error, measure):
    """With its counts, and with Wilson's interval."""
    from scipy.stats import binomtest

    report = report_of(case, name, "one", "two")
    for system, facts, row in zip(("one", "two"), report.header["transfers"], report.rows(measure)):
        wrong = is_error(*scores_and_threshold(case, name, system, facts["basis"]))
        assert row["wrong"].value == wrong.sum()
        assert row["num_trials"].value == wrong.size
        interval = binomtest(int(wrong.sum()), wrong.size).proportion_ci(method="wilson")
        assert row[measure].interval == pytest.approx((interval.low, interval.high), abs=1e-12)
        assert row[measure].value == wrong.mean()


def test_errors_of_each_attack_are_counted_at_the_threshold_of_the_development_scores(case):
    report = report_of(case, "spoof", "two")
    scores, threshold = scores_and_threshold(case, "spoof", "two", report.header["transfers"][0]["basis"])
    wrong = scores >= threshold
    errors_by_attack = {row.labels["attack"]: row.value("wrong") for row in report.rows("one_minus_srr by attack")}
    assert errors_by_attack == {"A0": wrong[::3].sum(), "A1": wrong[1::3].sum(), "A2": wrong[2::3].sum()}


def test_a_score_at_the_threshold_is_accepted_as_bona_fide():
    decider = Decider(LinearCalibration((1.0,), 0.0, 0.5, 1e-6, ("a",)))
    matched_trials = match([Trial("a", label="spoof"), Trial("b", label="spoof")], ["a", "b"], [0.0, -0.1])
    row = judge_one_class(decider, matched_trials, "x", "spoof").row
    assert row["wrong"].value == 1


def test_figures_of_a_spoofed_set_and_of_a_set_of_both_classes_do_not_depend_on_their_order(case):
    spoof, both = (
        SetFiles("generic", str(case / f"one.{name}.txt"), str(case / f"{name}.csv"), "all")
        for name in ("spoof", "both")
    )
    report = report_of(case, "both", "one", further_sets=[spoof])
    reverse = report_of(case, "spoof", "one", further_sets=[both])
    assert report.rows("one_minus_srr")[0].figures == reverse.rows("one_minus_srr")[0].figures
    assert reverse.rows("rates")[1]["hter"] == report.rows("rates")[1]["hter"]


def test_if_allowed_scores_of_a_part_of_the_trials_of_one_class_are_judged_with_a_warning(case):
    write(case / "half.spoof.txt", "".join((case / "one.spoof.txt").read_text().splitlines(keepends=True)[:45]))
    shutil.copy(case / "one.dev.txt", case / "half.dev.txt")
    report = report_of(case, "spoof", "half", allow_partial=True)
    assert report.rows("one_minus_srr")[0].value("num_trials") == 45
    assert any("rest on a part of its trials" in warning for warning in report.warnings)


def test_trials_of_one_class_are_refused_without_a_source_of_a_threshold(case):
    with input_error("trials, all spoofed, but trials of both classes are needed.*`threshold_from`"):
        evaluate("generic", case / "one.spoof.txt", case / "spoof.csv", "all")


def test_development_scores_of_one_class_are_refused_as_the_source_of_a_threshold(case):
    source = ThresholdSource([str(case / "one.spoof.txt")], str(case / "spoof.csv"), "generic", "all")
    with input_error("90 trials, all spoofed, but trials of both classes are needed"):
        evaluate("generic", [case / "one.both.txt"], case / "both.csv", "all", threshold_source=source)


@pytest.mark.parametrize("name, measures", [("both", ["miss", "one_minus_srr"]), ("bonafide", ["miss"])])
def test_at_a_threshold_of_genuine_recordings_alone_each_class_has_its_errors_and_no_cost(
    case, tmp_path, name, measures
):
    GENUINE.save(tmp_path / "c.json")
    source = ThresholdSource(calibrations=[str(tmp_path / "c.json")])
    report = evaluate(
        "generic", case / f"one.{name}.txt", case / f"{name}.csv", "all", threshold_source=source, num_resamples=2
    )
    _, scores = read_scores(case / f"one.{name}.txt")
    is_bonafide = np.array(
        [line.split(",")[1] == "real" for line in (case / f"{name}.csv").read_text().splitlines()[1:]]
    )
    rows = [report.rows(measure)[0] for measure in measures]
    assert rows[0].value("wrong") == (scores[is_bonafide] < 1.0).sum()
    if name == "both":
        assert rows[1].value("wrong") == (scores[~is_bonafide] >= 1.0).sum()
    assert not {"rates", "costs", "reliability"} & {table.name for table in report.tables}
    assert "operating point miss:10% of generic all: score 1.0" in report.text()


def test_an_operating_point_is_refused_with_a_calibration_of_genuine_recordings(case, tmp_path):
    GENUINE.save(tmp_path / "c.json")
    source = ThresholdSource(calibrations=[str(tmp_path / "c.json")], operating_point=OperatingPoint("eer"))
    with input_error("of genuine recordings only, so it has a fixed threshold"):
        evaluate("generic", case / "one.both.txt", case / "both.csv", "all", threshold_source=source)
