"""What a command does if its outputs, its standard streams or one of its inputs cannot be."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from builders import slow
from builders.small_disk import small_disk
from builders.small_parts import SPECTRUM
from builders.voices import voice

from nes2net import Detector
from nes2net.cli.main import build_parser
from nes2net.lib.shell.command_line import WRONG_INPUT, run

EVALUATE = ["evaluate", "generic", "scores.txt", "--keys", "key.csv", "--phase", "all", "--resamples", "5"]


@pytest.fixture
def scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("key.csv").write_text("path,label\na.wav,bonafide\nb.wav,spoof\n")
    Path("scores.txt").write_text("a 1\nb 0\n")
    Path("file").touch()
    os.symlink("loop", "loop")


@pytest.mark.parametrize(
    "redirection, status, printed",
    [
        (">/dev/full", WRONG_INPUT, "No space left on device"),
        *slow((">&-", 0, "wrote"), (">&- 2>&-", 0, "")),
    ],
)
def test_figures_are_written_even_if_nothing_can_be_printed(scored, redirection, status, printed):
    """A full disk behind standard output is an error in one sentence, a closed stream none."""
    command = f'"{sys.executable}" -m nes2net {" ".join(EVALUATE)} --json figures.json {redirection}'
    ended = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    assert ended.returncode == status
    assert Path("figures.json").read_text().startswith("{")
    assert printed in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("output", ["loop/x.json", "", "file/x.json", "/proc/x.json", f"{'n' * 300}.json"])
def test_an_output_that_cannot_be_written_is_refused_in_one_line(scored, refused, output):
    refused([*EVALUATE, "--json", output])


@pytest.mark.parametrize(
    "words",
    [
        "evaluate generic . --keys key.csv",
        "evaluate generic scores.txt --keys key.csv --threshold-from . --dev-corpus generic --dev-keys .",
        "calibrate fit generic . --keys key.csv --save c.json",
    ],
)
def test_the_current_folder_in_the_place_of_a_score_file_is_refused_in_one_line(scored, refused, words):
    refused(words)


def test_an_error_of_the_operating_system_has_status_2_and_a_message_that_names_the_path(scored, capsys):
    def command(_args):
        os.mkdir("file/below")

    assert run(command, build_parser(), EVALUATE) == WRONG_INPUT
    message = "'file/below' cannot be read or written: Not a directory; name another path"
    assert message in capsys.readouterr().err


def test_an_empty_folder_that_another_program_makes_is_not_removed(scored):
    """Its name, `all`, is a word of the command line, and the command removes empty folders that it made itself."""

    def command(_args):
        os.mkdir("all")

    run(command, build_parser(), EVALUATE)
    assert Path("all").is_dir()


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """A detector and a recording in the current folder."""
    monkeypatch.chdir(tmp_path)
    Detector.from_config({"frontend": SPECTRUM, "backend": "mean_linear"}).save("d.pth")
    soundfile.write("a.wav", 0.3 * voice(seconds=3), 16000)


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-"])
def test_predict_prints_its_rows_without_standard_error(detector, closed):
    command = f'"{sys.executable}" -m nes2net predict a.wav nowhere.wav --model d.pth {closed}'
    ended = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, text=True)
    _, scored, failed, *_ = ended.stdout.splitlines()
    assert ended.returncode == 1
    assert scored.startswith("a.wav  ")
    assert failed.endswith("not found")


@pytest.mark.parametrize(
    "words, file",
    [
        ("export d.pth --to safetensors --out det", "det/model.safetensors"),
        ("export d.pth --to pth --out x.pth", "x.pth"),
        ("augment a.wav augment.algo=4 --out augmented", "augmented/a_algo4_seed1234_epoch1.wav"),
    ],
)
def test_the_error_of_a_full_disk_is_one_line_that_names_the_file(detector, refused, words, file):
    with small_disk():
        line = refused(words)
    assert re.search(f"{re.escape(file)}:? cannot be written [(]", line)
