"""What a command does if its outputs, its standard streams or one of its inputs cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nes2net.cli.main import build_parser, main
from nes2net.lib.command_line import WRONG_INPUT, run

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
        (">&-", 0, "wrote"),
        (">&- 2>&-", 0, ""),
        ("2>&-", 0, ""),
    ],
)
def test_figures_are_written_even_if_nothing_can_be_printed(scored, redirection, status, printed):
    command = f'"{sys.executable}" -m nes2net {" ".join(EVALUATE)} --json figures.json {redirection}'
    ended = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    assert ended.returncode == status and Path("figures.json").read_text().startswith("{")
    assert printed in ended.stderr and "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("output", ["loop/x.json", "", "file/x.json", "/proc/x.json", f"{'n' * 300}.json"])
def test_an_output_that_cannot_be_is_one_line(scored, capsys, output):
    assert main([*EVALUATE, "--json", output]) == WRONG_INPUT
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_any_refusal_of_the_system_is_one_line_that_names_the_path(scored, capsys):
    def command(_args):
        os.mkdir("file/below")

    assert run(command, build_parser(), EVALUATE) == WRONG_INPUT
    error = capsys.readouterr().err
    assert "'file/below' cannot be read or written: Not a directory; name another path" in error


def test_a_folder_that_somebody_else_makes_meanwhile_stays(scored):
    """The folder has the name of a value, here the part of the corpus."""

    def command(_args):
        os.mkdir("all")

    run(command, build_parser(), EVALUATE)
    assert Path("all").is_dir()
