"""The record beside a score file: which facts identify a run, and plain data."""

import datetime
import os

import pytest
import torch

from nes2net import Detector, InputError
from nes2net.corpora.trial import Trial
from nes2net.scoring.record import plain, read_record, run_identity


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return Detector.from_config(
        {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 20}, "backend": "asp_mlp"}
    ).eval()


def test_facts_that_identify_a_run(detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def identity(*trials):
        return run_identity(detector, trials, 8000, False, False)["trials"]

    names = [("a", "x/1.wav"), ("b", "x/2.wav")]
    one = identity(*(Trial(name, tmp_path / path) for name, path in names))
    os.symlink(tmp_path / "x", tmp_path / "link")
    assert identity(*(Trial(name, path) for name, path in names)) == one
    assert identity(Trial("a", "link/1.wav"), Trial("b", tmp_path / "link" / "2.wav")) == one
    others = [
        identity(Trial("a", "y/1.wav"), Trial("b", "y/2.wav")),
        identity(Trial("b", "x/2.wav"), Trial("a", "x/1.wav")),
        identity(Trial("a", "x/1.wav")),
        identity(Trial("a", None), Trial("b", None)),
        identity(Trial("a", "x\0/1.wav"), Trial("b", "x/2.wav")),
    ]
    assert len({one, *others}) == 6
    cpu = run_identity(detector, [Trial("a")], 8000, False, False)
    assert cpu["device"] == "cpu" and run_identity(detector, [Trial("a")], 8000, False, True) != cpu


def test_plain_data(tmp_path):
    about = {"recipe": {"made": datetime.date(2025, 1, 31), "mean": torch.zeros(1)}, 1: (2, None)}
    assert plain(about) == {"recipe": {"made": "2025-01-31", "mean": "tensor([0.])"}, "1": [2, None]}
    assert plain({"loss": [float("nan"), float("-inf"), 0.5]}) == {"loss": [None, None, 0.5]}  # JSON has neither
    around = {}
    around["self"] = around
    with pytest.raises(InputError, match="cannot be written as JSON"):
        plain(around)
    for text in ("[1]", "no JSON", "", "[" * 100_000, "\xff", '{"a": ' + "1" * 5000 + "}"):
        (tmp_path / "s.json").write_text(text, encoding="latin1")
        assert read_record(tmp_path / "s.json") == {}
