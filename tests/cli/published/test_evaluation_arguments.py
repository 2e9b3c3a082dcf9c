"""The published evaluation commands: further columns of a score file, and missing or wrong arguments."""

import pytest
from builders.files import write

INSTRUCTION = "CHECK: invalid input arguments. Please read the instruction below:"


@pytest.mark.parametrize("more", [" 0.25", " x", " A07 spoof", " "])
def test_evaluate_2021_la_ignores_what_follows_the_score_in_a_line(g200, script, more):
    text = (g200.folder / "scores_LA.txt").read_text()
    write(g200.folder / "edited.txt", text.replace("\n", f"{more}\n"))
    stdout, stderr = script("python evaluate_2021_LA.py edited.txt keys/LA eval")
    assert stdout == g200.results["evaluate_2021_LA:eval"]["stdout"]
    assert stderr == ""


def test_a_label_in_place_of_the_score_is_refused(g200, script):
    text = (g200.folder / "scores_LA.txt").read_text()
    write(g200.folder / "edited.txt", text.replace(" ", " spoof "))
    stderr = script("python evaluate_2021_LA.py edited.txt keys/LA eval", status=2).err
    assert stderr == "error: edited.txt, line 1: expected a number as score, found 'spoof'; correct it\n"


@pytest.mark.parametrize("program", ["evaluate_2021_LA.py", "evaluate_2021_DF.py"])
@pytest.mark.parametrize("arguments", ["", "scores.txt", "scores.txt keys", "scores.txt keys eval more", "--unknown"])
def test_without_exactly_three_arguments_an_evaluation_script_prints_usage_and_one_error(script, program, arguments):
    stdout, stderr = script(f"python {program} {arguments}", status=1)
    lines = stdout.splitlines()
    assert lines[0] == INSTRUCTION
    assert "PATH_TO_SCORE_FILE" in stdout
    assert "PATH_TO_GROUNDTRUTH_DIR" in stdout
    assert "progress, eval, or hidden_track" in stdout
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
