"""A part of a recording is read as if it were cut to a file of its own."""

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.recordings import READERS, decoded, load_head, measure_audio, read_every_way, stated_length
from numpy.testing import assert_array_equal

from nes2net.data.audio.decoders import ffmpeg_blocks, libsndfile_blocks
from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.read import load_audio

# Name of a file → its subtype; libsndfile seeks in the first two, and FFmpeg reads Opus.
FILES = {"a.wav": "PCM_16", "a.flac": "PCM_16", "a.ogg": "VORBIS", "opus.ogg": "OPUS"}


@pytest.fixture(scope="module", params=[16000, 24000])
def recordings(request, tmp_path_factory):
    """A folder with two channels of 3 s in several formats, and the rate."""
    folder = tmp_path_factory.mktemp("recordings")
    samples = (0.1 * np.random.default_rng(0).standard_normal((request.param * 3, 2))).clip(-1, 1)
    for name, subtype in FILES.items():
        soundfile.write(folder / name, samples, request.param, subtype=subtype)
    return folder, request.param


def native_samples(path):
    """The samples (N, channels) of a whole file and their rate, as the decoder for this format gives them."""
    samples, rate = decoded(path, ffmpeg_blocks if path.name == "opus.ogg" else libsndfile_blocks)
    return samples.T, rate


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("start, length, channel", [(0, 1.0, None), (0.75, 1.5, 1), (2.0, None, 1), (1.0, 2.005, None)])
def test_a_part_has_the_samples_of_that_part_cut_to_a_file(recordings, tmp_path, name, start, length, channel):
    """The last part ends 5 ms after the recording."""
    path = recordings[0] / name
    samples, rate = native_samples(path)
    end = len(samples)
    if length is not None:
        end = round((start + length) * rate)
    first = round(start * rate)
    cut = samples[first:end]
    if channel is not None:
        cut = cut[:, channel]
    file = tmp_path / "cut.wav"
    soundfile.write(file, cut, rate, "FLOAT")
    recording = RecordingPart(start, length, channel=channel).of(path)
    assert_array_equal(read_every_way(recording), load_audio(file))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [2.992, 3.008])
def test_a_part_that_lasts_as_long_as_the_recording_to_within_10_ms_is_all_of_it(recordings, name, length):
    path = recordings[0] / name
    assert_array_equal(load_audio(RecordingPart(0, length).of(path)), load_audio(path))


def test_a_part_in_samples_counts_samples_of_the_file(recordings):
    folder, rate = recordings
    in_seconds = RecordingPart(0.5, 1.0).of(folder / "a.wav")
    in_samples = RecordingPart(rate // 2, rate, in_samples=True).of(folder / "a.wav")
    assert_array_equal(load_audio(in_samples), load_audio(in_seconds))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("start, length", [(3.5, None), (0, 3.2)])
def test_a_part_beyond_the_end_is_refused_with_row_and_length(recordings, name, start, length):
    recording = RecordingPart(start, length, row="list.csv, line 7").of(recordings[0] / name)
    for read in (*READERS, measure_audio):
        with input_error(rf"{name} lasts 3\.0.*list.csv, line 7"):
            read(recording)


def test_of_a_long_recording_only_the_part_is_decoded(tmp_path, monkeypatch):
    """The part of 800 samples is read, and again after it was cut out."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(160000), 16000)
    read = soundfile.SoundFile.read
    num_read = []

    def count_samples(file, frames=-1, **options):
        num_read.append(frames)
        return read(file, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", count_samples)
    assert len(load_audio(RecordingPart(5.0, 0.05).of(path))) == 800
    assert sum(num_read) <= 2000


def test_a_part_with_samples_that_are_not_finite_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(16000, np.nan, np.float32), 16000, "FLOAT")
    with input_error("a.wav, from 0.5 s holds NaN"):
        load_audio(RecordingPart(0.5).of(path))


def test_the_header_gives_the_length_of_a_part(recordings):
    assert stated_length(RecordingPart(0.5, 1.0).of(recordings[0] / "a.flac")) == 16000


def test_the_head_of_a_whole_recording_that_states_its_duration_is_read_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(160000), 16000)
    monkeypatch.setattr("nes2net.data.audio.read.libsndfile_blocks", None)
    recording = RecordingPart(0, 10.0).of(path)
    assert len(load_head(recording, 800)) == 800
