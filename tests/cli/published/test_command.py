"""`nes2net published PROGRAM` does what the published script does, without the script."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from builders import golden_metrics

from nes2net.cli.main import main
from nes2net.cli.published.command import Program

PROGRAMS = get_args(Program)
REPOSITORY = Path(__file__).resolve().parents[3]


def outcome(*arguments, cwd):
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "program, arguments",
    [
        ("evaluate_2021_LA", "scores_LA.txt keys/LA eval"),
        ("evaluate_2021_LA", "scores_LA.txt nowhere eval"),
        ("evaluate_2021_DF", "scores_DF.txt keys/DF --allow-partial eval"),
        ("Cal_EER_in_the_wild", "--path scores_ITW.txt --labels_file meta.csv"),
        ("Cal_EER_in_the_wild", "--path none.txt"),
    ],
)
def test_the_same_lines_and_status_as_the_script(program, arguments, tmp_path):
    case = golden_metrics.load("g200", tmp_path)
    script = outcome(REPOSITORY / f"{program}.py", *arguments.split(), cwd=case.folder)
    assert outcome("-m", "nes2net", "published", program, *arguments.split(), cwd=case.folder) == script
    assert script[1] or script[2]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["published", program, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and f"example:\n  nes2net published {program}" in text
    assert (REPOSITORY / f"{program}.py").is_file()


@pytest.mark.parametrize("program", ["main", "easy_inference_demo"])
def test_errors_have_the_name_that_was_typed(program, capsys):
    arguments = ["--model_name", "wav2vec2_Nes2Net_X", "--model_path", "none.pth"]
    arguments += ["--eval"] if program == "main" else ["--file_to_test", "none.wav"]
    assert main(["published", program, *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"nes2net published {program}: error: ")


def test_the_programs_are_listed(capsys):
    with pytest.raises(SystemExit):
        main(["published", "--help"])
    text = capsys.readouterr().out
    assert all(program in text for program in PROGRAMS)
