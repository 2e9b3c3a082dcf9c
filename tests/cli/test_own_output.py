"""Every command that writes scores of recordings writes a file that `evaluate` and `calibrate` read."""

import numpy as np
import pytest
import soundfile
from builders.files import write

COMMON = "--model a.pth --device cpu"
#: Name → (command, whether its standard output is the file).
WRITERS = {
    "score": (f"score generic list.csv --split all --workers 0 --samples 8000 {COMMON} --out scores.txt", False),
    "predict as JSON": (f"predict wav --json --samples 8000 {COMMON}", True),
    "predict as CSV": (f"predict wav --csv --samples 8000 {COMMON}", True),
    "calibrate": ("calibrate apply c.json first.txt --out scores.txt", False),
}
READERS = {
    "evaluate": "evaluate generic scores.txt --keys list.csv --phase all --allow-partial --resamples 5",
    "calibrate": "calibrate fit generic scores.txt --keys list.csv --phase all --allow-partial --allow-inverted --save fitted.json",
}
NUM_RECORDINGS = 8


@pytest.fixture
def folder(tmp_path, monkeypatch, spectral_detector):
    """A detector, eight readable recordings and a damaged one, a key, and the scores of a first system."""
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
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_written_score_file_is_read_by_evaluate_and_calibrate(folder, command, output, writer, reader):
    if writer == "calibrate":
        fit = "calibrate fit generic first.txt --keys list.csv --phase all --allow-partial --save c.json"
        output(fit)
    words, is_printed = WRITERS[writer]
    _, out, err = command(words)  # a damaged recording makes the status 1
    if is_printed:
        (folder / "scores.txt").write_text(out)
    assert (folder / "scores.txt").is_file(), err
    out, err = output(READERS[reader])
    assert f"{NUM_RECORDINGS // 2} bona fide" in out + err
