"""Every command that writes scores of recordings writes a file that `evaluate` and `calibrate` read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders.files import write

from nes2net.actions.calibration import _write_generic_list
from nes2net.data.corpora.generic import CORPUS
from nes2net.data.corpora.pack import pack
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import corpora
from nes2net.metrics.localisation import read_rttm, write_rttm
from nes2net.scoring.judgement import as_judgement
from nes2net.scoring.score_file import read_scores

COMMON = "--model a.pth --device cpu"
WRITERS = {
    "score": f"score generic list.csv --split all --workers 0 --samples 8000 {COMMON} --out scores.txt",
    "calibrate": "calibrate apply c.json first.txt --out scores.txt",
}
READERS = {
    "evaluate": "evaluate generic scores.txt --keys list.csv --phase all --allow-partial --resamples 5",
    "calibrate": "calibrate fit generic scores.txt --keys list.csv --phase all --allow-partial --allow-inverted --save fitted.json",
}
NUM_RECORDINGS = 8


@pytest.fixture
def folder(tmp_path, monkeypatch, spectral_detector, output):
    """A detector, eight readable recordings and a damaged one, a key, the scores of a first system, and its calibration."""
    monkeypatch.chdir(tmp_path)
    spectral_detector.save("a.pth")
    rng = np.random.default_rng(0)
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "damaged.wav").write_text("no audio")
    key = ["path,label", "wav/damaged.wav,spoof"]
    scores = []
    for number in range(NUM_RECORDINGS):
        label = "spoof" if number % 2 else "bonafide"
        soundfile.write(tmp_path / "wav" / f"u{number}.wav", 0.1 * rng.standard_normal(8000), 16000)
        key.append(f"wav/u{number}.wav,{label}")
        scores.append(f"wav/u{number} {rng.standard_normal()}")
    write(tmp_path / "list.csv", key)
    write(tmp_path / "first.txt", scores)
    output("calibrate fit generic first.txt --keys list.csv --phase all --allow-partial --save c.json")
    return tmp_path


@pytest.fixture
def assert_read(output):
    """A function that asserts that each of the readers finds the scores of all readable recordings."""

    def read():
        for words in READERS.values():
            out, err = output(words)
            assert f"{NUM_RECORDINGS // 2} bona fide" in out + err

    return read


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("writer", WRITERS)
def test_score_files_of_score_and_calibrate_are_read_by_evaluate_and_calibrate(command, assert_read, writer):
    command(WRITERS[writer])  # with status 1, because a recording is damaged
    assert_read()


@pytest.mark.parametrize("flag", ["--json", "--csv"])
def test_rows_that_predict_prints_are_read_by_evaluate_and_calibrate(folder, output, assert_read, flag):
    printed = output(f"predict wav {flag} --samples 8000 {COMMON}", status=1).out
    (folder / "scores.txt").write_text(printed)
    assert_read()


# Ids that look like formulas of spreadsheets, JSON, several fields, headers or numbers.
IDS = ["=1+1", "-2", "'x", "[a", '{"a', "a,b;c|d", '"q"', "score", "nan", "é", "#c"]
TRIALS = [Trial(id, label="spoof") for id in IDS]
NUMBERS = np.ones(2, np.float32)
VALUES = {"scores": 0.5, "frames": NUMBERS, "classes": NUMBERS, "embeddings": NUMBERS}
CLASSES = {"name": "classes", "classes": ["A", "B"]}


@pytest.mark.parametrize("judgement", ["scores", "frames", CLASSES])
def test_odd_ids_are_read_back_from_files_of_lines(tmp_path, judgement):
    judgement = as_judgement(judgement)
    value = VALUES[judgement.name]
    path = tmp_path / "lines.txt"
    judgement.write([path], len(IDS), ((trial, value) for trial in TRIALS))
    ids, _ = zip(*judgement.read(path))
    assert list(ids) == IDS


def test_odd_ids_are_read_back_from_an_rttm_file(tmp_path):
    path = tmp_path / "a.rttm"
    write_rttm(path, {id: [("spoof", 0.0, 1.0)] for id in IDS})
    assert list(read_rttm(path)) == IDS


@pytest.fixture
def odd_recordings(tmp_path, monkeypatch):
    """Recordings with odd names in the folders real and fake of the working folder."""
    monkeypatch.chdir(tmp_path)
    for label in ("real", "fake"):
        for number, id in enumerate(IDS):
            soundfile.write(write(tmp_path / label / f"{id}.wav"), np.full(400, 0.01 * number), 16000)
    return CORPUS.trials(tmp_path)


def paths_and_labels(trials):
    return {(trial.path, trial.label) for trial in trials}


def ids_and_labels(trials):
    return {(trial.id, trial.label) for trial in trials}


def test_odd_ids_are_read_back_from_packed_shards(odd_recordings, tmp_path):
    folder = tmp_path / "packed"
    pack({"all": odd_recordings}, folder, title="odd")
    packed = corpora.get("shards").trials(folder, "all")
    assert ids_and_labels(packed) == ids_and_labels(odd_recordings)


def test_odd_paths_are_read_back_from_the_list_of_calibrated_recordings(odd_recordings, tmp_path):
    path = tmp_path / "list.csv"
    _write_generic_list(path, "real", "fake", audio_track=0, speakers=None)
    assert paths_and_labels(CORPUS.trials(path)) == paths_and_labels(odd_recordings)


@pytest.mark.usefixtures("odd_recordings")
@pytest.mark.parametrize("flag", ["--json", "--csv"])
def test_odd_paths_are_read_back_from_the_rows_that_predict_prints(spectral_detector, output, monkeypatch, flag):
    spectral_detector.save("a.pth")
    monkeypatch.chdir("real")
    printed = output(f"predict . {flag} --model ../a.pth --samples 8000 --device cpu").out
    path = write(Path("scores.txt"), printed)
    ids, _ = read_scores(path)
    assert sorted(ids) == sorted(f"{id}.wav" for id in IDS)
