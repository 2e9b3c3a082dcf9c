"""Detectors in repositories of the hub that hold checkpoints in place of a detector's folder."""

import re

import pytest
import torch
from builders import input_error
from builders.hub_server import COMMIT, serving, use_cache

from nes2net import Detector
from nes2net.models.checkpoints.hub import download


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The repository ``owner/models`` on a server of this machine, with one checkpoint of published code."""
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    folder = tmp_path / "models"
    (folder / "weights").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    torch.manual_seed(0)
    torch.save(Detector.from_config("AASIST-L").state_dict(), folder / "weights" / "best.pth")
    return folder


def test_the_only_checkpoint_is_read(repository, monkeypatch, capsys):
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        detector = Detector.from_pretrained("owner/models", "cpu")
    assert "hub:owner/models/weights/best.pth is the only checkpoint of owner/models" in capsys.readouterr().err
    assert detector.source == "owner/models"
    assert detector.config["backend"]["name"] == "raw_aasist_l"


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_several_checkpoints_are_refused_with_names_that_choose_one(repository, monkeypatch, revision):
    name = f"hub:owner/models{revision}"
    torch.save({"x": torch.zeros(1000)}, repository / "other.ckpt")
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        with input_error() as refusal:
            Detector.from_pretrained(name, "cpu")
        assert re.search(
            rf"{name} has 2 checkpoints: 'other\.ckpt' \([\d.]+ kB\), 'weights/best\.pth' \([\d.]+ kB\)",
            str(refusal.value),
        )
        assert f"name one of them, such as {name}/other.ckpt" in str(refusal.value)
        detector = Detector.from_pretrained(f"{name}/weights/best.pth", "cpu")
    expected = torch.load(repository / "weights" / "best.pth")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in detector.state_dict().items())


def test_a_fetched_checkpoint_needs_no_network(repository, tmp_path, monkeypatch):
    name = "hub:owner/models/weights/best.pth"
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        path = download(name)
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    assert download(name) == path


def test_a_missing_file_is_named_with_the_page_that_lists_files(repository, monkeypatch):
    with serving(monkeypatch, {"owner/models": repository}, "model") as server:
        server.missing = lambda path: (404, {"X-Error-Code": "EntryNotFound"})
        with input_error(r"it has no such file; https://huggingface.co/owner/models/tree/main lists them"):
            download("hub:owner/models/none.pth")


def test_a_repository_without_checkpoints_says_what_is_missing(repository, monkeypatch):
    (repository / "weights" / "best.pth").unlink()
    with (
        serving(monkeypatch, {"owner/models": repository}, "model"),
        input_error("not a detector folder"),
    ):
        Detector.from_pretrained("owner/models", "cpu")


@pytest.mark.parametrize("name", ["owner/models/best.pth", "owner/best.pth", "./models", "../models", "hub:models"])
def test_a_path_is_not_looked_up_on_the_hub(name):
    with input_error(f"checkpoint {name} not found"):
        download(name)
