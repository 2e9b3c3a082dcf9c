"""Decoding by libsndfile and by FFmpeg: gaps, many channels, sample formats, seeking, and what is not checked.

Also: Opus, streams that begin in their middle, and tags.
"""

import gc
import io
import multiprocessing
import os

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.ogg import begun_later, pages, with_input_rate
from builders.recordings import READERS, bw64, encode, noise, packets_of, read_every_way, refused, tone

from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.decoders import ffmpeg_blocks, libsndfile_blocks
from nes2net.data.audio.packed import ChannelOf
from nes2net.data.audio.read import load_audio, measure_audio
from nes2net.data.audio.waveform import to_mono_16k


@pytest.mark.parametrize("suffix", ["m4a", "mov"])
def test_mp4_files_with_gaps_are_whole_and_cut_ones_are_not(tmp_path, suffix):
    path = tmp_path / f"noise.{suffix}"
    for options in ({"spread": 8000}, {"options": {"movflags": "faststart"}}):
        encode(path, noise(48000), "aac", **options)
        assert 47000 < len(read_every_way(path)) < 50000
    refused(path, rf"noise\.{suffix}", path.read_bytes()[:-6000], [load_audio])


def test_any_number_of_channels(tmp_path):
    """On eight planes PyAV's own conversion to an array ends the process (18) or raises an error (19)."""
    for channels in (1, 7, 8, 12):
        samples = np.random.default_rng(0).integers(-9999, 9999, (1000, channels)).astype("<i2")
        path = tmp_path / "array.wav"
        path.write_bytes(bw64(samples.tobytes(), 1000, channels))
        assert measure_audio(path) == (16000, channels, 1000, True)
        for channel in range(channels):
            np.testing.assert_array_equal(load_audio(ChannelOf(path, channel)), samples[:, channel] / np.float32(32768))
    path = tmp_path / "array.mka"
    encode(path, noise(38400).reshape(8, 4800), "aac", format="matroska", layout="7.1")
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


@pytest.mark.parametrize("name", ["noise.voc", "noise.ircam", "noise.nut", "noise.mpegts"])
def test_formats_in_which_a_cut_cannot_be_noticed_are_read_only_when_asked_for(tmp_path, monkeypatch, name):
    path, kind = tmp_path / name, name[6:]
    if kind in ("nut", "mpegts"):
        encode(path, noise(), "aac", format=kind)
    else:
        soundfile.write(path, noise(), 16000, format=kind.upper())
    said = rf"{name} is of the format .*WAV or FLAC, or set .*NES2NET_UNCHECKED_AUDIO=1"
    refused(path, said, readers=(*READERS, measure_audio))
    monkeypatch.setenv("NES2NET_UNCHECKED_AUDIO", "1")
    assert len(read_every_way(path)) == pytest.approx(40000, abs=2100)


# ---- Opus


def opus(container):
    """Two seconds of a sweep, which libopus codes first by SILK and then by CELT."""
    time = np.arange(96000) / 48000
    sweep = 0.3 * np.sin(2 * np.pi * (100 + 1500 * time) * time)
    codec = {"codec": "libopus", "sample_format": "flt", "rate": 48000, "bit_rate": 24_000}
    return {"samples": sweep, "format": container, **codec}


@pytest.fixture
def ogg_opus(tmp_path):
    path = tmp_path / "sweep.ogg"
    encode(path, **opus("ogg"))
    return path


@pytest.mark.parametrize("container", ["webm", "matroska"])
def test_the_container_of_opus_changes_no_sample(tmp_path, ogg_opus, container):
    other = tmp_path / "other"
    encode(other, **opus(container))
    assert packets_of(other) == packets_of(ogg_opus)
    np.testing.assert_array_equal(read_every_way(other), read_every_way(ogg_opus))


@pytest.mark.parametrize("rate", [0, 8000, 16000, 24000, 44100])
def test_the_rate_in_the_header_of_opus_changes_no_sample(ogg_opus, rate):
    """It is the rate of what was encoded (RFC 7845, Sec. 5.1)."""
    whole = load_audio(ogg_opus)
    ogg_opus.write_bytes(with_input_rate(ogg_opus.read_bytes(), rate))
    np.testing.assert_array_equal(read_every_way(ogg_opus), whole)


@pytest.mark.parametrize("num_samples", [-100, 1, 24, 100, 312, 5000, 480_000, 2**40])
def test_opus_may_begin_at_any_granule_position(tmp_path, ogg_opus, num_samples):
    whole = load_audio(ogg_opus)
    later = tmp_path / "later.ogg"
    later.write_bytes(begun_later(ogg_opus.read_bytes(), num_samples))
    np.testing.assert_array_equal(read_every_way(later), whole)
    np.testing.assert_array_equal(AudioCache(tmp_path / "cache").load(later), whole)
    # Chains of two streams.
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(2 * ogg_opus.read_bytes())
    whole_chain = load_audio(chain)
    chain.write_bytes(ogg_opus.read_bytes() + later.read_bytes())
    np.testing.assert_array_equal(read_every_way(chain), whole_chain)


def test_opus_is_what_libopus_decodes_at_48_khz(ogg_opus):
    """FFmpeg's own decoder clicks where the mode of coding changes. libsndfile has libopus, too."""
    content = with_input_rate(ogg_opus.read_bytes(), 48000)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        file.seek(0)  # without it, libsndfile 1.2 may keep the pre-skip
        samples = file.read(dtype="float32")
    np.testing.assert_allclose(load_audio(ogg_opus), to_mono_16k(samples[None], 48000), atol=1e-6)
    assert measure_audio(ogg_opus) == (48000, 1, 96000, True)


def test_an_ffmpeg_without_libopus_is_named(ogg_opus, monkeypatch):
    monkeypatch.setattr("nes2net.data.audio.decoders._OPUS_DECODER", "libnothing")
    refused(ogg_opus, "not used for Opus.* nor FFmpeg .*built without libopus: install PyAV", readers=READERS)


# ---- Streams that begin in their middle


def both_decoders(path):
    """The samples (channels, N) by libsndfile and by FFmpeg."""
    return [
        np.concatenate([samples for samples, _ in blocks], axis=1)
        for blocks in (libsndfile_blocks(path, None), ffmpeg_blocks(path))
    ]


def vorbis(path, num_samples):
    soundfile.write(path, noise(64000), 16000, format="OGG", subtype="VORBIS")
    path.write_bytes(begun_later(path.read_bytes(), num_samples))


def vorbis_without_page(path, number):
    soundfile.write(path, noise(64000), 16000, format="OGG", subtype="VORBIS")
    all_pages = pages(path.read_bytes())
    path.write_bytes(b"".join(all_pages[:2] + all_pages[number:]))


def mp3(path, first_packet):
    encode(path, noise(64000), "libmp3lame", format="mp3", first_packet=first_packet)


@pytest.mark.parametrize(
    "make, value, length",
    [(vorbis, 1, 64000), (vorbis, 100, 64000), (vorbis, 480_000, 64000), (vorbis_without_page, 4, None),
     (mp3, 0, 64000), (mp3, 1, None), (mp3, 9, None)],
)  # fmt: skip
def test_both_decoders_begin_a_stream_at_the_same_sample(tmp_path, make, value, length):
    path = tmp_path / "noise"
    make(path, value)
    by_libsndfile, by_ffmpeg = both_decoders(path)
    np.testing.assert_allclose(by_ffmpeg, by_libsndfile, atol=1e-5)
    assert len(read_every_way(path)) == (length or by_libsndfile.shape[1])


@pytest.mark.parametrize("container, codec", [("matroska", "aac"), ("matroska", "libmp3lame"), ("flv", "aac")])
@pytest.mark.parametrize("delay", [100, 160_000])
def test_the_time_stamps_of_a_recording_may_begin_late(tmp_path, container, codec, delay):
    """Its header then states when it ends."""
    path = tmp_path / "noise"
    encode(path, noise(), codec, format=container)
    whole = load_audio(path)
    encode(path, noise(), codec, format=container, delay=delay)
    np.testing.assert_array_equal(load_audio(path), whole)


# ---- Tags

TITLE = "Gruss "
LATIN_1 = "Gr\xfc\xdfe ".encode("latin-1")


@pytest.mark.parametrize(
    "kind",
    [
        *("mp4 aac fltp", "ipod aac fltp", "mov aac fltp", "3gp aac fltp", "avi pcm_s16le s16", "matroska aac fltp"),
        *("webm libopus flt", "flv aac fltp", "wv wavpack s16p", "tta tta s16", "mp3 libmp3lame fltp"),
        *("wav pcm_s16le s16", "flac flac s16", "aiff pcm_s16be s16", "caf pcm_s16le s16"),
    ],
)
def test_tags_may_have_any_encoding(tmp_path, kind):
    """Title, artist, names of streams and chapters: none of them is used."""
    container, codec, sample_format = kind.split()
    path = tmp_path / os.fsdecode(b"caf\xe9")
    rate = 48000 if codec == "libopus" else 16000
    encode(path, noise(), codec, sample_format, rate=rate, format=container, title=TITLE)
    whole = load_audio(path)
    content = path.read_bytes()
    assert TITLE.encode() in content
    path.write_bytes(content.replace(TITLE.encode(), LATIN_1))
    np.testing.assert_array_equal(read_every_way(path), whole)
