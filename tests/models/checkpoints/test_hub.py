"""Detectors in repositories of the hub that hold checkpoints in place of a detector's folder."""

import pytest
import torch
from builders import input_error
from builders.hub_server import serving, spoil, use_cache

from nes2net import Detector
from nes2net.lib.web import http_files
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


def test_the_only_checkpoint_of_a_repository_is_read(repository, monkeypatch, capsys):
    """A remark names it, and the source of the detector is the repository as it was named."""
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        detector = Detector.from_pretrained("owner/models", "cpu")
    assert detector.config["backend"]["name"] == "raw_aasist_l"
    assert detector.source == "owner/models"
    assert "hub:owner/models/weights/best.pth is the only checkpoint of owner/models" in capsys.readouterr().err


def test_a_repository_with_several_checkpoints_is_refused_with_their_names_unless_one_is_named(repository, monkeypatch):
    torch.save({"x": torch.zeros(1000)}, repository / "other.ckpt")
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        with input_error("hub:owner/models@main has 2 checkpoints: 'other.ckpt' .*, 'weights/best.pth' "):
            Detector.from_pretrained("hub:owner/models@main", "cpu")
        detector = Detector.from_pretrained("hub:owner/models@main/weights/best.pth", "cpu")
    assert detector.config["backend"]["name"] == "raw_aasist_l"


def test_a_repository_that_holds_a_peft_adapter_is_refused_with_its_base(repository, monkeypatch):
    (repository / "weights" / "best.pth").rename(repository / "adapter_model.safetensors")
    (repository / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        with input_error("holds a PEFT adapter of 'owner/base'"):
            Detector.from_pretrained("owner/models", "cpu")


def test_a_fetched_checkpoint_needs_no_network(repository, tmp_path, monkeypatch):
    name = "hub:owner/models@main/weights/best.pth"
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        path = download(name)
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    assert download(name) == path


def test_a_file_with_another_sha256_than_the_hub_states_is_refused_and_fetched_again(repository, monkeypatch):
    with serving(monkeypatch, {"owner/models": repository}, "model") as server:
        spoil(server, ".pth")
        with input_error("the SHA-256 of what came is .*, but the hub states .*is removed: run the same command again"):
            download("owner/models")
        spoil(server, ".pth")  # back
        assert download("owner/models").read_bytes() == (repository / "weights" / "best.pth").read_bytes()


def test_the_sha256_of_a_fetched_file_is_computed_once(repository, monkeypatch):
    with serving(monkeypatch, {"owner/models": repository}, "model"):
        path = download("owner/models")
        monkeypatch.delattr(http_files, "digests_of")
        assert download("owner/models") == path


@pytest.mark.parametrize("name", ["owner/models/best.pth", "owner/best.pth", "./models", "../models", "hub:models"])
def test_a_path_or_a_name_without_an_owner_is_not_looked_up_on_the_hub(name):
    with input_error(f"checkpoint {name} not found"):
        download(name)
