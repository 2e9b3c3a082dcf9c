"""Samples without a header: G.711's tables, and bytes that are cut anywhere."""

import io
import os
import threading

import numpy as np
import pytest
import soundfile
from builders import golden, input_error
from builders.recordings import encode
from builders.voices import voice
from numpy.random import default_rng

from nes2net.data.audio.blocks import push_all
from nes2net.data.audio.pcm import PcmDecoder, RawAudio

SAMPLES = np.round(0.1 * default_rng(0).standard_normal((2, 999)) * 32768).astype("<i2")


def decoded(contents, encoding, channels=1):
    return np.concatenate(list(push_all(contents, PcmDecoder(encoding, channels))), axis=1)


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_all_256_bytes_of_g711_decode_to_the_values_of_the_standard(encoding):
    expected = np.array(golden.read("tracing/g711")[encoding]) / 32768
    assert decoded([bytes(range(256))], encoding)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("channels", [1, 2])
def test_raw_audio_decodes_to_its_samples_wherever_its_bytes_are_cut(channels):
    samples = SAMPLES[:channels]
    floats = samples.astype(np.float32) / 32768
    contents = {"s16le": samples.T.tobytes()}
    contents["s16be"] = samples.T.astype(">i2").tobytes()
    contents["f32le"] = floats.T.astype("<f4").tobytes()
    for encoding, content in contents.items():
        for size in (1, 3, 7, 640, len(content)):
            cut = [content[first : first + size] for first in range(0, len(content), size)]
            samples = decoded(cut, encoding, channels)
            assert np.array_equal(samples, floats)


def test_bytes_at_the_end_of_raw_audio_that_are_no_whole_sample_are_ignored():
    assert decoded([SAMPLES.tobytes(), b"\x01"], "s16le").size == SAMPLES.size


def test_raw_audio_is_read_from_bytes_paths_open_files_and_iterators_of_bytes(tmp_path):
    content = SAMPLES[0].tobytes()
    path = tmp_path / "call.s16"
    path.write_bytes(content)
    sources = (content, path, str(path), io.BytesIO(content), iter([content[:5], content[5:]]), open(path, "rb"))
    for source in sources:
        blocks = list(RawAudio(source, 8000).blocks())
        samples = np.concatenate([samples for samples, _ in blocks], axis=1)
        assert np.array_equal(samples[0], SAMPLES[0].astype(np.float32) / 32768)
    sources[-1].close()


def test_samples_from_a_pipe_are_given_as_they_arrive():
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as reader, open(write_end, "wb", buffering=0) as writer:
        blocks = RawAudio(reader, 16000).blocks()
        for first in (0, 320, 640):
            sent = SAMPLES[:1, first : first + 320]
            threading.Thread(target=writer.write, args=(sent.tobytes(),)).start()
            assert np.array_equal(next(blocks)[0], sent.astype(np.float32) / 32768)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of a short recording in files of many formats; MP3 without an ID3 tag."""
    folder = tmp_path_factory.mktemp("files")
    voiced = 0.3 * voice(seconds=2)
    contents = {}
    for name in ("WAV", "RF64", "AIFF", "CAF", "FLAC", "OGG", "MP3", "AU"):
        soundfile.write(folder / name, voiced, 16000, format=name)
        contents[name] = (folder / name).read_bytes()
    for suffix, codec in (("webm", "libopus"), ("mkv", "pcm_s16le"), ("m4a", "aac")):
        encode(folder / f"talk.{suffix}", voiced, codec)
        contents[suffix] = (folder / f"talk.{suffix}").read_bytes()
    return contents


KINDS = {
    "RF64": "WAV",
    "OGG": "Ogg",
    "webm": "Matroska or WebM",
    "mkv": "Matroska or WebM",
    "m4a": "MP4",
    "MP3": "MP3 or AAC",
}
FILES = ["WAV", "RF64", "AIFF", "CAF", "FLAC", "OGG", "MP3", "AU", "webm", "mkv", "m4a"]


@pytest.mark.parametrize("size", [1, 7, 640, 10**6])
@pytest.mark.parametrize("name", FILES)
def test_an_audio_file_is_refused_as_raw_audio_however_its_bytes_are_cut(files, name, size):
    content = files[name]
    decoder = PcmDecoder("mulaw")
    with input_error(rf"has the header of an audio file \({KINDS.get(name, name)}\)"):
        for first in range(0, len(content), size):
            decoder.push(content[first : first + size])


@pytest.mark.parametrize("name", ["WAV", "OGG", "webm"])
def test_the_header_of_an_audio_file_amid_raw_samples_is_refused(files, name):
    decoder = PcmDecoder("s16le")
    decoder.push(SAMPLES.tobytes())
    decoder.push(files[name][:5])
    with input_error("has the header of an audio file"):
        decoder.push(files[name][5:640])


@pytest.mark.parametrize("encoding", ["s16le", "s16be", "f32le", "mulaw", "alaw"])
def test_raw_audio_is_not_mistaken_for_an_audio_file(encoding):
    """The raw audio is silence, noise, a tone or all bytes, given in pieces."""
    tone = np.round(9000 * np.sin(np.arange(16000) / 5)).astype("<i2").tobytes()
    noise = default_rng(0).bytes(300_000)
    for content in (bytes(20_000), b"\xff" * 20_000, b"\xd5" * 20_000, bytes(range(256)) * 100, tone, noise):
        pieces = [content[first : first + 160] for first in range(0, len(content), 160)]
        assert decoded(pieces, encoding).shape[1] > 0
