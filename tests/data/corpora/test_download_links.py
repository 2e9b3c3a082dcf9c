"""`nes2net data download` fetches and unpacks nothing through a link in its folder."""

import dataclasses
import io
import zipfile

import pytest
from builders import input_error
from builders.http_server import running
from builders.hub_server import serving

from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.download import fetch_all, plan_downloads
from nes2net.lib.http_files import HttpFiles


@pytest.fixture
def client():
    with HttpFiles(lambda seconds: None) as client:
        yield client


@pytest.fixture
def elsewhere(tmp_path):
    """A folder to which links lead."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def corpus_of(download):
    return dataclasses.replace(in_the_wild.CORPUS, counts={}, key_digests={}, downloads=(download,))


def put_link(path, elsewhere):
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("name", [".cache", "data", ".cache/huggingface/.gitignore"])
def test_a_set_of_the_hub_is_not_downloaded_through_a_link(client, tmp_path, elsewhere, monkeypatch, name):
    data_set = tmp_path / "set"
    (data_set / "data").mkdir(parents=True)
    (data_set / "data" / "test.parquet").write_text("PAR1")
    put_link(tmp_path / "out" / name, elsewhere)
    with serving(monkeypatch, {"o/n": data_set}):
        plan = plan_downloads(corpus_of(Download(url="hub:o/n")), client)
        with input_error(f"{name}: is a link"):
            fetch_all(plan, tmp_path / "out", client)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "name, options",
    [
        ("keys", {"unpack": "."}),
        ("eval", {"unpack": "eval"}),
        ("below", {"unpack": ".", "name": "below/keys.zip"}),
    ],
)
def test_an_archive_is_not_unpacked_through_a_link(client, tmp_path, elsewhere, name, options):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("keys/key.txt", b"key")
    put_link(tmp_path / "out" / name, elsewhere)
    with running() as server:
        server.pages["/keys.zip"] = content.getvalue()
        plan = plan_downloads(corpus_of(Download(url=f"{server.address}/keys.zip", what="keys", **options)), client)
        with input_error(f"{name}: is a link"):
            fetch_all(plan, tmp_path / "out", client)
    assert list(elsewhere.iterdir()) == []
