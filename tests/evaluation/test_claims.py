"""Scores of claimed people: figures of SASV 2022 and of track 2 of ASVspoof 5, and files that do not fit."""

import json

import numpy as np
import pytest
from builders import input_error

from nes2net import metrics
from nes2net.evaluation.claim_figures import ClaimScores
from nes2net.evaluation.claims import ClaimEvaluation, Claims
from nes2net.evaluation.key import Labels
from nes2net.evaluation.transfer import ThresholdSource
from nes2net.metrics.sasv import SasvWeights
from nes2net.scoring.decisions import LinearCalibration
from nes2net.scoring.decisions.claim import SasvFit
from nes2net.scoring.judgement import ScoreFile

HEADER = "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"
#: Claimed person, recording, bona fide or attack, claim; and cm, asv, sasv of the system.
CLAIMS = """\
P1 R1 bonafide target 1.0 2.0 3.0
P1 R2 bonafide target 2.0 1.0 1.5
P1 R3 bonafide nontarget 1.5 -2.0 -1.0
P2 R1 bonafide nontarget 1.0 -1.0 2.0
P2 R4 A07 spoof -2.0 1.5 -1.5
P2 R5 A08 spoof -1.0 2.5 1.6
"""


def score_text(rows=CLAIMS):
    """Write the scores of claims with the columns of ASVspoof 5, track 2."""
    lines = [HEADER]
    for row in rows.splitlines():
        person, file, _attack, _claim, *values = row.split()
        lines.append("\t".join([person, file, *values]) + "\n")
    return "".join(lines)


def without(word):
    return "".join(f"{row}\n" for row in CLAIMS.splitlines() if word not in row)


@pytest.fixture
def evaluated(tmp_path):
    """Write a list of ASVspoof 5, track 2, and a score file; evaluate both with ``settings``."""

    def evaluate(rows=CLAIMS, scores=None, corpus="asvspoof5_track2", files=1, **settings):
        key = tmp_path / "ASVspoof5.eval.track_2.trial.tsv"
        lines = []
        for row in rows.splitlines():
            person, file, attack, claim, *_values = row.split()
            lines.append(f"{person} {file} F {attack} {claim}\n")
        key.write_text("".join(lines))
        paths = [tmp_path / f"{number}.tsv" for number in range(files)]
        for path in paths:
            path.write_text(scores or score_text(rows))
        labels = Labels(corpus, key, "eval")
        return ClaimEvaluation(labels, paths, num_resamples=50, **settings).run()

    return evaluate


def test_a_file_of_claims_is_known_by_its_first_line(tmp_path):
    for line in (HEADER, "P1 R1 A07 spoof 0.5\n", "P1 R1 0.5 target\n", "filename,spk,ASV-score\n"):
        path = tmp_path / "scores.txt"
        path.write_text(line)
        assert ScoreFile.of(path).judgement.name == "claims", line


def test_a_missing_score_is_a_dash_and_no_letters_of_names_are():
    line = Claims().lines("nancy:nan_1", np.array([0.5, np.nan, 2.0]))
    assert line == "nancy\tnan_1\t0.5\t-\t2\n"


def test_figures_of_claims_are_those_of_the_metrics_and_each_recording_counts_with_each_person(evaluated):
    result = evaluated()
    sasv = ([3.0, 1.5], [-1.0, 2.0], [-1.5, 1.6])
    asv = ([2.0, 1.0], [-2.0, -1.0], [1.5, 2.5])
    row = result.rows("claims")[0]
    eers = [row.value(name) for name in ("sasv_eer", "sv_eer", "spf_eer")]
    assert eers == list(metrics.compute_sasv_eers(*sasv))
    assert row.value("min_a_dcf") == metrics.compute_a_dcf(*sasv)[0]
    assert row.value("t_eer") == metrics.compute_t_eer([1.0, 2.0, 1.5, 1.0], [-2.0, -1.0], *asv)
    for name in ("num_targets", "num_nontargets", "num_spoof", "num_people"):
        assert row.value(name) == 2
    assert [row.labels["score"] for row in result.rows("claims")] == ["sasv", "asv alone", "cm alone"]
    assert [row.labels["attack"] for row in result.rows("by attack")] == ["A07", "A08"]


def test_all_figures_have_intervals_and_those_of_few_trials_or_people_are_called_coarse(evaluated):
    rng = np.random.default_rng(0)
    means = {"bonafide target": (2, 2), "bonafide nontarget": (2, 0), "A07 spoof": (0, 1)}
    rows = ""
    for number in range(90):
        person = number % 12
        for claim, mean in means.items():
            cm, asv = rng.normal(mean)
            sasv = cm + asv
            rows += f"P{person} R{len(rows)} {claim} {cm} {asv} {sasv}\n"
    result = evaluated(rows=rows)
    row = result.rows("claims")[0]
    for name in ("sasv_eer", "sv_eer", "spf_eer", "min_a_dcf", "act_a_dcf", "t_eer", "min_tdcf"):
        low, high = row[name].interval
        assert low < row.value(name) < high, name
    assert "coarse" not in result.text()
    coarse = "Figures are coarse: 2 target trials, 2 nontarget trials, 2 spoof trials, 2 enrolled people."
    assert coarse in evaluated().text()


def test_the_actual_cost_is_that_at_the_threshold_of_the_weights_or_at_a_given_one(evaluated):
    weights = SasvWeights(1.0, 1.0, 1.0)
    assert evaluated(weights=weights)["act_a_dcf"].value == 1.0  # at ln 2, both R1 of P2 and R5 are accepted
    assert evaluated(weights=weights, threshold=1.7)["act_a_dcf"].value == 1.0
    assert evaluated(weights=weights, threshold=2.5)["act_a_dcf"].value == 0.5


def test_a_calibration_of_people_decides_on_each_claim(evaluated, tmp_path):
    fusion = SasvFit(1.0, 0.0, 1.0, 0.0, 0.0, SasvWeights(1.0, 1.0, 1.0), [1, 1, 1], np.log(2))
    path = tmp_path / "people.json"
    LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("detector",), claim=fusion).save(path)
    result = evaluated(threshold_source=ThresholdSource(calibrations=[str(path)]))
    outcomes = ["accept", "other_person", "not_live"]
    counts = [[row.value(outcome) for outcome in outcomes] for row in result.rows("outcomes")]
    assert counts == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert "people.json" in str(result.header["inputs"])
    LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("detector",)).save(path)
    with input_error("does not decide on people"):
        evaluated(threshold_source=ThresholdSource(calibrations=[str(path)]))


def test_rows_are_matched_by_person_and_recording_whatever_their_order(evaluated):
    lines = ["filename\tcm-score\tasv-score\tsasv-score\tspk"]
    for row in reversed(CLAIMS.splitlines()):
        person, file, _attack, _claim, *values = row.split()
        lines.append("\t".join([f"{file}.flac", *values, person]))
    tables = evaluated(scores="\n".join(lines)).to_dict()["tables"]
    assert tables == evaluated().to_dict()["tables"]


@pytest.mark.parametrize("form", ["{0} {1} {6} {3}\n", "{0} {1} {2} {3} {6}\n"])
def test_files_without_header_have_one_score_and_no_tandem(evaluated, form):
    lines = []
    for row in CLAIMS.splitlines():
        fields = row.split()
        lines.append(form.format(*fields))
    (row,) = evaluated(scores="".join(lines)).rows("claims")
    assert row["sasv_eer"] == evaluated()["sasv_eer"]
    assert "t_eer" not in row.figures


def test_without_spoofed_trials_only_the_sv_eer_is_defined(evaluated):
    result = evaluated(rows=without("spoof"))
    figures = result.rows("claims")[0].figures
    assert "sv_eer" in figures
    assert not {"sasv_eer", "spf_eer", "min_a_dcf", "act_a_dcf"} & figures.keys()
    assert "no spoof trials" in result.text()


@pytest.mark.parametrize(
    ("costs", "priors", "message"),
    [
        ("miss:1,other:1", "target:0.5,other:0.25,fake:0.25", "expected miss:NUMBER, other:NUMBER, fake:NUMBER"),
        ("miss:1,other:1,fake:1", "target:0.5,other:0.25,fake:0.2", "numbers that add up to 1"),
        ("miss:0,other:1,fake:1", "target:0.5,other:0.25,fake:0.25", "weights"),
    ],
)
def test_costs_and_priors_of_another_form_are_refused(costs, priors, message):
    with input_error(message):
        SasvWeights.parse(costs, priors)


@pytest.mark.parametrize(
    ("present", "wrong", "message"),
    [
        ("P1\tR1\t1.0", "P1\tR1\t-", "line 2: no cm score, but other lines have one"),
        ("P1\tR1\t1.0", "P1\tR1\tinf", "1 with a score that is not finite: P1:R1"),
        ("P1\tR1\t1.0", "P1\tR9\t1.0", "1 of 6 trials without a score: P1:R1"),
        ("P1\tR1\t1.0", "P1\tR1\tone", "line 2"),
    ],
)
def test_scores_that_do_not_fit_are_refused(evaluated, present, wrong, message):
    with input_error(message):
        evaluated(scores=score_text().replace(present, wrong))


def test_targets_are_needed_and_a_key_without_claims_is_named(evaluated, tmp_path):
    with input_error("there are no target trials"):
        evaluated(rows=without(" target"))
    key = tmp_path / "labels.txt"
    key.write_text("P1:R1 bonafide\n")
    path = tmp_path / "scores.tsv"
    path.write_text(HEADER + "P1\tR1\t1\t1\t1\n")
    with input_error("the key does not say whether P1:R1 is target"):
        ClaimEvaluation(Labels("generic", key, "all"), [path]).run()


def test_two_equal_systems_do_not_differ(evaluated):
    (row,) = evaluated(files=2).rows("differences")
    assert row.value("difference") == 0
    assert row["difference"].interval == (0, 0)


def test_draws_of_people_keep_all_their_trials_and_few_people_are_not_drawn():
    people = np.repeat(np.arange(12), 5)
    claims = np.tile([0, 0, 1, 2, 2], 12)
    values = np.arange(60.0)
    scores = ClaimScores(values, claims, people)
    drawing = scores.drawing(seed=0)
    assert drawing.cells.size == 12
    # Trials are listed by class, and the cell of each is its person.
    expected = np.concatenate([people[claims == number] for number in range(3)])
    np.testing.assert_array_equal(drawing.cells.numbers, expected)
    assert scores.where(people < 9).drawing(seed=0).num_clusters == 45


def test_printed_lines_of_the_organisers_package_are_the_same_character_by_character(shared, evaluated):
    golden = json.loads((shared / "golden" / "person" / "metrics.json").read_text(encoding="utf-8"))
    cases = {case["name"]: case for case in golden["cases"]}
    attacks = {"target": "bonafide", "nontarget": "bonafide", "spoof": "A01"}
    # The package fails without the columns that tandem figures need.
    for printed in [run for run in golden["printed"] if not run["exit"]]:
        case = cases[printed["case"]]
        is_single = printed["mode"] == "t2_single"
        rows = []
        for number, claim in enumerate(case["label"]):
            scores = [case[kind][number] for kind in ("cm", "asv", "sasv")]
            if is_single:
                scores[:2] = "--"
            words = [f"P{number}", f"R{number}", attacks[claim], claim]
            words += map(str, scores)
            rows.append(" ".join(words))
        text = evaluated(rows="\n".join(rows)).text()
        assert printed["stdout"] in f"{text}\n", printed["case"]


@pytest.fixture(scope="module")
def sasv2022(shared):
    with np.load(shared / "golden" / "person" / "sasv2022.npz") as arrays:
        return {name: arrays[f"eval_{name}"].astype(np.float64) for name in ("asv", "cm", "key", "speaker")}


def test_figures_of_sasv_2022_are_those_of_the_reference(shared, sasv2022):
    golden = json.loads((shared / "golden" / "person" / "sasv2022.json").read_text(encoding="utf-8"))
    joint = golden["fit_on_dev"]["joint"]
    weights = metrics.sasv.ASVSPOOF5_SASV_WEIGHTS
    rho = weights.spoof / (weights.nontarget + weights.spoof)
    llr_asv = joint["asv_scale"] * sasv2022["asv"] + joint["asv_offset"]
    llr_cm = joint["cm_scale"] * sasv2022["cm"] + joint["cm_offset"]
    ratio = -np.logaddexp(np.log(1 - rho) - llr_asv, np.log(rho) - llr_cm)
    scores = {"asv alone": sasv2022["asv"]}
    scores["ratio, joint fit"] = ratio
    dcf = {"weights": weights}
    options = {"min_a_dcf": dcf, "act_a_dcf": {**dcf, "threshold": weights.threshold}}
    for name, values in scores.items():
        claim_numbers = sasv2022["key"].astype(int)
        claims = ClaimScores(values, claim_numbers, sasv2022["speaker"])
        figures = claims.figures(options, {"num_resamples": 300, "seed": 0})
        for metric in ("sasv_eer", "sv_eer", "spf_eer"):
            expected = golden["eval"][name][metric]
            assert 100 * figures[metric].value == pytest.approx(expected, abs=1e-6), (name, metric)
        expected = golden["eval"][name]["min_a_dcf"]
        assert figures["min_a_dcf"].value == pytest.approx(expected, abs=1e-6)
    bootstrap = golden["bootstrap over the 48 claimed speakers, eval, ratio joint fit"]
    for metric, (low, high) in bootstrap["percentile_2_5_97_5"].items():
        width = np.diff(figures[metric].interval)[0]
        unit = 1 if metric == "min_a_dcf" else 100  # rates are in percent there
        assert unit * width == pytest.approx(high - low, rel=0.1), metric
