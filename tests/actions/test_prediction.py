"""Python gets of each recording what the command prints, and what it draws."""

import json

import numpy as np
import pytest
import soundfile
from builders.loud_is_fake import FAKES, near, recording
from builders.loud_is_fake import detector as loud_is_fake

from nes2net import Detector, InputError
from nes2net.actions import prediction
from nes2net.actions.prediction import Along, Once, Stretches, predict
from nes2net.cli.main import main


@pytest.fixture
def files(tmp_path):
    soundfile.write(tmp_path / "a.wav", recording(3.0, FAKES), 16000)
    (tmp_path / "b.wav").write_text("no audio")
    detector = loud_is_fake()
    detector.save(tmp_path / "model.pth", **detector.record)
    return [tmp_path / "a.wav", tmp_path / "b.wav"]


def test_rows_are_those_of_the_command(files, tmp_path, capsys):
    detector = Detector.from_pretrained(tmp_path / "model.pth", "cpu")
    for way, flags in (
        (None, ""),
        (Once(16000), "--samples 16000"),
        (Once(None), "--samples full"),
        (Along(hop=0.25), "--track --hop 0.25"),
        (Stretches(threshold=0.4), "--segments --threshold 0.4"),
        (
            Stretches(20, 0.45, 0.0, 0.5),
            "--segments --resolution 20 --threshold 0.45 --hysteresis 0 --min-duration 0.5",
        ),
    ):
        rows = [one.row for one in predict(detector, [tmp_path], way).rows]
        words = f"predict {tmp_path} --model {tmp_path}/model.pth --device cpu --json {flags}"
        assert main(words.split()) == 1
        assert rows == [json.loads(line) for line in capsys.readouterr().out.splitlines()], flags
        assert [row["file"] for row in rows] == list(map(str, files)) and list(rows[1]) == ["file", "error"]


def test_tracks_and_stretches_come_as_objects(files, tmp_path):
    detector = Detector.from_pretrained(tmp_path / "model.pth", "cpu")
    (along,) = predict(detector, files[:1], Along(0.5, 0.25)).rows
    assert np.array_equal(along.track.scores, detector.score_track(files[0], window=0.5, hop=0.25).scores)
    (one,) = predict(detector, files[:1], Stretches(20, 0.45, 0.0, 0.5)).rows
    assert near([stretch[1:3] for stretch in one.stretches], FAKES[:1])  # the other is too short
    found = predict(detector, files[:1], Stretches())
    (one,) = found.rows
    assert near([stretch[1:3] for stretch in one.stretches], FAKES) and len(one.track) == 150
    assert found.notes[-1].startswith("a fake stretch begins at a score of at most 0.5")
    with pytest.raises(InputError, match="the hop must be a positive number"):
        predict(detector, files, Along(hop=0.0))  # before anything is scored


@pytest.mark.parametrize("seconds, lasts", [(125, "2 min 5 s"), (3725, "1 h 2 min 5 s")])
def test_a_note_says_how_long_a_recording_lasts(files, tmp_path, capsys, monkeypatch, seconds, lasts):
    detector = Detector.from_pretrained(tmp_path / "model.pth", "cpu")
    long = Along(window=1.0, hop=1.0)
    monkeypatch.setattr(prediction, "count_samples", lambda _: seconds * 16000)
    prediction._Recording(detector, None, None).along(files[0], long, asked=False)
    assert f"a.wav lasts {lasts}: its score is the mean over windows of 1 s" in capsys.readouterr().err
