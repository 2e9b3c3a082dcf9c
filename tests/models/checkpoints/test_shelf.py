"""Published files: fetched once, checked, recorded, and found when somebody put them there."""

import hashlib

import pytest
from builders import input_error
from builders.files import read_json
from builders.http_server import running
from builders.hub_server import make_cache, serving, spoil, use_cache

from nes2net.models.checkpoints import shelf
from nes2net.models.checkpoints.published_file import PublishedFile
from nes2net.models.checkpoints.shelf import Shelf

CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def assets(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path / "hub", offline=False)
    monkeypatch.setattr(shelf, "_MAX_TRIES", 1)
    return tmp_path / "hub" / "assets" / "nes2net" / "models"


def test_a_published_file_is_fetched_only_once(assets, capsys):
    """Then its licence is told, and its address and digest are recorded."""
    with running(CONTENT) as server:
        url = f"{server.address}/weights/MODEL.pth"
        model = Shelf("MODEL", PublishedFile(url, len(CONTENT), SHA256), "MIT")
        assert model.fetch_if_missing() == assets / "MODEL" / "MODEL.pth"
        assert model.fetch_if_missing().read_bytes() == CONTENT
        assert server.fetched() == ["/weights/MODEL.pth"]
    assert capsys.readouterr().err.count("licence: MIT") == 1
    record = read_json(assets / "MODEL.json")
    assert (record["url"], record["sha256"]) == (url, SHA256)


def test_a_download_of_another_digest_or_size_than_published_is_refused_and_not_kept(assets):
    with running(CONTENT[::-1]) as server:
        for size, message in (
            (700, f"the SHA256 of what came is .*not {SHA256}"),
            (5, "announces 700 bytes, but 5 were"),
        ):
            model = Shelf("MODEL", PublishedFile(f"{server.address}/MODEL.pth", size, SHA256))
            with input_error(message):
                model.fetch_if_missing()
            assert not model.path_outside_hub.exists()


def test_a_file_without_a_published_checksum_is_refused_if_it_differs_from_its_first_download(assets, capsys):
    """The digest of the first one is told."""
    with running(CONTENT) as server:
        model = Shelf("MODEL", PublishedFile(f"{server.address}/MODEL.pth"))
        model.fetch_if_missing()
        assert f"MODEL is not pinned; first seen with SHA-256 {SHA256}" in capsys.readouterr().err
        model.path_outside_hub.unlink()
        server.content = CONTENT + b"!"
        with input_error(rf"the one first seen \(.*MODEL.json\) is {SHA256}"):
            model.fetch_if_missing()


def test_offline_a_missing_file_is_refused_with_its_address_digest_size_and_place(assets, monkeypatch):
    """And with the variable that forbids downloads."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = Shelf("MODEL", PublishedFile("https://a.example/MODEL.pth", len(CONTENT), SHA256))
    with input_error() as caught:
        model.fetch_if_missing()
    message = str(caught.value)
    assert "HF_HUB_OFFLINE" in message
    for fact in ("https://a.example/MODEL.pth", SHA256, "700 bytes", str(model.path_outside_hub)):
        assert fact in message


def test_a_file_that_a_user_put_in_its_place_is_used_without_a_download_if_it_is_the_published_one(assets):
    model = Shelf("MODEL", PublishedFile("https://a.example/MODEL.pth", len(CONTENT), SHA256))
    model.folder.mkdir(parents=True)
    model.path_outside_hub.write_bytes(CONTENT)
    assert model.fetch_if_missing() == model.path_outside_hub
    model.path_outside_hub.write_bytes(b"another file")
    with input_error(f"is not MODEL: its SHA-256 is .*, the one published is {SHA256}"):
        model.fetch_if_missing()


@pytest.fixture
def hub_model(assets, tmp_path, monkeypatch):
    """A model whose file is in a repository of the hub, on a server of this machine."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "model.safetensors").write_bytes(CONTENT)
    with serving(monkeypatch, {"owner/name": tmp_path / "served"}, kind="model"):
        yield Shelf("MODEL", PublishedFile("hub:owner/name/model.safetensors"))


def test_a_file_of_the_hub_is_read_from_the_cache_of_huggingface_hub(hub_model, tmp_path):
    """Its revision is recorded."""
    file_path = hub_model.fetch_if_missing()
    assert file_path.read_bytes() == CONTENT
    assert file_path.is_relative_to(tmp_path / "hub" / "models--owner--name")
    assert read_json(hub_model.record)["revision"] == file_path.parent.name


def test_a_fetched_folder_with_another_sha256_than_the_hub_states_is_refused(hub_model, tmp_path, monkeypatch):
    with serving(monkeypatch, {"owner/name": tmp_path / "served"}, kind="model") as server:
        spoil(server, ".safetensors")
        with input_error("the SHA-256 of what came is .*, but the hub states"):
            Shelf("MODEL", PublishedFile("hub:owner/name")).fetch_if_missing()


def test_a_file_of_the_hub_that_was_changed_after_its_download_is_refused(hub_model):
    hub_model.fetch_if_missing().resolve().write_bytes(b"damaged")
    with input_error("but the hub states"):
        hub_model.fetch_if_missing()


def test_a_folder_in_the_cache_of_the_hub_is_found_only_with_its_weights(assets, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    model = Shelf("MODEL", PublishedFile("hub:owner/name"))
    snapshot = make_cache(tmp_path / "hub", "owner/name", folder, kind="model")
    assert model.find() is None  # the configuration alone
    (snapshot / "model.safetensors").write_bytes(CONTENT)
    assert model.fetch_if_missing() == snapshot
