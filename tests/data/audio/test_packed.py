"""Recordings in shards and in memory are read as those in files, to the last bit."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, input_error, shards
from builders.recordings import encode, measure_audio, noise, read_every_way, stated_length
from numpy.testing import assert_array_equal

from nes2net.data.audio import packed
from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.packed import RecordingBytes, is_there, shard_of, size_of
from nes2net.data.audio.read import count_samples, load_audio
from nes2net.scoring.journal import stamp
from nes2net.training.dataset import LostFile, check_readable


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Recordings that libsndfile reads, with or without seeking, and one that FFmpeg alone reads."""
    folder = tmp_path_factory.mktemp("files")
    soundfile.write(folder / "a.flac", noise(9000), 16000)
    soundfile.write(folder / "b.wav", np.stack([noise(24000), noise(24000)[::-1]], 1), 44100)
    soundfile.write(folder / "c.mp3", noise(24000), 16000)
    soundfile.write(folder / "d.ogg", noise(20000), 16000)
    encode(folder / "e.m4a", noise(24000), "aac")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def addresses(files, tmp_path_factory):
    """Of each kind of shard: the addresses of ``files``, in order."""
    folder = tmp_path_factory.mktemp("shards.tar")  # a folder may be called so
    rows = shards.table({"audio": [(file.read_bytes(), file.name) for file in files]})
    shards.write_parquet(folder / "x.parquet", rows)
    shards.write_arrow(folder / "stream.arrow", rows)
    shards.write_arrow(folder / "file.arrow", rows, stream=False)
    shards.write_tar(folder / "x.tar", {f"inner.tar/{file.name}": file.read_bytes() for file in files})
    tables = ("x.parquet", "stream.arrow", "file.arrow")
    recordings = {name: [folder / name / str(i) for i in range(len(files))] for name in tables}
    return recordings | {"x.tar": [folder / "x.tar/inner.tar" / file.name for file in files]}


@pytest.fixture(scope="module")
def sources(files, addresses):
    """Of each kind of shard and of "memory": ``files`` in it, in order."""
    return addresses | {"memory": [RecordingBytes(file.name, file.read_bytes()) for file in files]}


SHARDS = ["x.parquet", "stream.arrow", "file.arrow", "x.tar"]


@pytest.mark.parametrize("kind", [*SHARDS, "memory"])
def test_every_reader_reads_a_recording_in_a_shard_or_in_memory_like_its_file(files, sources, kind):
    for file, source in zip(files, sources[kind]):
        assert_array_equal(read_every_way(source), load_audio(file))
        for read in (count_samples, stated_length, measure_audio):
            assert read(source) == read(file)


@pytest.mark.parametrize("kind", SHARDS)
def test_a_recording_in_a_shard_has_the_size_of_its_file(files, addresses, kind):
    for file, source in zip(files, addresses[kind]):
        assert size_of(source) == size_of(file)


@pytest.mark.parametrize("kind", SHARDS)
def test_a_recording_in_a_shard_has_the_time_stamp_of_the_shard(addresses, kind):
    for source in addresses[kind]:
        shard, _ = shard_of(source)
        assert stamp(source) == stamp(shard)


@pytest.mark.parametrize("kind", SHARDS)
def test_the_cache_gives_the_samples_of_a_recording_in_a_shard_at_each_load(files, addresses, kind, tmp_path):
    cache = AudioCache(tmp_path)
    for file, source in zip(files, addresses[kind]):
        for _ in range(2):
            assert_array_equal(cache.load(source), load_audio(file))


def test_the_address_of_a_member_that_a_tar_file_lacks_is_reported_as_missing(addresses):
    first = addresses["x.tar"][0]
    assert is_there(first)
    assert not is_there(first.parents[1] / "none.flac")


@pytest.mark.parametrize("row", ["5", "-1", "٣", "a"])
def test_the_address_of_a_row_that_a_shard_lacks_is_reported_as_missing(addresses, row):
    """So is a row whose number is not written in the digits 0 to 9."""
    first = addresses["x.parquet"][0]
    assert is_there(first)
    assert not is_there(first.with_name(row))


@pytest.mark.parametrize(
    "rows, message",
    [
        ({"audio": [(None, "a.flac")]}, "no audio bytes, only the path 'a.flac'"),
        ({"audio": [None]}, "it has no audio bytes"),
        ({"sound": [b"RIFF"]}, "expected a column 'audio'"),
    ],
)
def test_a_row_without_audio_is_refused_with_the_reason_and_the_name_of_its_shard(rows, message, tmp_path):
    shard = shards.write_parquet(tmp_path / "x.parquet", shards.table(rows))
    with input_error(message) as error:
        load_audio(shard / "0")
    assert "x.parquet" in str(error.value)


def test_a_recording_of_a_shard_that_is_cut_off_is_refused_with_the_name_of_the_shard(addresses, tmp_path):
    for name, paths in addresses.items():
        shard = tmp_path / name
        intact_shard, member = shard_of(paths[0])
        content = intact_shard.read_bytes()
        # within a recording, and where all recordings are there
        for size in (len(content) // 2, len(content) - {"x.tar": 10240}.get(name, 9)):
            shard.write_bytes(content[:size])
            with input_error(f"of {shard} cannot be read.*cut off or damaged"):
                load_audio(shard / member)


def test_a_row_that_a_shard_lacks_is_refused_with_its_number_and_the_number_of_rows(addresses):
    with input_error("no row '7'; it has 5"):
        load_audio(addresses["x.parquet"][0].with_name("7"))


def test_a_shard_that_is_replaced_while_open_is_read_again(files, tmp_path):
    tables = [shards.table({"audio": [(file.read_bytes(), file.name)]}) for file in files[:2]]
    for name, write in (("x.parquet", shards.write_parquet), ("x.arrow", shards.write_arrow)):
        for file, rows in zip(files, tables):
            path = write(tmp_path / name, rows) / "0"
            assert_array_equal(load_audio(path), load_audio(file))


def test_a_shard_removed_while_open_is_reported_as_lost_not_as_damaged(files, tmp_path):
    path = shards.write_arrow(tmp_path / "x.arrow", shards.table({"audio": [(files[0].read_bytes(), "a.flac")]})) / "0"
    load_audio(path)
    path.parent.unlink()
    with pytest.raises(LostFile):
        check_readable(path)


@pytest.fixture
def groups_read(monkeypatch):
    """The row groups of shards that are read from now on; none is in memory."""
    read = []
    original = packed._Table._read
    monkeypatch.setattr(packed._Table, "_read", lambda self, group: read.append(group) or original(self, group))
    packed._forget()
    return read


def test_one_row_group_of_a_shard_is_kept_in_memory_even_if_it_exceeds_the_limit_of_bytes(
    addresses, groups_read, monkeypatch
):
    monkeypatch.setattr(packed, "_KEPT_BYTES", 1)
    for path in addresses["x.parquet"]:
        size_of(path)
    assert groups_read == [0, 1, 2]
    assert len(packed._state.groups) == 1


def test_row_groups_of_a_shard_within_the_limit_of_bytes_are_read_once(addresses, groups_read, monkeypatch):
    monkeypatch.setattr(packed, "_KEPT_BYTES", 1 << 30)
    for path in addresses["x.parquet"] * 2:
        size_of(path)
    assert groups_read == [0, 1, 2]


def test_shards_are_read_in_a_process_forked_while_a_thread_reads_one(addresses):
    path = addresses["x.parquet"][0]
    load_audio(path)
    with packed._state.turn, multiprocessing.get_context("fork").Pool(1) as pool:  # turn of a thread that it lacks
        assert len(pool.apply_async(load_audio, [path]).get(PATIENCE)) == 9000


def test_many_threads_read_the_recordings_of_a_shard_at_once(addresses):
    """Each thread gets all samples of its recording, by their number."""
    with ThreadPoolExecutor(20) as pool:
        lengths = list(pool.map(lambda path: len(load_audio(path)), addresses["x.parquet"] * 4))
    assert lengths == lengths[:5] * 4
    assert lengths[0] == 9000
