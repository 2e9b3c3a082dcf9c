"""Calibration from Python: what the commands write and print, as values."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.actions.calibration import apply_calibration, calibrate
from nes2net.cli.main import main
from nes2net.evaluation.key import Labels


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """A protocol of 60 trials of either class, and their scores."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names, labels = [f"u{n}" for n in range(120)], ["bonafide"] * 60 + ["spoof"] * 60
    lines = [f"{name}.wav,{label},dev" for name, label in zip(names, labels)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    scores = rng.normal(np.repeat([1.0, -1.0], 60))
    (tmp_path / "dev.txt").write_text("".join(f"u{n} {score}\n" for n, score in enumerate(scores)))
    return Labels("generic", tmp_path / "list.csv", "dev")


def test_calibration_is_that_of_the_command(labelled, tmp_path):
    done = calibrate(labelled, ["dev.txt"])
    assert (done.num_bonafide, done.num_spoof, done.unit, done.warning) == (60, 60, "trials", "")
    applied = apply_calibration(done.calibration, ["dev.txt"], "ours.txt", labels=labelled, learned_from=labelled)
    assert applied.rows == done.rows and "120 of the trials to evaluate were trained on" in applied.notes[0]
    command = ["calibrate", "fit", "generic", "dev.txt", "--keys", str(labelled.keys), "--save", "saved.json"]
    assert main(command) == 0
    assert main(["calibrate", "apply", "saved.json", "dev.txt", "--out", "theirs.txt"]) == 0
    assert (tmp_path / "ours.txt").read_bytes() == (tmp_path / "theirs.txt").read_bytes()


def test_a_fusion_takes_as_many_files(labelled):
    fused = calibrate(labelled, ["dev.txt"]).calibration
    with pytest.raises(InputError, match="needs scores of 1 system"):
        apply_calibration(fused, ["dev.txt", "dev.txt"], "out.txt")
