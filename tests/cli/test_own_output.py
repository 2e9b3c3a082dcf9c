"""Every command that writes scores of recordings writes a file that `evaluate` and `calibrate` read."""

import numpy as np
import pytest
import soundfile
from builders.files import write

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


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("writer", WRITERS)
def test_score_files_of_score_and_calibrate_are_read_by_evaluate_and_calibrate(command, output, writer, reader):
    command(WRITERS[writer])  # with status 1, because a recording is damaged
    out, err = output(READERS[reader])
    assert f"{NUM_RECORDINGS // 2} bona fide" in out + err


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("flag", ["--json", "--csv"])
def test_rows_that_predict_prints_are_read_by_evaluate_and_calibrate(folder, output, flag, reader):
    printed = output(f"predict wav {flag} --samples 8000 {COMMON}", status=1).out
    (folder / "scores.txt").write_text(printed)
    out, err = output(READERS[reader])
    assert f"{NUM_RECORDINGS // 2} bona fide" in out + err
