"""The record beside a score file: which facts identify a run, and plain data."""

import datetime
import json
import os

import pytest
import torch

from nes2net import InputError
from nes2net.corpora.trial import Trial
from nes2net.scoring.record import plain, read_record, run_identity


def test_facts_that_identify_a_run(spectral_detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def identity(*trials):
        return run_identity(spectral_detector, trials, 8000, False, False)["trials"]

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
    cpu = run_identity(spectral_detector, [Trial("a")], 8000, False, False)
    assert cpu["device"] == "cpu" and run_identity(spectral_detector, [Trial("a")], 8000, False, True) != cpu


def test_plain_data(tmp_path):
    about = {"recipe": {"made": datetime.date(2025, 1, 31), "mean": torch.zeros(1)}, 1: (2, None)}
    assert plain(about) == {"recipe": {"made": "2025-01-31", "mean": "tensor([0.])"}, "1": [2, None]}
    assert plain({"loss": [float("nan"), float("-inf"), 0.5]}) == {"loss": [None, None, 0.5]}  # JSON has neither
    around = {}
    around["self"] = around
    with pytest.raises(InputError, match="cannot be written as JSON"):
        plain(around)


RECORD = {
    "run": {"model": "m", "num_samples": None, "compiled": False},
    "failures": {"a": "not found"},
    "sha256": "0",
    "audio_sha256": "1",
}
REMEDY = "pass `overwrite=True`, or name another file"


def read(path, most):
    return read_record(path, most, "scores", REMEDY)


def test_a_record_is_read(tmp_path):
    path = tmp_path / "s.json"
    assert read(path, 1) is None
    path.write_text(json.dumps({**RECORD, "further": [1.5, {"x": None}]}))
    record = read(path, 1)
    assert record.run == RECORD["run"] and record.failures == {"a": "not found"}
    assert (record.sha256, record.audio_sha256) == ("0", "1")


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[1]",
        json.dumps({"failures": {}}),
        json.dumps({"run": {}}),
        json.dumps({**RECORD, "run": [1]}),
        json.dumps({**RECORD, "run": {"model": {"a": 1}}}),
        json.dumps({**RECORD, "failures": {"a": 1}}),
        json.dumps({**RECORD, "sha256": 5}),
        json.dumps({**RECORD, "audio_sha256": {}}),
        '{"run": {"' + "\x1b" * 10 + '": 1}}',
        json.dumps({"x" * 10**6: 1}),
    ],
    ids=range(11),
)
def test_a_record_that_is_none(text, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"s\.json: not a record of scores.*pass `overwrite=True`") as error:
        read(path, 1)
    assert str(error.value).isprintable() and len(str(error.value)) <= 1000


def test_a_record_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "s.json"
    with open(path, "wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(InputError, match="is longer than .*name another file"):
        read(path, 100_000)
