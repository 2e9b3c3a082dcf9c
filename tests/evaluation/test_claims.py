"""Scores of claimed people: figures of SASV 2022 and of track 2 of ASVspoof 5, and files that do not fit."""

import json

import numpy as np
import pytest
from builders import input_error

from nes2net import metrics
from nes2net.evaluation.claim_figures import ClaimScores
from nes2net.evaluation.claims import ClaimEvaluation
from nes2net.evaluation.key import Labels
from nes2net.metrics.sasv import SasvWeights
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


@pytest.fixture
def evaluated(tmp_path):
    """Write a list of ASVspoof 5, track 2, and a score file; evaluate both with ``settings``."""

    def evaluate(rows=CLAIMS, scores=None, corpus="asvspoof5_track2", files=1, **settings):
        lines = [row.split() for row in rows.splitlines()]
        key = tmp_path / "ASVspoof5.eval.track_2.trial.tsv"
        key.write_text("".join(f"{person} {file} F {attack} {claim}\n" for person, file, attack, claim, *_ in lines))
        if scores is None:
            scores = HEADER + "".join(
                "\t".join([person, file, *values]) + "\n" for person, file, _, _, *values in lines
            )
        paths = [tmp_path / f"{number}.tsv" for number in range(files)]
        for path in paths:
            path.write_text(scores)
        return ClaimEvaluation(Labels(corpus, key, "eval"), paths, num_resamples=50, **settings).run()

    return evaluate


def test_a_file_of_claims_is_known_by_its_first_line(tmp_path):
    for line in (HEADER, "P1 R1 A07 spoof 0.5\n", "P1 R1 0.5 target\n", "speaker,file,asv,sasv\n"):
        path = tmp_path / "scores.txt"
        path.write_text(line)
        assert ScoreFile.of(path).judgement.name == "claims", line


def test_figures_of_claims_are_those_of_the_metrics_and_each_recording_counts_with_each_person(evaluated):
    result = evaluated()
    target, nontarget, spoof = [3.0, 1.5], [-1.0, 2.0], [-1.5, 1.6]
    row = result.rows("claims")[0]
    eers = [row.value(name) for name in ("sasv_eer", "sv_eer", "spf_eer")]
    assert eers == list(metrics.sasv.compute_sasv_eers(target, nontarget, spoof))
    assert row.value("min_a_dcf") == metrics.compute_a_dcf(target, nontarget, spoof)[0]
    assert row.value("t_eer") == metrics.compute_t_eer(
        [1.0, 2.0, 1.5, 1.0], [-2.0, -1.0], [2.0, 1.0], [-2.0, -1.0], [1.5, 2.5]
    )
    assert [row.value(name) for name in ("num_targets", "num_nontargets", "num_spoof", "num_people")] == [2, 2, 2, 2]
    assert [row.labels["score"] for row in result.rows("single scores")] == ["asv alone", "cm alone"]
    assert [row.labels["attack"] for row in result.rows("by attack")] == ["A07", "A08"]


def test_the_actual_cost_is_that_at_the_threshold_of_the_weights_or_at_a_given_one(evaluated):
    weights = SasvWeights(1.0, 1.0, 1.0)
    assert evaluated(weights=weights)["act_a_dcf"].value == 1.0  # at ln 2, both R1 of P2 and R5 are accepted
    assert evaluated(weights=weights, threshold=1.7)["act_a_dcf"].value == 1.0
    assert evaluated(weights=weights, threshold=2.5)["act_a_dcf"].value == 0.5


def test_rows_are_matched_by_person_and_recording_whatever_their_order(evaluated):
    lines = [row.split() for row in CLAIMS.splitlines()]
    rows = ["\t".join([f"{file}.flac", *values, person]) for person, file, _, _, *values in reversed(lines)]
    scores = "filename\tcm-score\tasv-score\tsasv-score\tspk\n" + "\n".join(rows)
    assert evaluated(scores=scores).to_dict()["tables"] == evaluated().to_dict()["tables"]


def test_files_with_one_score_have_no_tandem_and_their_own_claims_are_compared_with_the_key(evaluated):
    scores = CLAIMS.replace("P1 R3 bonafide nontarget", "P1 R3 bonafide target")
    rows = [row.split() for row in scores.splitlines()]
    result = evaluated(
        scores="".join(f"{person} {file} {value} {claim}\n" for person, file, _, claim, *_, value in rows)
    )
    assert "t_eer" not in result.rows("claims")[0].figures
    assert any("1 claims otherwise than the key" in note and "P1:R3" in note for note in result.notes)


def test_without_spoofed_trials_only_the_sv_eer_is_defined(evaluated):
    result = evaluated(rows="".join(row + "\n" for row in CLAIMS.splitlines() if "spoof" not in row))
    figures = result.rows("claims")[0].figures
    assert "sv_eer" in figures
    assert not {"sasv_eer", "spf_eer", "min_a_dcf", "act_a_dcf"} & figures.keys()
    assert any("no spoof trials" in note for note in result.notes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P1\tR1\t1.0", "P1\tR1\t-", "line 2: no cm score, but other lines have one"),
        ("P1\tR1\t1.0", "P1\tR1\tinf", "1 claim with a score that is not finite: P1:R1"),
        ("P1\tR1\t1.0", "P1\tR9\t1.0", "1 of 6 trials without a score: P1:R1"),
        ("P1\tR1\t1.0", "P1\tR1\tone", "line 2"),
    ],
)
def test_scores_that_do_not_fit_are_refused(evaluated, old, new, message):
    lines = [row.split() for row in CLAIMS.splitlines()]
    scores = HEADER + "".join("\t".join([person, file, *values]) + "\n" for person, file, _, _, *values in lines)
    with input_error(message):
        evaluated(scores=scores.replace(old, new))


def test_targets_are_needed_and_a_key_without_claims_is_named(evaluated, tmp_path):
    with input_error("there are no target trials"):
        evaluated(rows="".join(row + "\n" for row in CLAIMS.splitlines() if " target" not in row))
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
    scores = ClaimScores(np.arange(60.0), claims, people)
    drawing = scores.drawing(seed=0)
    assert drawing.cells.size == 12
    # Trials are listed by class, and the cell of each is its person.
    assert drawing.cells.numbers.tolist() == np.concatenate([people[claims == number] for number in range(3)]).tolist()
    assert scores.where(people < 9).drawing(seed=0).num_clusters == 45


def test_printed_lines_of_the_organisers_package_are_the_same_character_by_character(shared, evaluated):
    golden = json.loads((shared / "golden" / "person" / "metrics.json").read_text(encoding="utf-8"))
    cases = {case["name"]: case for case in golden["cases"]}
    for printed in golden["printed"]:
        case = cases[printed["case"]]
        columns = [case[kind] for kind in ("cm", "asv", "sasv")]
        if printed["mode"] == "t2_single":
            columns[:2] = [["-"] * len(case["label"])] * 2
        if printed["exit"]:
            continue  # the package fails without the columns that tandem figures need
        attacks = {"target": "bonafide", "nontarget": "bonafide", "spoof": "A01"}
        trials = [(f"P{number}", f"R{number}") for number in range(len(case["label"]))]
        rows = "".join(
            f"{person} {file} {attacks[claim]} {claim}\n" for (person, file), claim in zip(trials, case["label"])
        )
        scores = HEADER + "".join(
            "\t".join([*trial, *map(str, row)]) + "\n" for trial, row in zip(trials, zip(*columns))
        )
        assert printed["stdout"] in evaluated(rows=rows, scores=scores).text() + "\n", printed["case"]


@pytest.fixture(scope="module")
def sasv2022(shared):
    with np.load(shared / "golden" / "person" / "sasv2022.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith("eval_")}


def test_figures_of_sasv_2022_are_those_of_the_reference(shared, sasv2022):
    golden = json.loads((shared / "golden" / "person" / "sasv2022.json").read_text(encoding="utf-8"))
    joint = golden["fit_on_dev"]["joint"]
    weights = metrics.sasv.ASVSPOOF5_SASV_WEIGHTS
    rho = weights.spoof / (weights.nontarget + weights.spoof)
    llr_asv = joint["asv_scale"] * sasv2022["eval_asv"].astype(float) + joint["asv_offset"]
    llr_cm = joint["cm_scale"] * sasv2022["eval_cm"].astype(float) + joint["cm_offset"]
    ratio = -np.logaddexp(np.log(1 - rho) - llr_asv, np.log(rho) - llr_cm)
    scores = {"asv alone": sasv2022["eval_asv"].astype(float), "ratio, joint fit": ratio}
    options = {"act_a_dcf": {"weights": weights, "threshold": weights.threshold}, "min_a_dcf": {"weights": weights}}
    for name, values in scores.items():
        claims = ClaimScores(values, sasv2022["eval_key"].astype(int), sasv2022["eval_speaker"])
        figures = claims.figures(options, {"num_resamples": 300, "seed": 0})
        for metric in ("sasv_eer", "sv_eer", "spf_eer"):
            assert 100 * figures[metric].value == pytest.approx(golden["eval"][name][metric], abs=1e-6), (name, metric)
        assert figures["min_a_dcf"].value == pytest.approx(golden["eval"][name]["min_a_dcf"], abs=1e-6)
    bootstrap = golden["bootstrap over the 48 claimed speakers, eval, ratio joint fit"]["percentile_2_5_97_5"]
    for metric, (low, high) in bootstrap.items():
        width = np.diff(figures[metric].interval)[0] * (1 if metric == "min_a_dcf" else 100)
        assert width == pytest.approx(high - low, rel=0.1), metric
