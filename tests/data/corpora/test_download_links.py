"""`nes2net data download` fetches no set of the hub through a link in its folder."""

import dataclasses

import pytest
from builders import input_error
from builders.files import write
from builders.hub_server import serving

from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.download import fetch_all, plan_downloads
from nes2net.lib.http_files import HttpFiles


@pytest.mark.parametrize("name", [".cache", "data", ".cache/huggingface/.gitignore"])
def test_a_set_of_the_hub_is_not_downloaded_through_a_link(tmp_path, monkeypatch, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "out" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    write(tmp_path / "set" / "data" / "test.parquet", "PAR1")
    corpus = dataclasses.replace(in_the_wild.CORPUS, counts={}, key_digests={}, downloads=(Download(url="hub:o/n"),))
    with serving(monkeypatch, {"o/n": tmp_path / "set"}), HttpFiles(lambda seconds: None) as client:
        plan = plan_downloads(corpus, client)
        with input_error(f"{name}: is a link"):
            fetch_all(plan, tmp_path / "out", client)
    assert list(elsewhere.iterdir()) == []
