"""Shards in S3, on an HTTP server and on the hub are read as those on the disk, to the last bit."""

import numpy as np
import pytest
from builders import input_error
from builders.remote_stores import FORMATS, http_store, hub_store, packed, s3_store, series, use_own_parts

from nes2net.data.audio.packed import blocks_of, size_of
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora import asvspoof2019_la
from nes2net.data.corpora.shards import CORPUS, folder_of


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    return packed(corpus, tmp_path_factory.mktemp("shards"))


@pytest.fixture(autouse=True)
def _own_parts(tmp_path, monkeypatch):
    use_own_parts(monkeypatch, tmp_path / "parts")


def assert_same_trials(address, local):
    trials = CORPUS.trials(address, "train")
    for trial, local_trial in zip(trials, local, strict=True):
        assert trial.id == local_trial.id
        assert trial.label == local_trial.label
        np.testing.assert_array_equal(load_audio(trial.path), load_audio(local_trial.path))
    blocks = blocks_of([trial.path for trial in trials])
    local_blocks = blocks_of([trial.path for trial in local])
    assert blocks.tolist() == local_blocks.tolist()
    assert size_of(trials[3].path) == size_of(local[3].path)


@pytest.mark.parametrize("format", FORMATS)
def test_shards_on_an_http_server_give_the_trials_samples_sizes_and_blocks_of_local_shards(folder, format):
    """Blocks are the groups of recordings that are read at once."""
    local = CORPUS.trials(folder / format, "train")
    with http_store(folder) as web:
        assert_same_trials(f"{web.address}/{series(folder, format)}", local)


def test_words_in_braces_name_the_shards_of_several_parts(folder):
    both = ",".join(series(folder, "tar", word).removesuffix(".tar") for word in ("train", "validation"))
    with http_store(folder) as web:
        for split in ("train", "dev"):
            trials = CORPUS.trials(f"{web.address}/{{{both}}}.tar", split)
            assert [trial.id for trial in trials] == [trial.id for trial in CORPUS.trials(folder / "tar", split)]


def test_series_of_more_than_a_million_shards_are_refused():
    with input_error("names more than a million files"):
        CORPUS.trials("http://127.0.0.1:9/{0..99999}-{0..99999}.tar", "train")


def test_a_missing_shard_of_a_series_is_refused_with_its_address(folder):
    with http_store(folder) as web:
        with input_error(r"/no-08\.tar: the server answers 404 Not Found; look"):
            CORPUS.trials(f"{web.address}/no-{{08..10}}.tar", "train")


@pytest.mark.slow
def test_shards_in_s3_give_the_trials_samples_sizes_and_blocks_of_local_shards(folder):
    """Blocks are the groups of recordings that are read at once."""
    with s3_store(folder) as s3:
        for format, pattern in (("parquet", "data/train-*.parquet"), ("tar", "train-*.tar")):
            local = CORPUS.trials(folder / format, "train")
            for address in (f"{s3}/{format}", f"{s3}/{format}/{pattern}"):
                assert_same_trials(address, local)


def test_shards_on_the_hub_give_the_trials_samples_sizes_and_blocks_of_local_shards(folder, monkeypatch):
    """Blocks are the groups of recordings that are read at once."""
    local = CORPUS.trials(folder / "parquet", "train")
    with hub_store(folder / "parquet", "some/tiny", monkeypatch):
        assert_same_trials("hub:some/tiny", local)


def test_asvspoof2019_la_is_not_read_from_an_address():
    with input_error("which only the corpus shards reads: copy the folder to this machine"):
        asvspoof2019_la.CORPUS.trials("http://127.0.0.1:9", "train")


def test_the_folder_of_an_address_has_no_name_of_a_shard():
    assert folder_of("https://h/set/{00..12}.parquet") == "https://h/set"
    assert folder_of("https://h/set/a.tar") == "https://h/set"
    assert folder_of("s3://bucket/set/") == "s3://bucket/set"
    assert folder_of("s3://bucket/set-1.0") == "s3://bucket/set-1.0"
