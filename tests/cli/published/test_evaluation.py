"""The published evaluation commands: their exact output, their exit status, and our differences."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from builders import golden_metrics

from nes2net.cli.published import evaluation as official

REPOSITORY = Path(__file__).resolve().parents[3]
MAIN = {
    "evaluate_2021_LA.py": official.evaluate_2021_la,
    "evaluate_2021_DF.py": official.evaluate_2021_df,
    "Cal_EER_in_the_wild.py": official.cal_eer_in_the_wild,
}
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
NUM_RUNS = {
    "g200": 17,
    "single": 3,
    "all_equal": 7,
    "inverted": 3,
    "separated": 7,
    "g5k": 5,
    "g5k_cont": 5,
    "g60k": 2,
}


@pytest.fixture(scope="module", params=golden_metrics.NAMES)
def case(request, tmp_path_factory):
    return golden_metrics.load(request.param, tmp_path_factory.mktemp(request.param))


def run(command, folder, monkeypatch, capsys):
    """Run ``python SCRIPT ARGUMENTS`` in ``folder``, in this process: exit status, stdout, stderr."""
    _, script, *arguments = shlex.split(command)
    monkeypatch.chdir(folder)
    try:
        status = MAIN[script](arguments)
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def test_every_published_run(case, monkeypatch, capsys):
    runs = {
        name: result
        for name, result in (case.results | case.cli_errors).items()
        if "cmd" in result and shlex.split(result["cmd"])[1] in MAIN
    }
    assert len(runs) == NUM_RUNS[case.name]
    for name, published in runs.items():
        status, stdout, stderr = run(published["cmd"], case.folder, monkeypatch, capsys)
        expected = DIFFERENT.get((case.name, name), (published["rc"], published["stdout"]))
        assert (status, stdout) == expected, name
        if published["stderr_last"].startswith("ERROR"):
            assert stderr.splitlines()[-1] == published["stderr_last"], name
        if status == 0:
            assert stderr == "", name


@pytest.fixture
def g200(tmp_path):
    return golden_metrics.load("g200", tmp_path)


@pytest.mark.parametrize(
    "command", ["LA_short", "evaluate_2021_LA:eval", "evaluate_2021_DF:eval", "Cal_EER_in_the_wild"]
)
def test_the_scripts_at_the_top_level(g200, command):
    published = {**g200.results, **g200.cli_errors}[command]
    _, script, *arguments = shlex.split(published["cmd"])
    done = subprocess.run(
        [sys.executable, REPOSITORY / script, *arguments], cwd=g200.folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (published["rc"], published["stdout"])


def test_missing_and_non_finite_scores_are_named(g200, monkeypatch, capsys):
    _, _, stderr = run("python evaluate_2021_LA.py bad_short_LA.txt keys/LA eval", g200.folder, monkeypatch, capsys)
    assert stderr == "bad_short_LA.txt: 3 of 200 trials without a score: LA_E_1000045, LA_E_1000111, LA_E_1000176\n"
    _, _, stderr = run("python evaluate_2021_LA.py bad_nan_LA.txt keys/LA eval", g200.folder, monkeypatch, capsys)
    assert stderr.splitlines()[0] == "bad_nan_LA.txt: 1 with a score that is not finite: LA_E_1000045"


@pytest.mark.parametrize("phase", ["hidden", "hidden_track"])
@pytest.mark.parametrize("keys", ["keys", "keys/LA", "keys/LA/CM", "."])
def test_phases_and_key_layouts(g200, phase, keys, monkeypatch, capsys):
    status, stdout, _ = run(
        f"python evaluate_2021_LA.py scores_LA.txt {keys} {phase}", g200.folder, monkeypatch, capsys
    )
    assert (status, stdout) == (0, g200.results["evaluate_2021_LA:hidden_track"]["stdout"])


def edit(g200, change):
    lines = (g200.folder / "scores_LA.txt").read_text().splitlines()
    (g200.folder / "edited.txt").write_text("\n".join(change(lines)) + "\n")


def evaluate_edited(g200, monkeypatch, capsys, *flags):
    command = shlex.join(["python", "evaluate_2021_LA.py", "edited.txt", "keys", "eval", *flags])
    return run(command, g200.folder, monkeypatch, capsys)


def test_identical_rows_are_an_error(g200, monkeypatch, capsys):
    edit(g200, lambda lines: [*lines, *lines[:1]])
    repeated = "edited.txt: 1 scored more than once (was a run appended to another?): LA_E_1000001"
    assert evaluate_edited(g200, monkeypatch, capsys) == (2, "", f"error: {repeated}\n")


def test_two_different_scores_of_one_trial_are_an_error(g200, monkeypatch, capsys):
    edit(g200, lambda lines: [*lines, f"{lines[0].split()[0]} 17"])
    status, stdout, stderr = evaluate_edited(g200, monkeypatch, capsys)
    assert (status, stdout) == (2, "")
    assert stderr == "error: edited.txt: 1 scored twice with different values: LA_E_1000001\n"


def test_an_unknown_trial_is_named(g200, monkeypatch, capsys):
    edit(g200, lambda lines: ["LA_E_9999999 0.5", *lines[1:]])
    status, stdout, stderr = evaluate_edited(g200, monkeypatch, capsys)
    assert (status, stdout) == (2, "")
    assert "1 of 200 trials without a score: LA_E_1000001; 1 scored but not in the key: LA_E_9999999" in stderr


def test_scores_of_other_trials_and_scores_that_are_not_numbers(g200, monkeypatch, capsys):
    edit(g200, lambda lines: [f"other_{line}" for line in lines[:150]])
    status, stdout, stderr = evaluate_edited(g200, monkeypatch, capsys)
    assert (status, stdout) == (1, "CHECK: submission has 150 of 200 expected trials.\n")
    assert "none of the 200 trials of the key has a score" in stderr
    edit(g200, lambda lines: [f"{line.split()[0]} nan" for line in lines])
    status, stdout, stderr = evaluate_edited(g200, monkeypatch, capsys)
    assert (status, stdout) == (1, "") and "ERROR: Your scores contain nan or inf." in stderr


def test_allow_partial(g200, monkeypatch, capsys):
    edit(g200, lambda lines: lines[:150])
    status, stdout, stderr = evaluate_edited(g200, monkeypatch, capsys)
    assert (status, stdout) == (1, "CHECK: submission has 150 of 200 expected trials.\n")
    status, stdout, stderr = evaluate_edited(g200, monkeypatch, capsys, "--allow-partial")
    assert status == 0
    assert stdout.startswith("min_tDCF: ")
    scored = {line.split()[0] for line in (g200.folder / "edited.txt").read_text().splitlines()}
    in_phase = [row[1] in scored for row in g200.table("keys/LA/CM/trial_metadata.txt") if row[7] == "eval"]
    assert stderr.startswith(f"partial: rests on {sum(in_phase)} of {len(in_phase)} trials; ")


def test_warning_when_negating_changes_nothing(tmp_path, monkeypatch, capsys):
    key = "".join(
        f"s{i} u{i} none loc_tx x {label} notrim eval\n" for i, label in enumerate(["bonafide"] * 3 + ["spoof"] * 3)
    )
    asv = [("target", 2), ("target", 3), ("nontarget", 0), ("nontarget", 1), ("spoof", 2.5)]
    files = {
        "LA/CM/trial_metadata.txt": key,
        "LA/ASV/trial_metadata.txt": "".join(
            f"s v{i} none loc_tx x {kind} notrim eval\n" for i, (kind, _) in enumerate(asv)
        ),
        "LA/ASV/ASVTorch_Kaldi/score.txt": "".join(f"s v{i} {score}\n" for i, (_, score) in enumerate(asv)),
        "scores.txt": "u0 -1\nu1 0\nu2 1\nu3 -1\nu4 0\nu5 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    status, stdout, _ = run("python evaluate_2021_LA.py scores.txt . eval", tmp_path, monkeypatch, capsys)
    assert status == 0
    assert stdout.splitlines()[-1] == (
        "WARNING: your classifier might not work correctly, we checked if negating your scores gives different "
        "min t-DCF - it does not. Are all values the same?"
    )


def test_missing_asv_scores_are_an_error_with_each_path(g200, monkeypatch, capsys):
    (g200.folder / "keys/LA/ASV/ASVTorch_Kaldi/score.txt").unlink()
    status, stdout, stderr = run("python evaluate_2021_LA.py scores_LA.txt keys eval", g200.folder, monkeypatch, capsys)
    assert (status, stdout) == (2, "")
    assert "ASVTorch_Kaldi/score.txt, keys/LA/ASV/ASVtorch_kaldi/score.txt" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["beside", "here", "release_in_the_wild", "nowhere"])
def test_labels_of_in_the_wild_are_found(g200, tmp_path, place, monkeypatch, capsys):
    here = tmp_path / "here"
    scores = tmp_path / "elsewhere" / "scores.txt"
    for folder in (here / "release_in_the_wild", scores.parent):
        folder.mkdir(parents=True)
    (g200.folder / "scores_ITW.txt").rename(scores)
    labels = {
        "beside": scores.parent,
        "here": here,
        "release_in_the_wild": here / place,
        "nowhere": tmp_path / "elsewhere2",
    }
    labels[place].mkdir(exist_ok=True)
    (g200.folder / "meta.csv").rename(labels[place] / "meta.csv")
    status, stdout, stderr = run(f"python Cal_EER_in_the_wild.py --path {scores}", here, monkeypatch, capsys)
    if place == "nowhere":
        assert (status, stdout) == (2, "")
        assert "--labels_file" in stderr and str(scores.parent / "meta.csv") in stderr
    else:
        assert (status, stdout, stderr) == (0, "EER: 0.1\n", "")


def test_in_the_wild_errors(g200, monkeypatch, capsys):
    lines = (g200.folder / "scores_ITW.txt").read_text().splitlines()
    (g200.folder / "edited.txt").write_text("\n".join(lines[:-2]) + "\n")
    command = "python Cal_EER_in_the_wild.py --path edited.txt --labels_file meta.csv"
    status, stdout, stderr = run(command, g200.folder, monkeypatch, capsys)
    assert (status, stdout) == (2, "")
    assert stderr.startswith("error: scores and key do not fit: 2 of 200 trials without a score: ")
    status, stdout, stderr = run(f"{command} --allow-partial", g200.folder, monkeypatch, capsys)
    assert status == 0 and stdout.startswith("EER: 0.") and stderr.startswith("partial: rests on 198 of 200 trials")
    command = "python Cal_EER_in_the_wild.py --path scores_ITW.txt --labels_file nope.csv"
    status, stdout, stderr = run(command, g200.folder, monkeypatch, capsys)
    assert (status, stdout) == (2, "")
    assert "nope.csv" in stderr


@pytest.mark.parametrize("script", MAIN)
def test_missing_arguments(script, tmp_path, monkeypatch, capsys):
    status, _, stderr = run(f"python {script}", tmp_path, monkeypatch, capsys)
    assert status == 2
    assert "required" in stderr
