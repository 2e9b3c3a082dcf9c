"""`nes2net embed`: of a corpus, of files, by a detector or a front-end alone."""

import numpy as np
import pytest
import torch
from builders import genuine_checkpoint
from builders.files import read_json

from nes2net import create_frontend
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora import asvspoof2019_la


@pytest.fixture
def embed(output):
    return lambda *words, status=0: output(["embed", *words, "--device", "cpu", "--workers", "0"], status)


@pytest.fixture
def dev(corpus):
    """The words for the development part, and its trials."""
    return ("asvspoof2019_la", corpus, "--split", "dev"), asvspoof2019_la.CORPUS.trials(corpus, "dev")


def waveform(trial):
    return torch.from_numpy(load_audio(trial.path))[None]


@pytest.fixture
def embedded(spectral_detector, dev, tmp_path, embed):
    """The file of embeddings of the development part, and its trials."""
    words, trials = dev
    model = tmp_path / "detector.pth"
    out = tmp_path / "dev.npy"
    spectral_detector.save(model)
    embed(*words, "--model", model, "--of", "backend", "--out", out)
    return out, trials


def test_embed_writes_the_embeddings_that_the_detector_gives_and_the_part_of_the_corpus(
    spectral_detector, embedded, corpus
):
    out, trials = embedded
    with torch.inference_mode():
        expected = spectral_detector.embeddings(waveform(trials[3]), "backend")[0]
    np.testing.assert_allclose(np.load(out)[3], expected, atol=1e-5)
    record = read_json(out.with_suffix(".npy.json"))
    assert record["corpus"] == {"name": "asvspoof2019_la", "root": str(corpus), "split": "dev"}


FRONTEND = ("--frontend", "{name: lps, n_fft: 128, num_bins: 20}", "--samples", 8000)


def test_a_front_end_without_a_detector_gives_an_embedding_for_each_file_of_a_folder(corpus, tmp_path, embed):
    out = tmp_path / "files.npy"
    embed("--files", corpus / "ASVspoof2019_LA_dev" / "flac", *FRONTEND, "--out", out)
    assert np.load(out).shape == (12, 20)


def test_embed_replaces_the_embeddings_of_another_run_only_with_overwrite(corpus, tmp_path, embed):
    words = ("--files", corpus / "ASVspoof2019_LA_dev" / "flac", *FRONTEND, "--out", tmp_path / "e.npy")
    embed(*words)
    assert "--overwrite" in embed(*words, "--layer", "all", status=2).err
    embed(*words, "--layer", "all", "--overwrite")


def test_a_file_that_cannot_be_embedded_is_named_in_the_error(corpus, tmp_path, embed):
    bad = tmp_path / "a b, bad.wav"
    bad.write_bytes(b"RIFF")
    words = ("--files", corpus / "ASVspoof2019_LA_dev", bad, *FRONTEND, "--out", tmp_path / "bad.npy")
    assert bad.name in embed(*words, status=1).err


def test_embed_reads_a_front_end_from_a_checkpoint_of_pre_training(dev, small_model, tmp_path, embed):
    options = {k: v for k, v in small_model["frontend"].items() if k != "name"}
    torch.manual_seed(0)
    frontend = create_frontend("wav2vec2_small", **options, pretraining_heads=True)
    genuine_checkpoint.write(frontend, tmp_path / "ssl.pt")
    words, trials = dev
    out = tmp_path / "e.npy"
    words += ("--frontend", "wav2vec2", "--ssl-checkpoint", tmp_path / "ssl.pt", "--layer", 1, "--out", out)
    embed(*words)
    with torch.inference_mode():
        expected = frontend.eval()(waveform(trials[0]), layers="all")[1].mean(1)[0]
    np.testing.assert_allclose(np.load(out)[0], expected, atol=1e-5)


def test_embed_requires_recordings_and_a_detector_or_a_trained_front_end(tmp_path, refused):
    for words, message in (
        ("--frontend lps", "name either a corpus and its folder, or audio files with --files"),
        ("--files x.wav", "name either a trained detector with --model, or a front-end with --frontend"),
        ("--files x.wav --frontend wav2vec2_small", "would have random weights"),
    ):
        refused(f"embed {words} --out {tmp_path}/e.npy --device cpu --workers 0", message)
        assert not list(tmp_path.iterdir())
