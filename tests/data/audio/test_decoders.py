"""Decoding by libsndfile and by FFmpeg: gaps, many channels, sample formats, seeking, and what is not checked."""

import gc
import multiprocessing

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.recordings import READERS, bw64, decoded, encode, measure_audio, noise, read_every_way, refused, tone

from nes2net.data.audio.decoders import ffmpeg_blocks
from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.read import load_audio

in_mp4_and_mov = pytest.mark.parametrize("suffix", ["m4a", "mov"])


@in_mp4_and_mov
def test_all_frames_of_an_mp4_or_mov_file_with_a_gap_between_their_times_are_read(tmp_path, suffix):
    path = tmp_path / f"noise.{suffix}"
    encode(path, noise(48000), "aac", spread=8000)
    assert 47000 < len(read_every_way(path)) < 50000


@in_mp4_and_mov
def test_an_mp4_or_mov_file_whose_index_stands_in_front_is_read_to_its_end(tmp_path, suffix):
    path = tmp_path / f"noise.{suffix}"
    encode(path, noise(48000), "aac", options={"movflags": "faststart"})
    assert 47000 < len(read_every_way(path)) < 50000


def test_a_cut_mp4_file_whose_index_stands_in_front_is_refused(tmp_path):
    path = tmp_path / "noise.m4a"
    encode(path, noise(48000), "aac", options={"movflags": "faststart"})
    refused(path, r"noise\.m4a", path.read_bytes()[:-6000], [load_audio])


def test_each_of_up_to_twelve_channels_of_pcm_is_decoded_to_its_own_samples(tmp_path):
    for channels in (1, 7, 8, 12):
        samples = np.random.default_rng(0).integers(-9999, 9999, (1000, channels)).astype("<i2")
        path = tmp_path / "array.wav"
        path.write_bytes(bw64(samples.tobytes(), 1000, channels))
        for channel in range(channels):
            np.testing.assert_array_equal(
                load_audio(RecordingPart(channel=channel).of(path)), samples[:, channel] / np.float32(32768)
            )


def test_the_eight_channels_of_an_aac_file_are_counted(tmp_path):
    """PyAV's own conversion of eight channels to an array ends the process or fails."""
    path = tmp_path / "array.mka"
    encode(path, noise(38400).reshape(8, 4800), "aac", format="matroska", layout="7.1")
    assert measure_audio(path).channels == 8


@pytest.mark.parametrize(
    "codec, sample_format, tolerance",
    [("pcm_u8", "u8", 2**-7), ("pcm_s16le", "s16", 0), ("pcm_s32le", "s32", 0), ("pcm_f32le", "flt", 0),
     ("pcm_f64le", "dbl", 0), ("alac", "s16p", 0)],
)  # fmt: skip
def test_integer_and_floating_point_samples_come_out_of_ffmpeg_with_the_values_that_were_encoded(
    tmp_path, codec, sample_format, tolerance
):
    expected = (tone() * 32767).round() / np.float32(32768)
    encode(tmp_path / "tone.mka", expected, codec, sample_format, format="matroska")
    samples, _ = decoded(tmp_path / "tone.mka", ffmpeg_blocks)
    np.testing.assert_allclose(samples[0, :16000], expected, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_a_process_forked_later_does_not_wait_for_ffmpegs_threads(tmp_path):
    """PyAV's resampler leaves filters with threads to the garbage collector; a forked process would wait for them."""
    encode(tmp_path / "tone.m4a", tone(), "aac")
    gc.collect()  # PyAV's encoder has such filters too
    gc.disable()
    try:
        load_audio(tmp_path / "tone.m4a")
        process = multiprocessing.get_context("fork").Process(target=gc.collect, daemon=True)
        process.start()
    finally:
        gc.enable()
    process.join(PATIENCE)
    process.kill()
    process.join()
    assert process.exitcode == 0


def write_by_libsndfile(path):
    soundfile.write(path, noise(), 16000, format=path.suffix[1:].upper())


def write_by_ffmpeg(path):
    encode(path, noise(), "aac", format=path.suffix[1:])


@pytest.mark.parametrize(
    "name, write_file",
    [
        ("noise.voc", write_by_libsndfile),
        ("noise.ircam", write_by_libsndfile),
        ("noise.nut", write_by_ffmpeg),
        ("noise.mpegts", write_by_ffmpeg),
    ],
)
def test_formats_in_which_a_cut_cannot_be_noticed_are_read_only_if_the_environment_allows_it(
    tmp_path, monkeypatch, name, write_file
):
    path = tmp_path / name
    write_file(path)
    message = rf"{name} is of the format .*WAV or FLAC, or set .*NES2NET_UNCHECKED_AUDIO=1"
    refused(path, message, readers=(*READERS, measure_audio))
    monkeypatch.setenv("NES2NET_UNCHECKED_AUDIO", "1")
    assert len(read_every_way(path)) == pytest.approx(40000, abs=2100)
