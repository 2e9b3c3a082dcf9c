"""`nes2net data download` fetches and unpacks nothing through a link in its folder."""

import dataclasses
import io
import zipfile

import pytest
from builders import input_error
from builders.files import write
from builders.http_server import running
from builders.hub_server import serving

from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.download import fetch_all, plan_downloads
from nes2net.lib.web.http_files import HttpFiles


@pytest.fixture
def elsewhere(tmp_path):
    """A folder to which links lead."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


def refuse_through_link(download, out, name, elsewhere):
    """Check that ``download`` writes nothing through the link ``name`` of the folder ``out``."""
    (out / name).parent.mkdir(parents=True)
    (out / name).symlink_to(elsewhere)
    corpus = dataclasses.replace(in_the_wild.CORPUS, counts={}, key_digests={}, downloads=(download,))
    with HttpFiles(lambda seconds: None) as client:
        plan = plan_downloads(corpus, client)
        with input_error(f"{name}: is a link"):
            fetch_all(plan, out, client)
    assert list(elsewhere.iterdir()) == []


def test_a_data_set_of_the_hub_is_not_downloaded_through_a_symbolic_link_in_the_folder(
    tmp_path, monkeypatch, elsewhere
):
    write(tmp_path / "set/data/test.parquet", "PAR1")
    with serving(monkeypatch, {"o/n": tmp_path / "set"}):
        refuse_through_link(Download(url="hub:o/n"), tmp_path / "out", "data", elsewhere)


@pytest.mark.parametrize("name, options", [("eval", {"unpack": "eval"}), ("below", {"name": "below/keys.zip"})])
def test_an_archive_is_neither_downloaded_nor_unpacked_through_a_symbolic_link_in_the_folder(
    tmp_path, elsewhere, name, options
):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("keys/key.txt", b"key")
    with running() as server:
        server.pages["/keys.zip"] = content.getvalue()
        download = Download(url=f"{server.address}/keys.zip", what="keys", **options)
        refuse_through_link(download, tmp_path / "out", name, elsewhere)
