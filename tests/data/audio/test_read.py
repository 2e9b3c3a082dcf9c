"""Reading audio: formats, rates, channels, both decoders, excerpts, bad files."""

import csv
import os
import re
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.recordings import READERS, encode, noise, read_every_way, refused, tone
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from nes2net import InputError
from nes2net.data.audio.decoders import libsndfile_blocks
from nes2net.data.audio.packed import ChannelOf
from nes2net.data.audio.read import (
    LongAudio,
    count_samples,
    load_audio,
    load_excerpt,
    load_head,
    load_head_and_length,
    measure_audio,
    stream_audio,
    to_mono_16k,
)
from nes2net.data.audio.waveform import mean_of_channels
from nes2net.data.corpora.decoding import decode


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 44100, 48000])
def test_resampling_equals_that_of_librosa(tmp_path, rate):
    for extra in range(4):  # lengths for which librosa ends with a zero
        samples = 0.1 * default_rng(0).standard_normal((rate + extra, 2)).astype(np.float32)
        soundfile.write(tmp_path / "noise.wav", samples, rate, subtype="FLOAT")
        expected, _ = librosa.load(tmp_path / "noise.wav", sr=16000)
        assert_allclose(load_audio(tmp_path / "noise.wav"), expected, atol=1e-6)


def test_unusual_real_files_are_read_or_refused_by_name(shared):
    """Of these real files, the AppleDouble file is refused by name and all others are read."""
    readable = 0
    for path in sorted((shared / "real" / "decoders").iterdir()):
        try:
            waveform = load_audio(path)
        except InputError as error:
            assert path.name in str(error)
            continue
        readable += 1
        assert waveform.ndim == 1
        assert len(waveform)
        assert np.isfinite(waveform).all()
    assert readable >= 8


def test_real_recordings_have_their_stated_length(shared):
    with open(shared / "real" / "audio" / "metadata.csv") as file:
        rows = list(csv.DictReader(file))[::12]
    for row in rows:
        waveform = load_audio(shared / "real" / "audio" / row["file"])
        assert len(waveform) / 16000 == pytest.approx(float(row["seconds"]), abs=0.12), row["file"]


@pytest.mark.parametrize("scale, beyond", [(1.0, False), (4.0, False), (32768.0, True)])
def test_floating_point_samples_far_beyond_full_scale_are_refused(tmp_path, scale, beyond):
    path = tmp_path / "tone.wav"
    soundfile.write(path, scale * tone(), 16000, subtype="FLOAT")
    assert bool(decode(path).error) == beyond
    if beyond:
        readers = (load_audio, lambda path: list(stream_audio(path)), lambda path: load_excerpt(path, 10, 1000))
        refused(path, r"tone\.wav has samples that reach .*divide by full scale", readers=readers)
    else:
        read_every_way(path)


SOME = (load_audio, lambda path: load_excerpt(path, 1, 2))


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    """Also where FFmpeg would play other files that these name, or use the name of a file for a protocol."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("good.flac", noise(9000), 16000)
    soundfile.write("nothing.wav", np.zeros(0), 16000)
    for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
        soundfile.write(name, np.array([0, 0, value, 0]), 16000, subtype="FLOAT")
    for name, content in (
        *(("text.wav", b"no audio at all"), ("pipe:0", b"no audio"), ("empty.wav", b"")),
        ("playlist.flac", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\ngood.flac\n#EXT-X-ENDLIST\n"),
        ("list.flac", b"ffconcat version 1.0\nfile 'good.flac'\n"),
        ("header.flac", Path("good.flac").read_bytes()[:42]),
    ):
        Path(name).write_bytes(content)
    for name, target in (("loop", "loop"), ("dangling", "nowhere"), ("device", "/dev/zero")):
        os.symlink(target, name)
    os.mkfifo("pipe")
    neither = "was read by neither libsndfile .* nor FFmpeg"
    special = "is not a regular file"
    for name, message, readers in (
        *((name, neither, READERS) for name in ("text.wav", "pipe:0", "playlist.flac", "list.flac")),
        *((name, "not found", READERS) for name in ("none.wav", "dangling")),
        *((name, "cannot be opened", READERS) for name in ("loop", "x" * 300, "null\0")),
        *(("pipe", special, READERS), ("device", special, READERS), (".", "is a folder", READERS)),
        *(("empty.wav", "is empty", READERS), ("nothing.wav", "has no samples", READERS[:1])),
        ("header.flac", "was read by neither .*announces 9,000 samples, 0 could be decoded", READERS[:1]),
        *((f"{name}.wav", "holds NaN", SOME) for name in ("nan", "infinite")),
    ):
        refused(name, rf"{re.escape(name[:4])}.* {message}", readers=readers)


def test_an_excerpt_before_a_nan_is_read(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.array([0, 0, np.nan, 0]), 16000, subtype="FLOAT")
    assert_array_equal(load_excerpt(tmp_path / "nan.wav", 0, 2), [0, 0])


def test_a_waveform_of_three_axes_is_refused():
    with input_error("not .*: give one recording"):
        to_mono_16k(np.zeros((1, 2, 3), np.float32), 16000)


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_a_name_that_is_not_utf8_changes_no_sample(tmp_path, subtype):
    waveforms = []
    for name in (b"plain.ogg", b"caf\xe9.ogg"):
        path = tmp_path / os.fsdecode(name)
        with open(path, "wb") as file:
            soundfile.write(file, noise(), 16000, format="OGG", subtype=subtype)
        measured = measure_audio(path)
        assert measured.second_decoder == (subtype == "OPUS")
        waveforms.append(load_audio(path))
    assert_array_equal(*waveforms)


def test_one_channel_can_be_chosen(tmp_path):
    samples = default_rng(0).uniform(-0.5, 0.5, (1000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "three.wav", samples, 16000, subtype="FLOAT")
    assert_allclose(load_audio(tmp_path / "three.wav"), samples.mean(axis=1), atol=1e-7)
    for channel in range(3):
        assert_array_equal(load_audio(ChannelOf(tmp_path / "three.wav", channel)), samples[:, channel])


def test_a_channel_that_a_recording_lacks_is_refused(tmp_path):
    soundfile.write(tmp_path / "three.wav", np.zeros((9, 3)), 16000)
    with input_error(r"three\.wav has 3 channels, counted from 0, so there is no channel 3: choose another"):
        load_audio(ChannelOf(tmp_path / "three.wav", 3))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_recording_that_is_too_long_is_not_read_to_its_end(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("nes2net.data.audio.decoders.BLOCK_VALUES", 4000)
    path = tmp_path / f"recording.{suffix}"
    soundfile.write(path, noise(), 16000)
    loaded = load_audio(path)
    assert_array_equal(load_audio(path, longest=len(loaded)), loaded)
    read = []

    def counted(*arguments):
        for samples, rate in libsndfile_blocks(*arguments):
            read.append(samples.shape[1])
            yield samples, rate

    monkeypatch.setattr("nes2net.data.audio.read.libsndfile_blocks", counted)
    with pytest.raises(LongAudio, match=f"recording.{suffix} is longer than 0.5 s"):
        load_audio(path, longest=8000)
    assert 8000 < sum(read) < 20000


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_mean_of_two_channels_has_the_bits_of_numpys(order):
    samples = default_rng(0).standard_normal((2, 1001)).astype(np.float32, order=order)
    samples[:, :4] = [[0, -0.0, 0, -0.0], [-0.0, -0.0, 0, 0.0]]
    expected = samples.mean(axis=0, dtype=np.float32)
    assert_array_equal(mean_of_channels(samples).view(np.uint32), expected.view(np.uint32))


# ---- parts


@pytest.mark.parametrize(
    "kind, rates",
    [("WAV PCM_16 1", (4000, 8000, 11025, 16000, 44100, 48000)), ("WAV FLOAT 3", (11025,)), ("WAV PCM_16 130", (16000,)),
     ("FLAC PCM_16 2", (16000, 44100)), ("FLAC PCM_24 2", (48000,)), ("MP3 MPEG_LAYER_III 2", (11025,)),
     ("OGG VORBIS 2", (11025, 16000, 48000)), ("OGG OPUS 1", (16000,)), ("AU G721_32 1", (11025,)),
     ("WAV IMA_ADPCM 1", (16000,)), ("WAV IMA_ADPCM 2", (48000,)), ("FFmpeg aac 2", (16000,))],
)  # fmt: skip
def test_parts_of_a_recording_have_the_samples_of_the_whole(tmp_path, monkeypatch, kind, rates):
    """But excerpts at another rate, which are resampled by themselves."""
    file_format, subtype, channels = kind.split()
    for rate in rates:
        path = tmp_path / f"noise_{rate}"
        samples = 0.1 * default_rng(0).standard_normal((rate, int(channels)))
        if file_format == "FFmpeg":
            encode(path, samples.T, subtype, format="matroska", layout="stereo")  # at 16 kHz
        else:
            soundfile.write(path, samples, rate, format=file_format, subtype=subtype)
        loaded = load_audio(path)
        end = len(loaded)
        assert end == count_samples(path)
        for values in (5000, 1 << 16, 1 << 20):
            with monkeypatch.context() as patch:
                patch.setattr("nes2net.data.audio.decoders.BLOCK_VALUES", values)
                assert_array_equal(load_audio(path), loaded)
                assert_array_equal(np.concatenate(list(stream_audio(path))), loaded)
                for length in (1, 1000, 9000, end + 5):
                    assert_array_equal(load_head(path, length), loaded[:length])
                    head, total = load_head_and_length(path, length)
                    assert_array_equal(head, loaded[:length])
                    assert total == end
        for start, length in (
            (0, 300),
            (0, end),
            (1, 12000),
            (9999, 3),
            (end - 5, 100),
            (end, 1),
            (end + 7, 1),
            (17, 0),
        ):
            excerpt = load_excerpt(path, start, length)
            expected = loaded[start : start + length]
            assert excerpt.dtype == np.float32, (start, length)
            assert excerpt.shape == expected.shape, (start, length)
            assert_allclose(excerpt, expected, rtol=0, atol=0 if rate == 16000 else 1e-6)


def test_recordings_of_hours_are_searched_for_damage_in_part(tmp_path, monkeypatch):
    """Where the header states their length; a stream is read to its end to know it."""
    samples = noise(30000)
    monkeypatch.setattr("nes2net.data.audio.decoders.BLOCK_VALUES", 1000)
    monkeypatch.setattr("nes2net.data.audio.read._SEARCHED_VALUES", 5000)
    for name in ("noise.flac", "noise.mp3"):
        path = tmp_path / name
        soundfile.write(path, samples, 16000)
        loaded = load_audio(path)
        damaged = bytearray(path.read_bytes())
        middle = len(damaged) // 2
        damaged[middle : middle + 200] = bytes(200)
        path.write_bytes(damaged)
        if name == "noise.flac":
            with input_error():
                load_audio(path)
        head, length = load_head_and_length(path, 4000)
        assert_array_equal(head, loaded[:4000])
        assert length == 30000 if name == "noise.flac" else abs(length - 30000) < 3000
