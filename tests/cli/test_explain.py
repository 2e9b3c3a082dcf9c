"""`nes2net explain`: what it prints, and the files that it writes."""

import json

import pytest
import soundfile
from builders import hears_a_tone
from PIL import Image

from nes2net.cli.main import main


@pytest.fixture
def files(tmp_path):
    hears_a_tone.detector().save(tmp_path / "detector.pth")
    soundfile.write(tmp_path / "tone.wav", hears_a_tone.recording(0.4, seed=99), 16000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    return tmp_path


def run(files, *words):
    return main(
        ["explain", *map(str, words), "--model", str(files / "detector.pth"), "--device", "cpu", "--draws", "5"]
    )


def test_what_is_printed_and_written(files, capsys):
    assert run(files, files / "tone.wav", "--out", files / "out") == 0
    printed = capsys.readouterr().out
    assert "explained by occlusion; absence is noise of the recording's floor" in printed
    assert "3000–3500 Hz" in printed and "towards spoof" in printed and "DO NOT TRUST" not in printed
    assert "check: without the most relevant tenth of time the score changes by" in printed
    with Image.open(files / "out" / "tone.png") as picture:
        assert picture.size == (1210, 704)
    data = json.loads((files / "out" / "tone.json").read_text())
    assert data["strongest_bands"][0]["start"] == 3000 and data["checks"][0]["of"] == "time"
    assert len(data["relevance"]["cells"]) == 16 and data["layers"] is None
    assert run(files, files / "tone.wav", "--out", files / "out", "--picture", "svg", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    del row["file"], data["file"]
    assert row == data  # the same explanation again
    assert (files / "out" / "tone.svg").read_text().startswith("<?xml")


def test_gradients_say_what_they_add_up_to(files, capsys):
    assert run(files, files / "tone.wav", "--method", "integrated_gradients", "--start", "0.2", "--steps", "4") == 0
    printed = capsys.readouterr().out
    assert "s from 0.20 s on explained by integrated gradients" in printed and "relevance adds up to" in printed


def test_errors(files, capsys):
    assert run(files, files / "tone.wav", files / "bad.wav") == 1
    printed = capsys.readouterr()
    assert "1 of 2 files could not be explained" in printed.err and "bad.wav: " in printed.out
    assert run(files, files / "tone.wav", "--start", "3") == 2
    assert "ends at 1.00 s: choose a --start before that" in capsys.readouterr().err
    assert run(files, files / "tone.wav", "--bands", "1") == 2
    assert "--bands is at least 2" in capsys.readouterr().err
