"""The record beside scores does not depend on who asked for them."""

import json

import pytest

from nes2net import Detector, InputError
from nes2net.actions.scoring import score_corpus
from nes2net.cli.main import main
from nes2net.corpora.trial import Part

CORPUS = "asvspoof2019_la"


@pytest.fixture
def model(spectral_detector, tmp_path):
    """A checkpoint whose record says that it was trained on a part of the corpus."""
    recipe = {"name": "own", "data": {"corpora": [{"name": CORPUS, "train_split": "train", "dev_split": "dev"}]}}
    spectral_detector.save(tmp_path / "model.pth", recipe=recipe, published_model="AASIST")
    return tmp_path / "model.pth"


def test_the_record_does_not_depend_on_the_caller(corpus, model, tmp_path, capsys):
    detector, part = Detector.from_pretrained(model, "cpu"), Part(CORPUS, corpus, "dev")
    with pytest.raises(InputError, match="`resolution_ms` scores whole utterances: leave out `num_samples`"):
        score_corpus(detector, part, "a.txt", checkpoint=model, resolution_ms="shortest", num_samples="4sec")
    where = {"checkpoint": model, "num_samples": 8000, "num_workers": 0}
    scores, decisions = score_corpus(detector, part, tmp_path / "a.txt", **where)
    assert decisions is None and scores.done == scores.total == 12
    warned = capsys.readouterr().err
    of_command = f"score {CORPUS} {corpus} --split dev --model {model} --device cpu --samples 8000 --workers 0"
    assert main([*of_command.split(), "--out", str(tmp_path / "b.txt")]) == 0
    assert capsys.readouterr().err.startswith(warned)
    assert "too good: its epoch was selected on asvspoof2019_la" in warned
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    ours, theirs = (json.loads((tmp_path / f"{name}.txt.json").read_text()) for name in "ab")
    differing = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
    assert differing <= {"scored_at", "seconds", "audio_seconds_per_second"}
    assert ours["corpus"] == {"name": CORPUS, "root": str(corpus), "split": "dev", "protocol": "4sec"}
    assert ours["published_model"]["name"] == "AASIST" and len(ours["seen"]) == 1
