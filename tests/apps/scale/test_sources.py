"""Folders, patterns, URLs, lists and trials as shards, and when a shard counts as changed."""

import os

import fsspec
import pytest
from builders import input_error
from builders.files import write

from nes2net.apps.scale import sources
from nes2net.apps.scale.sources import shards_of


def names(source):
    return [shard.name for shard in shards_of(source)]


def test_shards_are_found_by_folder_pattern_or_path(tmp_path):
    for name in ("data/test-1.parquet", "data/test-0.parquet", "data/labels.parquet", "x.tar", ".hidden.tar", "a.flac"):
        write(tmp_path / name)
    assert names(tmp_path) == ["data/test-0.parquet", "data/test-1.parquet", "x.tar"]
    assert names(str(tmp_path / "data" / "test-*.parquet")) == ["test-0.parquet", "test-1.parquet"]
    assert names(tmp_path / "x.tar") == ["x.tar"]


def test_a_shard_differs_from_before_once_its_file_is_changed(tmp_path):
    path = write(tmp_path / "x.tar", "abc")
    before = shards_of(path)
    assert shards_of(path) == before
    os.utime(path, ns=(1, 1))
    assert shards_of(path) != before


def test_a_list_as_a_shard_differs_from_before_once_a_listed_recording_is_changed(tmp_path):
    path = write(tmp_path / "a.flac", "abc")
    listed = write(tmp_path / "files.txt", "a.flac\n")
    before = shards_of(listed)
    assert shards_of(listed) == before
    os.utime(path, ns=(1, 1))
    assert shards_of(listed) != before


def test_shards_behind_a_url_are_found_by_folder_or_pattern():
    memory = fsspec.filesystem("memory")
    memory.pipe({"/set/data/0.parquet": b"a", "/set/data/1.tar": b"b", "/set/README.md": b"c"})
    try:
        assert names("memory://set") == ["data/0.parquet", "data/1.tar"]
        assert [shard.address for shard in shards_of("memory://set/data/*.tar")] == ["memory://set/data/1.tar"]
    finally:
        memory.rm("/set", recursive=True)


def test_a_folder_behind_a_url_that_matches_a_pattern_is_not_a_shard():
    fsspec.filesystem("memory").pipe({"/named/folder.tar/a.bin": b"a", "/named/b.tar": b"b"})
    assert names("memory://named/*.tar") == ["b.tar"]


def test_a_list_behind_a_url_that_is_longer_than_a_list_on_the_disk_may_be_is_refused(monkeypatch):
    fsspec.filesystem("memory").pipe("/long.txt", b"a.wav\nb.wav\n")
    monkeypatch.setattr(sources, "MAX_BYTES", 10)
    with input_error("memory://long.txt: is longer than 10 bytes, the most that is read here; split it"):
        shards_of("memory://long.txt")


def test_a_shard_behind_a_url_differs_from_before_once_it_is_changed():
    memory = fsspec.filesystem("memory")
    memory.pipe("/changed.tar", b"b")
    before = shards_of("memory://changed.tar")
    assert shards_of("memory://changed.tar") == before
    memory.pipe("/changed.tar", b"longer")
    assert shards_of("memory://changed.tar") != before


def test_a_list_is_cut_into_shards_of_a_thousand_recordings(tmp_path):
    lines = [f"{number}.flac" for number in range(1501)]
    first, second = shards_of(write(tmp_path / "files.txt", lines))
    assert (len(first.rows), len(second.rows), second.name) == (1000, 501, "files.txt#000001000")


def test_a_list_has_a_path_in_each_line_that_is_no_comment_or_an_id_and_a_path(tmp_path):
    (shard,) = shards_of(write(tmp_path / "files.txt", ["# a comment", "", "0.flac", "one two\t/abs/1.flac"]))
    assert shard.rows == (("0.flac", str(tmp_path / "0.flac")), ("one%20two", "/abs/1.flac"))


def test_shards_in_a_linked_folder_are_listed_once(tmp_path):
    write(tmp_path / "elsewhere/a.tar", "")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/circle").symlink_to(tmp_path / "set")
    assert names(tmp_path / "set") == ["linked/a.tar"]


def test_a_series_of_addresses_is_a_shard_for_each_number():
    assert names("memory://none/{08..10}.tar") == ["08.tar", "09.tar", "10.tar"]


def test_a_folder_of_recordings_is_a_shard(tmp_path):
    write(tmp_path / "recordings" / "a b.wav")
    (shard,) = shards_of(tmp_path)
    assert shard.rows[0][0] == "recordings/a%20b.wav"


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("nowhere", None, "nowhere not found"),
        ("empty/README.md", "", "has no recordings"),
        ("a.txt", "a\tb\tc", r"a.txt, line 1: expected a path or URL.*found 'a\\tb\\tc'"),
        ("a.txt", "b.wav\nfile:///etc/a.wav", "a.txt, line 2: file://etc/a.wav is not an address: write SCHEME"),
        ("a.txt", "reference::http://h/a.wav", "a.txt, line 1: reference::http://h/a.wav is not an address"),
    ],
)
def test_sources_without_recordings_that_can_be_read_are_refused_with_a_reason(tmp_path, name, content, message):
    if content is not None:
        write(tmp_path / name, content)
    with input_error(message):
        shards_of(tmp_path / name.partition("/")[0])
