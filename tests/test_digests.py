"""Every digest beside a result is of the bytes that were judged: a file that changes meanwhile is refused."""

import hashlib
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from builders.files import read_json, write, write_record
from builders.small_parts import SPECTRUM
from builders.two_calibrations import write_detector_and_calibrations
from builders.voices import voice

from nes2net import Detector
from nes2net.actions import calibration as calibration_actions
from nes2net.actions import scoring
from nes2net.actions.calibration import calibrate
from nes2net.actions.evaluation import evaluate
from nes2net.actions.flags import Loading
from nes2net.apps.info import files as info_files
from nes2net.apps.robustness import robustness
from nes2net.cli.main import main
from nes2net.evaluation import matching, segments, verification
from nes2net.evaluation.key import Labels
from nes2net.evaluation.transfer import ThresholdSource
from nes2net.lib.files import Unchanged
from nes2net.lib.text_files import read_text, record_digests
from nes2net.metrics.localisation import Segment, write_rttm
from nes2net.models.checkpoints.state_dict import save_state_dict
from nes2net.scoring.decisions import calibration as decisions
from nes2net.scoring.segment_file import lines
from nes2net.training import averaging
from nes2net.training.averaging import average_files, average_run

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
def test_a_file_that_changes_while_it_is_watched_is_refused(tmp_path, change):
    path = write(tmp_path / "a.txt", "a 0.5\n")
    files = Unchanged(path)
    assert files.digests() == {path: sha256(path)}
    change(path)
    with input_error(f"a.txt: {CHANGED}"):
        files.digests()


def test_a_path_that_is_no_file_has_an_empty_digest(tmp_path):
    missing = tmp_path / "missing"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert Unchanged(missing, pipe, tmp_path).digests() == {missing: "", pipe: "", tmp_path: ""}


def test_a_text_that_changes_between_two_reads_is_refused(tmp_path):
    path = write(tmp_path / "a.txt", "a 0.5\n")
    with record_digests() as digests:
        read_text(path)
        read_text(path)
        assert digests == {path: sha256(path)}
        rewrite_in_place(path)
        with input_error(CHANGED):
            read_text(path)
    assert read_text(path) == "9 0.5\n"


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


def test_the_digest_of_an_evaluation_is_of_the_scores_that_were_read(folder, monkeypatch):
    """The file changes later."""
    scores = folder / "scores.txt"
    judged = sha256(scores)
    before(monkeypatch, matching, "match", scores)
    result = evaluate(labels_of(folder), [scores], num_resamples=5)
    assert result.header["inputs"][0]["sha256"] == judged
    assert sha256(scores) != judged


def test_the_digest_of_a_calibration_is_of_the_scores_that_were_read(folder, monkeypatch):
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
def saved(folder):
    """A calibration of the scores."""
    calibrate(labels_of(folder), [folder / "scores.txt"]).calibration.save(folder / "c.json")
    return folder / "c.json"


def test_the_digest_of_a_threshold_is_of_the_calibration_that_was_loaded(folder, saved, monkeypatch):
    loaded = sha256(saved)
    assert decisions.load(saved).sha256 == loaded
    source = ThresholdSource(calibrations=[saved])
    settings = {"threshold_source": source, "num_resamples": 5}
    before(monkeypatch, matching, "match", saved)
    inputs = evaluate(labels_of(folder), [folder / "scores.txt"], **settings).header["inputs"]
    (file,) = [entry for entry in inputs if entry["kind"] == "calibration"]
    assert file["sha256"] == loaded


def test_a_calibration_that_changes_while_it_is_loaded_is_refused(saved, monkeypatch):
    before(monkeypatch, decisions, "read_json_as", saved)
    with input_error(CHANGED):
        decisions.load(saved)


def test_info_refuses_scores_that_change_while_it_reads_them(folder, monkeypatch):
    scores = folder / "scores.txt"
    assert info_files.file_sheet(scores).facts["SHA-256"] == sha256(scores)
    before(monkeypatch, info_files, "scores_of", scores)
    with input_error(CHANGED):
        info_files.file_sheet(scores)


def test_embeddings_that_change_while_they_are_compared_are_refused(folder, monkeypatch):
    for name, letter in (("enrolled.npy", "t"), ("trials.npy", "s")):
        np.save(folder / name, np.eye(20, dtype=np.float32))
        ids = [f"{letter}{number}" for number in range(20)]
        write(folder / f"{name}.csv", ["id", *ids])
        write_record(folder / name, judgement={"name": "embeddings"})
    corpus = write(folder / "corpus.csv", (folder / "key.csv").read_text().replace("\ns", "\nt"))
    write_record(folder / "enrolled.npy", corpus={"name": "generic", "root": str(corpus), "split": "all"})
    settings = {"reference": (folder / "enrolled.npy",), "num_resamples": 5}
    compare = partial(evaluate, labels_of(folder), [folder / "trials.npy"], **settings)
    inputs = compare().header["inputs"]
    assert inputs[0]["sha256"] == sha256(folder / "trials.npy")
    assert inputs[1]["sha256"] == sha256(folder / "enrolled.npy")
    before(monkeypatch, verification, "verification_scores", folder / "enrolled.npy")
    with input_error(CHANGED):
        compare()


def test_the_digest_of_robustness_is_of_the_scores_that_were_read(folder, monkeypatch):
    trials = labels_of(folder).read().trials
    noise = write(folder / "noise.txt", (folder / "scores.txt").read_text())
    paths = {robustness.CLEAN: folder / "scores.txt", "noise": noise}
    judged = sha256(noise)
    before(monkeypatch, robustness, "find_threshold", noise)
    result = robustness.evaluate_robustness("generic", "all", trials, paths, num_resamples=5)
    (entry,) = [file for file in result.header["inputs"] if file["path"] == "noise.txt"]
    assert entry["sha256"] == judged
    assert sha256(noise) != judged


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """A recording in the current folder, beside a small detector and a calibration."""
    monkeypatch.chdir(tmp_path)
    talk = 0.5 * voice(seconds=3)
    soundfile.write(tmp_path / "talk.wav", talk, 16000)
    write_detector_and_calibrations(tmp_path, talk, 1.0, 0.5)
    return tmp_path / "talk.wav"


REPORT = "report talk.wav --model small.pth --calibration bonafide.json --device cpu --html r.html"


def test_a_recording_that_changes_while_it_is_reported_is_refused(recording, monkeypatch, capsys):
    before(monkeypatch, Loading, "load", recording)
    assert main(REPORT.split()) == 2
    assert f"talk.wav: {CHANGED}" in capsys.readouterr().err
    assert not Path("r.html").exists()


def test_the_digest_of_a_report_is_of_the_calibration_that_was_loaded(recording, monkeypatch):
    used_calibration = sha256(Path("bonafide.json"))
    before(monkeypatch, Loading, "load", recording.with_name("bonafide.json"))
    assert main(REPORT.split()) == 0
    page = Path("r.html").read_text()
    assert used_calibration in page
    assert sha256(recording) in page


def test_the_digest_of_decisions_is_of_the_calibration_that_was_loaded(recording, monkeypatch):
    write(Path("list.csv"), "path,label\ntalk.wav,real\n")
    used_calibration = sha256(Path("bonafide.json"))
    before(monkeypatch, scoring, "judge_trials", recording.with_name("bonafide.json"))
    words = "score generic list.csv --split all --model small.pth --calibration bonafide.json --device cpu --out s.txt"
    assert main(words.split()) == 0
    record = read_json(Path("s.txt.decisions.json"))
    assert record["calibration_sha256"] == used_calibration
    assert record["scores_sha256"] == sha256(Path("s.txt"))


def test_scores_of_frames_that_change_while_they_are_evaluated_are_refused(tmp_path, monkeypatch):
    key = write(tmp_path / "list.csv", "path,label\na.wav,spoof\nb.wav,bonafide\n")
    write_rttm(tmp_path / "list.rttm", {"a": [Segment("spoof", 0.0, 0.1)], "b": [Segment("bonafide", 0.0, 0.1)]})
    write(tmp_path / "reco2dur", "a 0.1\nb 0.1\n")
    frames = write(tmp_path / "frames.txt", lines("a", np.zeros(5)) + lines("b", np.ones(5)))
    evaluate_frames = partial(evaluate, Labels("generic", key, "all"), [frames], resolution_ms=20, num_resamples=5)
    assert evaluate_frames().header["inputs"][0]["sha256"] == sha256(frames)
    before(monkeypatch, segments, "read_origin", frames)
    assert evaluate_frames().header["inputs"]
    before(monkeypatch, segments, "labelled_frames", frames)
    with input_error(CHANGED):
        evaluate_frames()


def test_an_onnx_file_that_changed_after_it_was_opened_has_no_fingerprint(tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra 'onnx' is not installed")
    from nes2net.apps.export.formats import export
    from nes2net.models.onnx_detector import OnnxDetector

    detector = Detector.from_config({"frontend": SPECTRUM, "backend": "mean_linear"}).eval()
    file = export(detector, "onnx", tmp_path / "d.onnx")
    opened = OnnxDetector(file, "cpu")
    assert opened.fingerprint() == sha256(file)
    rewrite_in_place(file)
    with input_error(CHANGED):
        opened.fingerprint()


@pytest.mark.parametrize("number", [1, 2])
def test_checkpoints_that_change_while_they_are_averaged_are_refused(tmp_path, monkeypatch, number):
    for epoch in (1, 2):
        save_state_dict({"w": torch.tensor([float(epoch)])}, tmp_path / f"epoch_{epoch}.pth", epoch=epoch)
    before(monkeypatch, averaging, "average_checkpoints", tmp_path / f"epoch_{number}.pth")
    with input_error(CHANGED):
        average_run(tmp_path, [1, 2])
    with input_error(CHANGED):
        average_files([tmp_path / "epoch_1.pth", tmp_path / "epoch_2.pth"], tmp_path / "average.pth")
    assert not list(tmp_path.glob("[aA]verage*"))
