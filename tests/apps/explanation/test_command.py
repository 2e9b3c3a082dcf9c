"""`nes2net explain`: what it prints, and the files that it writes."""

import json

import pytest
import soundfile
from builders import hears_a_tone
from builders.files import read_json


@pytest.fixture
def explain(workdir, output):
    hears_a_tone.detector().save("detector.pth")
    soundfile.write("tone.wav", hears_a_tone.recording(0.4, seed=99), 16000)
    (workdir / "bad.wav").write_bytes(b"RIFF")
    return lambda words, status=0: output(f"explain {words} --model detector.pth --device cpu --draws 5", status)


def test_explain_prints_the_strongest_band_and_its_direction(explain):
    """And how the score changes without the most relevant tenth."""
    printed = explain("tone.wav --out out").out
    assert any(line.startswith("  3000–3500 Hz") and line.endswith("spoof") for line in printed.splitlines())
    assert "Without its most relevant tenth the score changes" in printed


def test_explain_writes_a_picture_and_the_printed_data(tmp_path, explain):
    printed = json.loads(explain("tone.wav --out out --json").out)
    assert (tmp_path / "out" / "tone.png").read_bytes().startswith(b"\x89PNG")
    assert read_json(tmp_path / "out" / "tone.json") == printed


def test_explain_prints_the_given_method_and_start(explain):
    printed = explain("tone.wav --method integrated_gradients --steps 2 --start 0.2").out
    assert "integrated gradients" in printed
    assert "s from 0.20 s on" in printed


def test_explain_names_the_files_that_it_cannot_explain_and_ends_with_status_1(explain):
    out, err = explain("tone.wav bad.wav", status=1)
    assert "1 of 2 files could not be explained" in err
    assert "bad.wav: " in out
