"""Claims about published weights: made for weights that a digest tells, and for no others of the same shapes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from builders.files import read_json

from nes2net import Detector, create_backend
from nes2net.apps.info.files import file_sheet
from nes2net.cli.main import main
from nes2net.lib.storage.files import sha256_of
from nes2net.models.checkpoints.published_file import PublishedFile
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record, save_state_dict
from nes2net.models.published_models import PUBLISHED
from nes2net.training.averaging import average_files


@pytest.fixture
def random_aasist(tmp_path, monkeypatch):
    """Random weights of AASIST-L's architecture, as the published code would save them."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(create_backend("raw_aasist_l").state_dict(), "other.pth")
    soundfile.write("a.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)
    return tmp_path / "other.pth"


def said(capsys, *words):
    assert main([*map(str, words)]) == 0
    printed = capsys.readouterr()
    return printed.out, printed.err


def make_known(monkeypatch, path):
    """Let ``path`` be the published file of AASIST-L."""
    file = PublishedFile("https://example.org/AASIST-L.pth", path.stat().st_size, sha256_of(path))
    monkeypatch.setitem(PUBLISHED, "AASIST-L", replace(PUBLISHED["AASIST-L"], file=file))


@pytest.fixture
def claims(random_aasist, corpus, capsys):
    """A function that returns what predict, info, and the record and the warning of score claim about the weights."""

    def run():
        row = json.loads(said(capsys, "predict", "a.wav", "--model", random_aasist, "--json")[0])
        facts = file_sheet(random_aasist).facts
        words = ("score", "asvspoof2019_la", corpus, "--split", "train", "--model", random_aasist, "--samples", 4000)
        _, warned = said(capsys, *words, "--workers", 0, "--out", "s.txt")
        training_data = read_json(random_aasist.parent / "s.txt.json")["seen"]
        info = [facts["model"] == "AASIST-L", facts.get("trained on"), facts.get("licence of the weights")]
        return [
            row.get("published_model"),
            row.get("licence"),
            *info,
            training_data,
            "AASIST-L on asvspoof2019_la" in warned,
        ]

    return run


def test_weights_of_a_known_digest_have_the_claims_of_their_published_model(claims, random_aasist, monkeypatch):
    """Its name, licence and training data, in predict, info, and the record and the warning of score."""
    make_known(monkeypatch, random_aasist)
    all_claims = claims()
    assert all_claims[:2] == ["AASIST-L", "MIT"]
    assert all(all_claims)


def test_weights_of_an_unknown_digest_have_no_claims_of_the_model_whose_architecture_they_have(claims, random_aasist):
    """No name, licence or training data, in predict, info, and the record and the warning of score."""
    assert not any(claims())
    assert file_sheet(random_aasist).facts["model"] == "architecture of AASIST-L, weights unknown"


def test_unknown_weights_read_with_the_name_of_a_model_are_said_to_have_only_its_architecture(random_aasist):
    detector = Detector.from_pretrained(random_aasist, "cpu", config="AASIST-L")
    assert detector.provenance.to_dict() == {"architecture_of": "AASIST-L"}


def test_a_copy_of_published_weights_is_called_published_only_with_unchanged_tensors(random_aasist, monkeypatch):
    make_known(monkeypatch, random_aasist)
    Detector.from_pretrained(random_aasist, "cpu").save("copy.pth")
    assert Detector.from_pretrained("copy.pth", "cpu").provenance.to_dict() == {"published_model": "AASIST-L"}
    saved = load_state_dict("copy.pth")
    changed = {key: tensor + 1 if key == "out_layer.bias" else tensor for key, tensor in saved.items()}
    save_state_dict(changed, "changed.pth", **read_record(saved))
    assert Detector.from_pretrained("changed.pth", "cpu").provenance.to_dict() == {"architecture_of": "AASIST-L"}


def test_an_average_with_published_weights_is_said_to_have_only_their_architecture(random_aasist, monkeypatch):
    make_known(monkeypatch, random_aasist)
    Detector.from_pretrained(random_aasist, "cpu").save("copy.pth")
    torch.save(create_backend("raw_aasist_l").state_dict(), "another.pth")
    average_files(["copy.pth", "another.pth"], "average.pth")
    provenance = Detector.from_pretrained("average.pth", "cpu").provenance
    assert provenance.architecture_of == "AASIST-L"
    assert not provenance.published_model


@pytest.mark.parametrize("name", ["AASIST", "AASIST-L"])
def test_published_tensors_are_known_in_a_file_that_holds_them_in_another_order(name, shared, tmp_path):
    file = shared / "real" / "aasist" / f"{name}.pth"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    state_dict = torch.load(file, map_location="cpu", weights_only=True)
    torch.save(dict(reversed(state_dict.items())), tmp_path / "again.pth")
    assert Detector.from_pretrained(tmp_path / "again.pth", "cpu").provenance.to_dict() == {"published_model": name}
