"""Shards to pieces: the same from a disk and through fsspec, and what happens to damaged ones."""

import os

import fsspec
import pytest
from builders import input_error
from builders.collection import flac, write_shard

from nes2net.apps.scale.reading import fetch, pieces_of
from nes2net.apps.scale.sources import Shard, shards_of
from nes2net.data.audio import packed
from nes2net.data.corpora import shards

RECORDINGS = {f"utt {number}": flac(number, 0.05) for number in range(10)}
KINDS = (".parquet", ".arrow", ".tar")


def rows_of(pieces):
    return [row for piece in pieces for row in piece.rows]


@pytest.mark.parametrize("kind", [".parquet", ".tar"])
def test_a_shard_has_the_same_recordings_from_a_disk_and_from_a_remote_store(tmp_path, kind):
    path = write_shard(tmp_path / f"x{kind}", RECORDINGS)
    (shard,) = shards_of(path)
    rows = rows_of(pieces_of(shard, 4, 2))
    # The address is that of audio.packed, which reads the same bytes there.
    assert [packed.open_recording(packed.fetch(row["address"])).read() for row in rows] == list(RECORDINGS.values())
    fsspec.filesystem("memory").pipe(f"/x{kind}", path.read_bytes())
    remote = rows_of(pieces_of(shards_of(f"memory://x{kind}")[0], 4, 2))
    assert [row["content"] for row in remote] == list(RECORDINGS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_is_read_in_numbered_pieces_with_the_ids_of_the_corpus_named_shards_and_labels(tmp_path, kind):
    """In pieces of at most four recordings."""
    (shard,) = shards_of(write_shard(tmp_path / f"x{kind}", RECORDINGS))
    pieces = list(pieces_of(shard, 4, 2))
    assert [(piece.number, piece.last, len(piece.rows)) for piece in pieces] == [(0, 0, 4), (1, 0, 4), (2, 1, 2)]
    rows = rows_of(pieces)
    assert [row["id"] for row in rows] == [trial.id for trial in shards.CORPUS.trials(tmp_path)]
    assert [str(row["label"]) for row in rows] == ["0", "1"] * 5


def length_without_8_bytes(content):
    return len(content) - 8


def length_without_a_recording(content):
    return content.rindex(b"fLaC")


@pytest.mark.parametrize(
    "kind, last_length",
    [
        (".parquet", length_without_8_bytes),
        (".arrow", length_without_8_bytes),
        (".tar", length_without_a_recording),
    ],
)
def test_a_shard_that_is_cut_off_ends_with_a_fault_that_names_it(tmp_path, kind, last_length):
    path = write_shard(tmp_path / f"x{kind}", RECORDINGS)
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, last_length(content)):
        path.write_bytes(content[:length])
        *_, last = pieces_of(shards_of(path)[0], 4, 2)
        assert last.last
        assert not last.rows
        assert f"x{kind}" in last.fault


def test_shards_are_read_from_an_address_with_a_query(tmp_path):
    path = write_shard(tmp_path / "x.tar", RECORDINGS)
    fsspec.filesystem("memory").pipe("/x.tar?signature=1", path.read_bytes())
    (shard,) = shards_of("memory://x.tar?signature=1")
    assert [row["content"] for row in rows_of(pieces_of(shard, 4, 2))] == list(RECORDINGS.values())


def test_a_remote_arrow_shard_has_a_fault_that_says_to_copy_it(tmp_path):
    content = write_shard(tmp_path / "x.arrow", RECORDINGS).read_bytes()
    fsspec.filesystem("memory").pipe("/x.arrow", content)
    (last,) = pieces_of(shards_of("memory://x.arrow")[0], 4, 2)
    assert "must be a Parquet or tar file, because Arrow files have no index: copy it here" in last.fault


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_in_place_of_a_shard_is_a_fault_and_is_not_waited_for(tmp_path, kind):
    os.mkfifo(tmp_path / f"x{kind}")
    (last,) = pieces_of(Shard(str(tmp_path / f"x{kind}"), ""), 4, 2)
    assert "not found, or not a regular file" in last.fault


def test_a_tar_shard_that_is_cut_off_between_two_members_has_a_fault(tmp_path):
    path = write_shard(tmp_path / "x.tar", {"a": bytes(512), "b": bytes(512)})
    path.write_bytes(path.read_bytes()[: 2 * 1024])  # between two members
    *_, last = pieces_of(shards_of(path)[0], 4, 2)
    assert "the end of the archive is missing" in last.fault


def test_a_file_behind_a_url_is_refused_above_the_largest_number_of_bytes(monkeypatch):
    fsspec.filesystem("memory").pipe("/a.flac", b"abcd")
    assert fetch("memory://a.flac").content == b"abcd"
    monkeypatch.setattr(packed, "MAX_BYTES", 3)
    with input_error("4 bytes; at most 3 bytes"):
        fetch("memory://a.flac")


def test_pieces_of_large_recordings_have_fewer_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("nes2net.apps.scale.reading._PIECE_BYTES", 1)
    monkeypatch.setattr("nes2net.apps.scale.reading._MAX_PIECE_BYTES", 3 * len(RECORDINGS["utt 0"]))
    (shard,) = shards_of(write_shard(tmp_path / "x.tar", RECORDINGS))
    assert [len(piece.rows) for piece in pieces_of(shard, 8, 2)] == [2] * 5 + [0]
