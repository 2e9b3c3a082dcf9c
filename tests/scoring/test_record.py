"""The record beside a score file: which facts identify a run, and plain data."""

import datetime
import json

import pytest
import torch
from builders import input_error
from builders.files import write, write_json

from nes2net.data.corpora.trial import Trial
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.record import plain, read_record, read_whole_record, recordings_digest, score_dependencies


@pytest.fixture
def trials_digest(tmp_path, monkeypatch):
    """A function that returns the digest of trials in a run's identity; the working folder is that of the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "x")

    def digest(*trials):
        return recordings_digest([Trial(*trial) for trial in trials])

    return digest


def test_trials_have_the_same_digest_by_other_paths_of_the_same_folder(trials_digest, tmp_path):
    expected = trials_digest(("a", tmp_path / "x/1.wav"), ("b", tmp_path / "x/2.wav"))
    assert trials_digest(("a", "x/1.wav"), ("b", "x/2.wav")) == expected
    assert trials_digest(("a", "link/1.wav"), ("b", tmp_path / "link" / "2.wav")) == expected


def test_another_list_of_trials_or_files_has_another_digest(trials_digest):
    digests = {
        trials_digest(("a", "x/1.wav"), ("b", "x/2.wav")),
        trials_digest(("a", "y/1.wav"), ("b", "y/2.wav")),
        trials_digest(("b", "x/2.wav"), ("a", "x/1.wav")),
        trials_digest(("a", "x/1.wav")),
        trials_digest(("a", None), ("b", None)),
        trials_digest(("a", "x\0/1.wav"), ("b", "x/2.wav")),
    }
    assert len(digests) == 6


def test_the_identity_of_a_run_holds_its_device(spectral_detector):
    assert score_dependencies(spectral_detector, 8000)["device"] == "cpu"


def test_a_run_with_a_compiled_detector_has_another_identity():
    plain, compiled = (ScoringSettings(compile=flag).identity() for flag in (False, True))
    assert plain != compiled


def test_the_facts_of_a_record_become_plain_json():
    """Dates and tensors as text, NaN and infinity as null."""
    facts = {"recipe": {"made": datetime.date(2025, 1, 31), "mean": torch.zeros(1)}, 1: (2, None)}
    assert plain(facts) == {"recipe": {"made": "2025-01-31", "mean": "tensor([0.])"}, "1": [2, None]}
    assert plain({"loss": [float("nan"), float("-inf"), 0.5]}) == {"loss": [None, None, 0.5]}


RECORD = {"run": {"model": "m", "num_samples": None, "compiled": False}, "failures": {"a": "not found"}}
RECORD |= {"sha256": "0", "audio_sha256": "1"}


def read(path, max_bytes):
    return read_record(path, max_bytes, "scores", "pass `overwrite=True`, or name another file")


def test_run_failures_and_digests_of_a_record_are_read_from_its_file(tmp_path):
    record = read(write(tmp_path / "s.json", json.dumps({**RECORD, "further": [1.5, {"x": None}]})), 1)
    assert record.run == RECORD["run"]
    assert record.failures == {"a": "not found"}
    assert record.sha256 == "0"
    assert record.audio_sha256 == "1"


def test_a_file_that_is_no_record_is_refused_with_a_short_printable_message(tmp_path):
    wrong = [{"run": {}}, {"x" * 10**6: 1}, {**RECORD, "sha256": 5}]
    for text in ("no JSON", "[1]", '{"run": {"' + "\x1b" * 10 + '": 1}}', *map(json.dumps, wrong)):
        with input_error(r"s\.json: not a record of scores.*pass `overwrite=True`") as error:
            read(write(tmp_path / "s.json", text), 1)
        assert str(error.value).isprintable()
        assert len(str(error.value)) <= 1000


def test_the_total_and_the_seconds_of_a_record_are_read_from_its_file(tmp_path):
    numbers = {"total": 3, "kept_from_earlier_runs": 0, "seconds": 1.5}
    write_json(tmp_path / "s.txt.json", {"run": {"model": "m"}, "failures": {}, **numbers})
    record = read_whole_record(tmp_path / "s.txt.json")
    assert record.total == 3
    assert record.seconds == 1.5
