"""Embedding as an action: what the command line does, from Python."""

import json

import numpy as np
import pytest

from nes2net import InputError
from nes2net.actions.embedding import embed_recordings, frontend_alone, trials_of_files
from nes2net.corpora import asvspoof2019_la


def test_the_part_that_was_trained_on_is_taken_and_said(spectral_detector, corpus, tmp_path, capsys):
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")[:4]
    spectral_detector.record["recipe"] = {"data": {"num_samples": 9000}}
    result = embed_recordings(spectral_detector, trials, tmp_path / "e.npy", of="backend", num_workers=0)
    assert (result.done, np.load(tmp_path / "e.npy").shape) == (4, (4, result.size))
    record = json.loads((tmp_path / "e.npy.json").read_text())
    assert record["run"]["num_samples"] == 9000 and record["run"]["embedding"] == "backend"
    assert "9,000" in capsys.readouterr().err
    with pytest.raises(InputError, match="leave it out with `of` backend"):
        embed_recordings(spectral_detector, trials, tmp_path / "f.npy", of="backend", layer=1)


def test_files_by_a_front_end_alone(corpus, tmp_path):
    folder = next(corpus.glob("ASVspoof2019_LA_dev/flac"))
    trials = trials_of_files([folder, next(folder.glob("*.flac"))])  # one of them twice
    detector = frontend_alone({"name": "lps", "n_fft": 128, "num_bins": 20}, device="cpu")
    assert detector.fingerprint() == frontend_alone(detector.frontend.config, device="cpu").fingerprint()
    result = embed_recordings(detector, trials, tmp_path / "e.npy", num_samples=8000, num_workers=0)
    assert (result.done, result.size) == (12, 20) and np.load(tmp_path / "e.npy").std() > 0
    with pytest.raises(InputError, match="would have random weights"):
        frontend_alone("wav2vec2_small", device="cpu")
