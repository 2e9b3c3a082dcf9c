"""Reading audio: formats, rates, channels, both decoders, excerpts, bad files."""

import os
import re
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from builders.recordings import (
    encode,
    load_excerpt,
    load_head,
    load_head_and_length,
    measure_audio,
    noise,
    read_every_way,
    refused,
    tone,
)
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from nes2net import InputError
from nes2net.data.audio.decoders import libsndfile_blocks
from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.read import AudioFile, LongAudio, count_samples, load_audio, stream_audio


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 44100, 48000])
def test_resampling_equals_that_of_librosa(tmp_path, rate):
    for extra in range(4):  # lengths for which librosa ends with a zero
        samples = 0.1 * default_rng(0).standard_normal((rate + extra, 2)).astype(np.float32)
        soundfile.write(tmp_path / "noise.wav", samples, rate, subtype="FLOAT")
        expected, _ = librosa.load(tmp_path / "noise.wav", sr=16000)
        assert_allclose(load_audio(tmp_path / "noise.wav"), expected, atol=1e-6)


def test_unusual_real_files_are_read_or_refused_by_name(shared):
    """At least eight of the files are read."""
    readable = 0
    for path in sorted((shared / "real/decoders").iterdir()):
        try:
            waveform = load_audio(path)
        except InputError as error:
            assert path.name in str(error)
            continue
        readable += 1
        assert len(waveform)
        assert np.isfinite(waveform).all()
    assert readable >= 8


@pytest.fixture
def loud_tone(tmp_path):
    """A function that writes a tone of so many times its level, in floating point."""

    def write(scale):
        soundfile.write(tmp_path / "tone.wav", scale * tone(), 16000, subtype="FLOAT")
        return tmp_path / "tone.wav"

    return write


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_floating_point_samples_of_up_to_1_2_times_full_scale_are_read_unchanged(loud_tone, scale):
    assert_array_equal(read_every_way(loud_tone(scale)), np.float32(scale) * tone())


def test_floating_point_samples_far_beyond_full_scale_are_refused(loud_tone):
    readers = (
        load_audio,
        measure_audio,
        lambda path: list(stream_audio(path)),
        lambda path: load_excerpt(path, 10, 1000),
    )
    refused(loud_tone(32768), r"tone\.wav has samples that reach .*divide by full scale", readers=readers)


NEITHER = "was read by neither libsndfile .* nor FFmpeg"


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("text.wav", b"no audio at all", NEITHER),
        ("empty.wav", b"", "is empty"),
        ("pipe:0", b"no audio", NEITHER),
        ("playlist.flac", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\ngood.flac\n#EXT-X-ENDLIST\n", NEITHER),
        ("list.flac", b"ffconcat version 1.0\nfile 'good.flac'\n", NEITHER),
    ],
)
def test_a_file_without_audio_is_refused_even_if_ffmpeg_would_play_another_that_it_names(
    tmp_path, monkeypatch, name, content, message
):
    """FFmpeg would play the files of a list, and take a name for a protocol."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("good.flac", noise(9000), 16000)
    refused(Path(name), f"{name}.* {message}", content)


@pytest.mark.parametrize(
    "name, message",
    [
        ("none.wav", "not found"),
        (".", "is a folder"),
        ("pipe", "is not a regular file"),
        ("http://127.0.0.1:9/x.tar/a.wav", "is an address, and not read as a file: download it, or list shards"),
    ],
)
def test_a_path_that_is_no_regular_file_is_refused_with_what_it_is(tmp_path, monkeypatch, name, message):
    """Or with the fact that nothing is there."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    refused(name, rf"{re.escape(name)}.* {message}")


def test_a_path_with_a_null_byte_is_refused():
    refused("a\0.wav", "cannot be opened .*null (byte|character)")  # the latter in Python 3.13


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_recording_with_nan_or_infinite_samples_is_refused(tmp_path, value):
    soundfile.write(tmp_path / "x.wav", np.array([0, 0, value, 0]), 16000, subtype="FLOAT")
    refused(tmp_path / "x.wav", r"x\.wav holds NaN", readers=(load_audio, lambda path: load_excerpt(path, 1, 2)))


@pytest.fixture
def three_channels(tmp_path):
    """A recording of three channels, and its samples."""
    samples = default_rng(0).uniform(-0.5, 0.5, (1000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "three.wav", samples, 16000, subtype="FLOAT")
    return tmp_path / "three.wav", samples


def test_a_recording_of_several_channels_is_read_as_their_mean(three_channels):
    path, samples = three_channels
    assert_allclose(load_audio(path), samples.mean(axis=1), atol=1e-7)


def test_a_channel_of_a_recording_is_read_by_its_number(three_channels):
    path, samples = three_channels
    for channel in range(3):
        assert_array_equal(load_audio(RecordingPart(channel=channel).of(path)), samples[:, channel])


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_recording_longer_than_allowed_is_refused_before_its_end_is_read(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("nes2net.data.audio.decoders.BLOCK_VALUES", 4000)
    path = tmp_path / f"recording.{suffix}"
    soundfile.write(path, noise(), 16000)
    loaded = load_audio(path)
    with AudioFile(path) as audio:
        assert_array_equal(audio.read_with_length(9**9, longest=len(loaded))[0], loaded)
    read = []

    def counted(*arguments):
        for samples, rate in libsndfile_blocks(*arguments):
            read.append(samples.shape[1])
            yield samples, rate

    monkeypatch.setattr("nes2net.data.audio.read.libsndfile_blocks", counted)
    with pytest.raises(LongAudio, match=f"recording.{suffix} is longer than 0.5 s"):
        AudioFile(path).read_with_length(9**9, longest=8000)
    assert 8000 < sum(read) < 20000


# ---- parts


def write_noise(folder, kind):
    """A second of noise by libsndfile (format, subtype, channels, rate) or, at 16 kHz, by FFmpeg; its path."""
    path = folder / "noise"
    file_format, subtype, channels, rate = kind.split()
    samples = 0.1 * default_rng(0).standard_normal((int(rate), int(channels)))
    if file_format == "FFmpeg":
        encode(path, samples.T, subtype, format="matroska", layout="stereo")
    else:
        soundfile.write(path, samples, int(rate), format=file_format, subtype=subtype)
    return path


of_each_kind = pytest.mark.parametrize(
    "kind",
    ["WAV PCM_16 1 8000", "WAV PCM_16 1 16000", "WAV PCM_16 1 44100", "WAV FLOAT 3 11025", "WAV PCM_16 130 16000",
     "FLAC PCM_16 2 16000", "FLAC PCM_24 2 48000", "MP3 MPEG_LAYER_III 2 11025", "OGG VORBIS 2 16000",
     "OGG OPUS 1 16000", "AU G721_32 1 11025", "WAV IMA_ADPCM 2 48000", "FFmpeg aac 2 16000"],
)  # fmt: skip
of_each_block_size = pytest.mark.parametrize("block_values", [5000, 1 << 16])


@of_each_kind
def test_excerpts_of_a_recording_equal_slices_of_its_whole_waveform(tmp_path, kind):
    """Exactly at 16 kHz; at another rate an excerpt is resampled by itself, and differs by up to 1e-6."""
    path = write_noise(tmp_path, kind)
    loaded = load_audio(path)
    end = len(loaded)
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
        tolerance = 0 if kind.endswith(" 16000") else 1e-6
        assert_allclose(excerpt, loaded[start : start + length], rtol=0, atol=tolerance)


@of_each_kind
@of_each_block_size
def test_samples_and_length_read_whole_streamed_or_from_the_start_do_not_depend_on_the_size_of_decoded_blocks(
    tmp_path, monkeypatch, kind, block_values
):
    path = write_noise(tmp_path, kind)
    loaded = load_audio(path)
    assert count_samples(path) == len(loaded)
    monkeypatch.setattr("nes2net.data.audio.decoders.BLOCK_VALUES", block_values)
    assert_array_equal(load_audio(path), loaded)
    assert_array_equal(np.concatenate(list(stream_audio(path))), loaded)
    for length in (1, 1000, 9000, len(loaded) + 5):
        assert_array_equal(load_head(path, length), loaded[:length])
        samples, num_samples = load_head_and_length(path, length)
        assert_array_equal(samples, loaded[:length])
        assert num_samples == len(loaded)
