"""Embedding as an action: what the command line does, from Python."""

import json

import numpy as np
import pytest

from nes2net import InputError
from nes2net.actions.embedding import embed_recordings
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
