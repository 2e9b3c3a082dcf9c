"""The cache of decoded audio gives the same bits as decoding, whatever happens to its folder."""

import errno
import io
import multiprocessing
import os
import shutil
import zlib

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.recordings import load_head

from nes2net.data.audio import cache as cache_module
from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.parts import RecordingPart, choose
from nes2net.data.audio.read import load_audio
from nes2net.lib.storage.files import replacing

SAMPLES = 0.3 * np.random.default_rng(0).standard_normal((9000, 3))
# Name: rate, channels, subtype.
FILES = {
    "16bit.wav": (16000, 1, "PCM_16"),
    "16bit.flac": (16000, 1, "PCM_16"),
    "24bit.flac": (16000, 1, "PCM_24"),
    "stereo.wav": (16000, 2, "PCM_16"),
    "8khz.wav": (8000, 1, "PCM_16"),
    "opus.ogg": (16000, 1, "OPUS"),
}


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    for name, (rate, channels, subtype) in FILES.items():
        soundfile.write(folder / name, SAMPLES[:, :channels].clip(-1, 1), rate, subtype=subtype)
    return folder


def same_bits(a, b):
    return a.dtype == b.dtype == np.float32 and np.array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("name", FILES)
def test_the_cache_gives_the_bits_of_the_decoded_samples_however_many_are_asked_for(audio, tmp_path, monkeypatch, name):
    path = audio / name
    cache = AudioCache(tmp_path / "cache")
    expected = load_audio(path)
    assert same_bits(cache.load(path, 700), expected[:700])
    monkeypatch.setattr(cache_module, "load_audio", None)  # nothing is decoded again
    for num_samples in (None, 500, len(expected) + 1):
        assert same_bits(cache.load(path, num_samples), expected[:num_samples])


def test_changing_the_samples_that_the_cache_gave_does_not_change_its_entry(audio, tmp_path):
    path = audio / "24bit.flac"  # stored as float32, so no conversion copies it
    cache = AudioCache(tmp_path)
    for _ in range(3):
        samples = cache.load(path)
        assert same_bits(samples, load_audio(path))
        samples[:] = 0


def test_samples_are_cached_without_loss(tmp_path, audio, monkeypatch):
    """Also samples that 16 bits cannot hold."""
    for waveform in ([-0.0, 0.5], [1.0, 0.0], [-1.5, 0.0], [2.0**-16, 0.0], [-1.0, 32767 / 32768]):
        waveform = np.array(waveform, np.float32)
        monkeypatch.setattr(cache_module, "load_audio", lambda *_, waveform=waveform: waveform)
        cache = AudioCache(tmp_path / str(waveform))
        cache.load(audio / "16bit.wav")
        monkeypatch.setattr(cache_module, "load_audio", None)
        assert same_bits(cache.load(audio / "16bit.wav"), waveform)


def test_a_recording_that_changes_is_decoded_again(audio, tmp_path):
    path = tmp_path / "a.wav"
    cache = AudioCache(tmp_path / "cache")
    shutil.copy(audio / "16bit.wav", path)
    cache.load(path)
    changed = path.stat().st_mtime_ns + 1
    for samples in (SAMPLES[::-1, 0], SAMPLES[:5000, 0]):  # at another time, then of another length at the same time
        soundfile.write(path, samples.clip(-1, 1), 16000, subtype="PCM_16")
        os.utime(path, ns=(1, changed))
        assert same_bits(cache.load(path), load_audio(path))


def entry_of(samples):
    """The bytes of an entry with the right checksum."""
    file = io.BytesIO()
    np.save(file, samples)
    return file.getvalue() + zlib.crc32(samples).to_bytes(4, "little")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:5000] + bytes(100) + data[5100:],  # as after a crash of the machine
        lambda data: data.replace(b"'<i2'", b"'<f2'"),
        lambda data: entry_of(np.zeros(0, np.int16)),
        lambda data: entry_of(np.zeros((3, 3), np.int16)),
        lambda data: entry_of(np.array([0.5, np.nan], np.float32)),
    ],
)
def test_a_damaged_entry_is_replaced_by_the_decoded_samples(audio, tmp_path, damage):
    path = audio / "16bit.flac"
    cache = AudioCache(tmp_path)
    expected = cache.load(path)
    intact_entry = entry_of((expected * 32768).astype(np.int16))
    cache.entry(path).write_bytes(damage(intact_entry))
    assert same_bits(cache.load(path, 1), expected[:1])
    assert cache.entry(path).read_bytes() == intact_entry


def caches_after_an_error(folder, audio, monkeypatch, number):
    """Two caches in one folder, as for training and for development, after all writing has failed once with an error."""

    def failing(path, mode):
        if mode == "wb":
            raise OSError(number, os.strerror(number), str(path))
        return open(path, mode)

    caches = [AudioCache(folder), AudioCache(f"{folder}/.")]
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "open", failing, raising=False)
        for name in ("16bit.flac", "24bit.flac", "16bit.flac"):
            for cache in caches:
                assert same_bits(cache.load(audio / name), load_audio(audio / name))
    return caches


of_each_lasting_error = pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS]
)


@of_each_lasting_error
def test_nothing_more_is_cached_after_a_full_disk_or_quota_or_a_refused_write(audio, tmp_path, monkeypatch, number):
    for cache in caches_after_an_error(tmp_path, audio, monkeypatch, number):
        cache.load(audio / "16bit.flac")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@of_each_lasting_error
def test_one_warning_names_the_error_after_which_nothing_more_is_cached(audio, tmp_path, monkeypatch, capsys, number):
    caches_after_an_error(tmp_path, audio, monkeypatch, number)
    error = capsys.readouterr().err
    assert error.count("warning: nothing more is cached") == 1
    assert error.count(f"({os.strerror(number)})") == 1


def test_caching_goes_on_after_an_input_output_error(audio, tmp_path, monkeypatch):
    cache, _ = caches_after_an_error(tmp_path, audio, monkeypatch, errno.EIO)
    cache.load(audio / "16bit.flac")
    assert cache.entry(audio / "16bit.flac").exists()


def test_only_files_left_by_killed_processes_are_removed_from_a_cache(audio, tmp_path):
    cache = AudioCache(tmp_path)
    cache.load(audio / "16bit.wav")
    entry = cache.entry(audio / "16bit.wav")
    leftover = entry.with_name(f".{entry.name}.12.tmp")
    other_file = entry.with_name(".tmp")
    leftover.touch()
    other_file.touch()
    del cache  # they are sought once per run
    with replacing(entry.with_name("being_written.npy")) as being_written:
        AudioCache(tmp_path)
        assert sorted(entry.parent.iterdir()) == sorted([entry, other_file, being_written])


def test_the_cache_neither_writes_nor_removes_files_through_a_symbolic_link_to_a_folder(audio, tmp_path):
    recording = audio / "16bit.wav"
    entry = AudioCache(tmp_path / "cache").entry(recording)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    leftover = elsewhere / f".{entry.name}.12.tmp"
    leftover.touch()
    entry.parent.symlink_to(elsewhere)
    AudioCache(tmp_path / "cache").load(recording)
    assert list(elsewhere.iterdir()) == [leftover]


def _load_all(folder, names):
    cache = AudioCache(folder)
    return [float(np.abs(cache.load(name)).sum()) for name in names for _ in range(3)]


def test_processes_that_load_the_same_recordings_share_one_cache_entry_for_each(audio, tmp_path):
    names = [audio / name for name in FILES]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        loaded = pool.starmap_async(_load_all, [(tmp_path, names)] * 4, chunksize=1).get(PATIENCE)
    assert loaded == [[float(np.abs(load_audio(name)).sum()) for name in names for _ in range(3)]] * 4
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == len(FILES)


def test_a_recording_longer_than_the_limit_of_the_cache_is_decoded_but_not_cached(tmp_path, audio, monkeypatch):
    monkeypatch.setattr(cache_module, "_MAX_SAMPLES", 8999)  # the files have 9,000 samples
    cache = AudioCache(tmp_path)
    path = audio / "16bit.wav"
    assert same_bits(cache.load(path), load_audio(path))
    assert same_bits(cache.load(path, 100), load_head(path, 100))
    assert not cache.entry(path).exists()


def test_each_audio_track_of_a_recording_has_an_entry_of_its_own(audio, tmp_path):
    cache = AudioCache(tmp_path)
    path = audio / "stereo.wav"
    assert cache.entry(choose(path, track=1)) != cache.entry(path)


@pytest.mark.parametrize("num_samples", [None, 3000])
def test_each_part_of_a_recording_has_an_entry_of_its_own(audio, tmp_path, num_samples):
    cache = AudioCache(tmp_path)
    path = audio / "stereo.wav"
    parts = (RecordingPart(0, 0.25), RecordingPart(0.25, 0.25), RecordingPart(0.25, 0.25, channel=1))
    recordings = [path, *(part.of(path) for part in parts)]
    for _ in range(2):
        for recording in recordings:
            assert same_bits(cache.load(recording, num_samples), load_audio(recording)[:num_samples])
    assert len(set(map(cache.entry, recordings))) == len(list(tmp_path.glob("??/*.npy"))) == 4
