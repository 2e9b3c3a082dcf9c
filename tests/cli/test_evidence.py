"""`nes2net predict --evidence`, and the file of `nes2net calibrate neighbours`."""

import json
import sys

import pytest
from builders.known_voices import FEWEST, write_voices
from conftest import seeded_detector

from nes2net.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with known recordings, a detector, and what the command made of both."""
    folder = tmp_path_factory.mktemp("evidence")
    seeded_detector({"frontend": "lfcc", "backend": "asp_mlp"}).save(folder / "m.pth")
    write_voices(folder / "real", range(FEWEST))
    write_voices(folder / "fake", range(FEWEST, FEWEST + 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main("calibrate neighbours real fake --model m.pth --save n.json".split()) == 0
    return folder


@pytest.fixture
def predict(folder, output, monkeypatch):
    """A function that runs `nes2net predict` for a known recording; returns what it prints."""
    monkeypatch.chdir(folder)
    return lambda *flags: output(["predict", "fake/20.wav", "--model", "m.pth", *flags]).out


def test_evidence_stands_below_the_answer_and_does_not_change_it(predict):
    head, answer, *lines = predict("--evidence", "neighbours:n.json").splitlines()
    assert lines[0] == "  - fake/20.wav: spoof, cosine distance 0.0000"
    assert [line[:4] for line in lines[:6]] == ["  - "] * 5 + ["# sc"]
    assert [head, answer, *lines[5:]] == predict().splitlines()


def test_json_has_the_answer_as_without_evidence_and_the_findings(predict):
    row = json.loads(predict("--json", "--evidence", "neighbours:n.json"))
    nearest, *farther = row.pop("evidence")
    assert nearest["neighbour"] == "fake/20.wav"
    assert len(farther) == 4
    assert row == json.loads(predict("--json"))


def test_predict_without_evidence_does_not_import_it(predict, monkeypatch):
    monkeypatch.delitem(sys.modules, "nes2net.scoring.neighbours")
    predict()
    assert "nes2net.scoring.neighbours" not in sys.modules


def test_genuine_recordings_suffice(predict, output):
    output("calibrate neighbours real --model m.pth --save genuine.json")
    assert predict("--evidence", "neighbours:genuine.json").count(": bonafide, cosine distance ") == 5


def test_a_table_for_spreadsheets_has_no_evidence(folder, refused):
    message = refused(["predict", folder, "--model", folder / "m.pth", "--csv", "--evidence", "neighbours:n.json"])
    assert "--evidence" in message


def test_a_wrong_file_is_refused_before_a_recording_is_judged(folder, refused):
    model = folder / "m.pth"
    message = refused(["predict", folder / "real", "--model", model, "--evidence", f"neighbours:{model}"])
    assert "m.pth: is a ZIP archive" in message
