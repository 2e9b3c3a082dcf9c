"""Every digest beside a result is of the bytes that were judged: a file that changes meanwhile is refused."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest
import soundfile
import torch
from builders import input_error
from builders.files import read_json, write
from builders.two_calibrations import write_detector_and_calibrations
from builders.voices import voice

from nes2net.actions import calibration as calibration_actions
from nes2net.actions import scoring
from nes2net.actions.calibration import calibrate
from nes2net.actions.evaluation import evaluate
from nes2net.actions.flags import Loading
from nes2net.cli.main import main
from nes2net.evaluation import matching
from nes2net.evaluation.key import Labels
from nes2net.lib.storage.files import Unchanged
from nes2net.lib.storage.text_files import read_text, reading_once
from nes2net.models.checkpoints.state_dict import save_state_dict
from nes2net.training import averaging
from nes2net.training.averaging import average, average_files

CHANGED = "was replaced or changed while it was read"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def replace_content(path):
    """Put another file under the name ``path``, with the same size and time."""
    status = path.stat()
    new_file = path.with_name("new")
    new_file.write_bytes(path.read_bytes()[::-1])
    os.utime(new_file, ns=(status.st_atime_ns, status.st_mtime_ns))
    new_file.replace(path)


def rewrite_in_place(path):
    """Write into the file ``path``, and give it its old time."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.write(b"9")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def before(monkeypatch, module, name, path):
    """Replace the file ``path`` whenever the function ``name`` of ``module`` is called, and then call it."""
    function = getattr(module, name)

    def replace_and_call(*args, **options):
        path.write_bytes(path.read_bytes() + b"\n")
        return function(*args, **options)

    monkeypatch.setattr(module, name, replace_and_call)


@pytest.mark.parametrize("change", [replace_content, rewrite_in_place, Path.unlink])
def test_a_file_that_changes_or_disappears_while_it_is_watched_is_refused(tmp_path, change):
    path = write(tmp_path / "a.txt", "a 0.5\n")
    files = Unchanged(path)
    assert files.digests() == {path: sha256(path)}
    change(path)
    with input_error(f"a.txt: {CHANGED}"):
        files.digests()


def test_a_text_that_is_read_twice_in_a_context_is_the_one_whose_digest_is_recorded(tmp_path):
    path = write(tmp_path / "a.txt", "a 0.5\n")
    with reading_once():
        text = read_text(path)
        first_digest = sha256(path)
        rewrite_in_place(path)
        with reading_once() as texts:
            assert (read_text(path), texts.digests) == (text, {path: first_digest})
    assert read_text(path) != text


def test_the_digest_of_a_packed_text_is_that_of_its_file(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a 0.5\n"))
    with reading_once() as texts:
        assert read_text(path) == "a 0.5\n"
    assert texts.digests == {path: sha256(path)}


@pytest.fixture
def folder(tmp_path):
    """A key of 40 trials, and their scores."""
    key = ["path,label,attack"]
    scores = []
    for number in range(20):
        key.append(f"b{number}.wav,bonafide,")
        key.append(f"s{number}.wav,spoof,A0{number % 2}")
        scores.append(f"b{number} {number}")
        scores.append(f"s{number} {number - 5}")
    write(tmp_path / "key.csv", key)
    write(tmp_path / "scores.txt", scores)
    return tmp_path


def labels_of(folder):
    return Labels("generic", folder / "key.csv", "all")


def test_an_evaluation_records_the_digest_of_the_scores_that_it_read_not_of_a_later_file(folder, monkeypatch):
    """The file is replaced after it was read."""
    scores = folder / "scores.txt"
    judged = sha256(scores)
    before(monkeypatch, matching, "match", scores)
    result = evaluate("generic", scores, folder / "key.csv", num_resamples=5)
    assert result.header["inputs"][0]["sha256"] == judged
    assert sha256(scores) != judged


def test_a_calibration_records_the_digest_of_the_scores_that_it_read_not_of_a_later_file(folder, monkeypatch):
    scores = folder / "scores.txt"
    used_scores = sha256(scores)
    before(monkeypatch, matching, "match", scores)
    learned = calibrate(labels_of(folder), [scores]).calibration
    assert learned.trained_on["scores_sha256"] == used_scores
    assert sha256(scores) != used_scores


def test_scores_that_change_while_a_calibration_is_applied_are_refused(folder, monkeypatch):
    scores = folder / "scores.txt"
    learned = calibrate(labels_of(folder), [scores]).calibration
    before(monkeypatch, calibration_actions, "unlabelled_scores", scores)
    with input_error(CHANGED):
        calibration_actions.apply_calibration(learned, [scores], folder / "out.txt")
    assert not (folder / "out.txt").exists()


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """A recording in the current folder, beside a small detector and a calibration."""
    monkeypatch.chdir(tmp_path)
    talk = 0.5 * voice(seconds=3)
    soundfile.write(tmp_path / "talk.wav", talk, 16000)
    write_detector_and_calibrations(tmp_path, talk, 1.0, 0.5)
    return tmp_path / "talk.wav"


REPORT = "report talk.wav --model small.pth --calibration bonafide.json --device cpu --html r.html"


def test_a_recording_that_changes_while_a_report_on_it_is_made_is_refused(recording, monkeypatch, capsys):
    before(monkeypatch, Loading, "load", recording)
    assert main(REPORT.split()) == 2
    assert f"talk.wav: {CHANGED}" in capsys.readouterr().err
    assert not Path("r.html").exists()


def test_a_report_has_the_digest_of_the_calibration_that_was_loaded_not_of_a_later_file(recording, monkeypatch):
    used_calibration = sha256(Path("bonafide.json"))
    before(monkeypatch, Loading, "load", recording.with_name("bonafide.json"))
    assert main(REPORT.split()) == 0
    assert used_calibration in Path("r.html").read_text()


def test_the_record_of_decisions_has_the_digest_of_the_loaded_calibration_not_of_a_later_file(recording, monkeypatch):
    write(Path("list.csv"), "path,label\ntalk.wav,real\n")
    used_calibration = sha256(Path("bonafide.json"))
    before(monkeypatch, scoring, "judge_trials", recording.with_name("bonafide.json"))
    words = "score generic list.csv --split all --model small.pth --calibration bonafide.json --device cpu --out s.txt"
    assert main(words.split()) == 0
    assert read_json(Path("s.txt.decisions.json"))["calibration_sha256"] == used_calibration


@pytest.mark.parametrize("number", [1, 2])
def test_checkpoints_that_change_while_they_are_averaged_are_refused(tmp_path, monkeypatch, number):
    for epoch in (1, 2):
        save_state_dict({"w": torch.tensor([float(epoch)])}, tmp_path / f"epoch_{epoch}.pth", epoch=epoch)
    before(monkeypatch, averaging, "average_checkpoints", tmp_path / f"epoch_{number}.pth")
    with input_error(CHANGED):
        average(tmp_path, [1, 2])
    with input_error(CHANGED):
        average_files([tmp_path / "epoch_1.pth", tmp_path / "epoch_2.pth"], tmp_path / "average.pth")
    assert not list(tmp_path.glob("[aA]verage*"))
