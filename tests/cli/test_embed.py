"""`nes2net embed`: of a corpus, of files, by a detector or a front-end alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import genuine_checkpoint

from nes2net import create_frontend
from nes2net.audio.read import load_audio
from nes2net.cli.main import main
from nes2net.corpora import asvspoof2019_la


@pytest.fixture
def model(spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "detector.pth")
    return tmp_path / "detector.pth"


def run(*words):
    return main(["embed", *map(str, words), "--device", "cpu", "--workers", "0"])


def test_a_corpus(model, spectral_detector, corpus, tmp_path, capsys):
    out = tmp_path / "dev.npy"
    arguments = ("asvspoof2019_la", corpus, "--split", "dev", "--model", model, "--of", "backend", "--out", out)
    assert run(*arguments) == 0
    assert f"12 of 12 embeddings of 256 numbers written to {out}" in capsys.readouterr().out
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    with open(f"{out}.csv", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [trial.label for trial in trials]
    waveform = torch.from_numpy(load_audio(trials[3].path))[None]
    with torch.inference_mode():
        expected = spectral_detector.embeddings(waveform, "backend")[0]
    np.testing.assert_allclose(np.load(out)[3], expected, atol=1e-5)
    record = json.loads((tmp_path / "dev.npy.json").read_text())
    np.testing.assert_allclose(spectral_detector.embed(trials[3].path, of="backend"), expected, atol=1e-5)
    assert record["corpus"] == {"name": "asvspoof2019_la", "root": str(corpus), "split": "dev"}
    assert record["checkpoint"]["path"] == str(model)
    assert run(*arguments) == 0
    assert "is complete already" in capsys.readouterr().out


def test_files_by_a_front_end_alone(corpus, tmp_path, capsys):
    folder = next(corpus.glob("ASVspoof2019_LA_dev/flac"))
    (tmp_path / "a b, bad.wav").write_bytes(b"RIFF")
    out = tmp_path / "files.npy"
    files = (folder, next(folder.glob("*.flac")), tmp_path / "a b, bad.wav")  # one of them twice
    arguments = ("--files", *files, "--frontend", "{name: lps, n_fft: 128, num_bins: 20}")
    assert run(*arguments, "--samples", 8000, "--out", out) == 1
    printed = capsys.readouterr()
    assert "12 of 13 embeddings of 20 numbers" in printed.out
    assert "1 file was left out" in printed.err and "a b, bad.wav" in printed.err
    assert np.load(out).shape == (12, 20) and np.load(out).std() > 0
    before = out.read_bytes()
    assert run(*arguments, "--samples", 8000, "--out", out) == 1  # the same front-end has the same fingerprint
    record = json.loads(Path(f"{out}.json").read_text())
    assert record["kept_from_earlier_runs"] == 12 and out.read_bytes() == before


def test_a_pre_training_file(corpus, small_model, tmp_path):
    options = {k: v for k, v in small_model["frontend"].items() if k != "name"}
    torch.manual_seed(0)
    frontend = create_frontend("wav2vec2_small", **options, pretraining_heads=True)
    genuine_checkpoint.write(frontend, tmp_path / "ssl.pt")
    words = (
        "asvspoof2019_la",
        corpus,
        *"--split dev --frontend wav2vec2 --ssl-checkpoint".split(),
        tmp_path / "ssl.pt",
    )
    assert run(*words, "--layer", 1, "--out", tmp_path / "e.npy") == 0
    waveform = torch.from_numpy(load_audio(asvspoof2019_la.CORPUS.trials(corpus, "dev")[0].path))[None]
    with torch.inference_mode():
        expected = frontend.eval()(waveform, layers="all")[1].mean(1)[0]
    np.testing.assert_allclose(np.load(tmp_path / "e.npy")[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--frontend lps", "name a corpus and its folder, or audio files with --files"),
        ("in_the_wild --frontend lps", "where is in_the_wild?"),
        ("--files x.wav", "name a trained detector with --model, or a front-end with --frontend"),
        ("--files x.wav --frontend lps --of backend", "a front-end alone has no backend"),
        ("--files x.wav --frontend lps --layer first", "--layer is last, all or a number from 0, not first"),
        ("--files x.wav --frontend wav2vec2_small", "would have random weights"),
        ("--files x.wav --frontend lps --samples 0", "--samples is at least 1"),
        ("--files x.wav --frontend lsp", "did you mean 'lps'?"),
    ],
)
def test_what_is_missing_or_wrong_is_named(words, message, tmp_path, refused):
    refused(f"embed {words} --out {tmp_path}/e.npy --device cpu --workers 0", message)
    assert not list(tmp_path.iterdir())
