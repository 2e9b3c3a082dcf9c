"""Decoding by FFmpeg: gaps and cuts in MP4, many channels, sample formats, and processes forked afterwards."""

import gc
import multiprocessing

import numpy as np
import pytest
from builders import PATIENCE
from builders.recordings import bw64, encode, read_every_way, tone

from nes2net import InputError
from nes2net.audio.decoders import ffmpeg_blocks
from nes2net.audio.read import load_audio, measure_audio


@pytest.mark.parametrize("suffix", ["m4a", "mov"])
def test_mp4_files_with_gaps_are_whole_and_cut_ones_are_not(tmp_path, suffix):
    noise = (0.1 * np.random.default_rng(0).standard_normal(48000)).astype(np.float32)
    path = tmp_path / f"noise.{suffix}"
    encode(path, noise, "aac", spread=8000)
    assert 47000 < len(read_every_way(path)) < 50000
    encode(path, noise, "aac", options={"movflags": "faststart"})
    assert 47000 < len(load_audio(path)) < 50000
    path.write_bytes(path.read_bytes()[:-6000])
    with pytest.raises(InputError, match=rf"noise\.{suffix}"):
        load_audio(path)


@pytest.mark.parametrize("channels", [1, 7, 8, 12])
def test_any_number_of_channels(tmp_path, channels):
    samples = np.random.default_rng(0).integers(-9999, 9999, (1000, channels)).astype("<i2")
    path = tmp_path / "array.wav"
    path.write_bytes(bw64(samples.tobytes(), 1000, channels))
    assert measure_audio(path) == (16000, channels, 1000, True)
    for channel in range(channels):
        found = load_audio(path, channel=channel)
        np.testing.assert_array_equal(found, samples[:, channel] / np.float32(32768))


def test_eight_planes(tmp_path):
    """PyAV's own conversion to an array ends the process on them (18) or raises an error (19)."""
    path = tmp_path / "array.mka"
    noise = 0.1 * np.random.default_rng(0).standard_normal((8, 4800)).astype(np.float32)
    encode(path, noise, "aac", format="matroska", layout="7.1")
    measured = measure_audio(path)
    assert measured.second_decoder and measured.channels == 8 and measured.num_samples >= 4800


@pytest.mark.parametrize(
    "codec, sample_format, tolerance",
    [("pcm_u8", "u8", 2**-7), ("pcm_s16le", "s16", 0), ("pcm_s32le", "s32", 0), ("pcm_f32le", "flt", 0),
     ("pcm_f64le", "dbl", 0), ("alac", "s16p", 0)],
)  # fmt: skip
def test_every_sample_format_comes_out_in_the_same_range(tmp_path, codec, sample_format, tolerance):
    expected = (tone() * 32767).round() / np.float32(32768)
    encode(tmp_path / "tone.mka", expected, codec, sample_format, format="matroska")
    found = np.concatenate([samples for samples, _ in ffmpeg_blocks(tmp_path / "tone.mka")], axis=1)
    assert found.dtype == np.float32 and found.shape[0] == 1
    np.testing.assert_allclose(found[0, :16000], expected, rtol=0, atol=tolerance)


def _collect(path):
    gc.collect()


def test_a_process_forked_later_does_not_wait_for_ffmpegs_threads(tmp_path):
    """PyAV's resampler leaves filters with threads to the garbage collector; a forked process would wait for them."""
    encode(tmp_path / "tone.m4a", tone(), "aac")
    gc.collect()  # PyAV's encoder has such filters too
    gc.disable()
    try:
        load_audio(tmp_path / "tone.m4a")
        process = multiprocessing.get_context("fork").Process(target=_collect, args=(tmp_path,), daemon=True)
        process.start()
    finally:
        gc.enable()
    process.join(PATIENCE)
    process.kill()
    process.join()
    assert process.exitcode == 0
