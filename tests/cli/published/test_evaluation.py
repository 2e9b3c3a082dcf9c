"""The published evaluation commands: their exact output, their exit status, and our differences."""

import shlex

import pytest
from builders import golden_metrics, slow
from builders.files import write

SCRIPTS = ("evaluate_2021_LA.py", "evaluate_2021_DF.py", "Cal_EER_in_the_wild.py")
#: (case, command) → our (exit status, stdout) where the published program gives another, and why.
DIFFERENT = {
    # The published program sorts ties unstably.
    ("all_equal", "Cal_EER_in_the_wild"): (0, "EER: 0.5166666666666667\n"),
    ("g60k", "Cal_EER_in_the_wild"): (0, "EER: 0.12724074074074074\n"),
    # One trial has two scores and another has no score. The published program counts rows, we trials.
    ("g200", "LA_dup"): (1, "CHECK: submission has 199 of 200 expected trials.\n"),
    # We also accept the folder above LA.
    ("g200", "LA_wrong_truth_dir"): (0, "min_tDCF: 0.1437\neer: 7.67\n"),
}

#: Number of runs of these three programs in the reference, so that no run is skipped unnoticed.
NUM_RUNS = {"g200": 17, "single": 3, "all_equal": 7, "inverted": 3, "separated": 7, "g5k": 5, "g5k_cont": 5, "g60k": 2}


@pytest.mark.parametrize("name", [*golden_metrics.NAMES[:-1], *slow(golden_metrics.NAMES[-1])])
def test_evaluation_scripts_give_the_published_output_status_and_error_but_for_listed_differences(
    name, tmp_path, monkeypatch, script
):
    case = golden_metrics.load(name, tmp_path)
    monkeypatch.chdir(case.folder)
    results = {run: result for run, result in (case.results | case.cli_errors).items() if "cmd" in result}
    runs = {run: result for run, result in results.items() if shlex.split(result["cmd"])[1] in SCRIPTS}
    assert len(runs) == NUM_RUNS[name]
    for run, published in runs.items():
        status, expected = DIFFERENT.get((name, run), (published["rc"], published["stdout"]))
        stdout, stderr = script(published["cmd"], status)
        assert stdout == expected, run
        if published["stderr_last"].startswith("ERROR"):
            assert stderr.splitlines()[-1] == published["stderr_last"], run
        if status == 0:  # in one process, the note about `inverted` comes once
            assert all(line.startswith("note: an EER is above 50 %") for line in stderr.splitlines()), run


def test_keys_are_found_whichever_folder_above_the_trial_metadata_is_named(g200, script):
    """The phase hidden stands for hidden_track."""
    for words in ("keys hidden", "keys/LA hidden_track", "keys/LA/CM hidden_track", ". hidden_track"):
        stdout = script(f"python evaluate_2021_LA.py scores_LA.txt {words}").out
        assert stdout == g200.results["evaluate_2021_LA:hidden_track"]["stdout"], words


def test_an_evaluation_without_asv_scores_is_refused_with_the_paths_that_were_tried(g200, script):
    (g200.folder / "keys/LA/ASV/ASVTorch_Kaldi/score.txt").unlink()
    stdout, stderr = script("python evaluate_2021_LA.py scores_LA.txt keys eval", status=2)
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert "ASVTorch_Kaldi/score.txt, keys/LA/ASV/ASVtorch_kaldi/score.txt" in stderr


def test_fewer_scores_than_trials_are_refused_with_the_published_line(g200, script):
    lines = (g200.folder / "scores_LA.txt").read_text().splitlines()[:150]
    write(g200.folder / "edited.txt", lines)
    stdout = script("python evaluate_2021_LA.py edited.txt keys eval", status=1).out
    assert stdout == "CHECK: submission has 150 of 200 expected trials.\n"


def test_with_allow_partial_the_share_of_scored_trials_is_printed_with_the_figures(g200, script):
    lines = (g200.folder / "scores_LA.txt").read_text().splitlines()[:150]
    write(g200.folder / "edited.txt", lines)
    stdout, stderr = script("python evaluate_2021_LA.py edited.txt keys eval --allow-partial")
    scored = {line.split()[0] for line in lines}
    in_phase = [row[1] in scored for row in g200.table("keys/LA/CM/trial_metadata.txt") if row[7] == "eval"]
    assert stdout.startswith("min_tDCF: ")
    assert stderr.startswith(f"partial: rests on {sum(in_phase)} of {len(in_phase)} trials; ")


def test_scores_whose_negation_has_the_same_min_tdcf_are_warned_of(workdir, script):
    def lines(letter, labels):
        return "".join(f"s {letter}{n} none loc_tx x {label} notrim eval\n" for n, label in enumerate(labels))

    asv = {"target": 3, "nontarget": 0, "spoof": 2.5}
    write(workdir / "LA/CM/trial_metadata.txt", lines("u", ["bonafide"] * 3 + ["spoof"] * 3))
    write(workdir / "LA/ASV/trial_metadata.txt", lines("v", asv))
    scores = "".join(f"s v{n} {score}\n" for n, score in enumerate(asv.values()))
    write(workdir / "LA/ASV/ASVTorch_Kaldi/score.txt", scores)
    write(workdir / "scores.txt", "u0 -1\nu1 0\nu2 1\nu3 -1\nu4 0\nu5 1\n")
    assert script("python evaluate_2021_LA.py scores.txt . eval").out.splitlines()[-1] == (
        "WARNING: your classifier might not work correctly, we checked if negating your scores gives different "
        "min t-DCF - it does not. Are all values the same?"
    )
