"""`nes2net export`: existing files, missing options and a hub that cannot be reached."""

import os
import re
import subprocess
import sys

import pytest

from nes2net.cli.main import main


def test_a_folder_is_replaced_only_if_asked(detector, tmp_path, capsys):
    detector.save(tmp_path / "in.pth")
    command = ["export", str(tmp_path / "in.pth"), "--to", "safetensors", "--out", str(tmp_path / "out")]
    assert main(command) == 0 and (tmp_path / "out" / "model.safetensors").is_file()
    assert main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.parametrize("arguments", ["a.pth", "a.pth --to hf"])
def test_a_place_for_the_export_is_required(arguments, capsys):
    assert main(["export", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert "--to and --out" in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", ["--to pth --out OUT", "--push a/b"])
def test_only_onnx_files_are_quantised(detector, tmp_path, capsys, arguments):
    detector.save(tmp_path / "in.pth")
    given = arguments.replace("OUT", str(tmp_path / "out.pth")).split()
    assert main(["export", str(tmp_path / "in.pth"), *given, "--quantize", "int8"]) == 2
    error = capsys.readouterr().err
    assert "--to onnx" in error and "--quantize" in error and error.count("\n") == 1
    assert not (tmp_path / "out.pth").exists()


def test_an_unreachable_hub_is_one_line(detector, tmp_path):
    """The hub's own library connects, to an address where nothing listens."""
    detector.save(tmp_path / "in.pth")
    arguments = ["export", str(tmp_path / "in.pth"), "--push", "somebody/detector"]
    command = [sys.executable, "-m", "nes2net.cli.main", *arguments]
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    expected = (
        r"nes2net: error: 'somebody/detector' was not pushed to the Hugging Face hub: .*; check the network connection"
    )
    assert re.fullmatch(expected, done.stderr.strip())
