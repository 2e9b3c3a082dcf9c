"""Streams in any container: Opus, whose decoder is always libopus, streams that begin in their middle, and tags."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
from builders.ogg import begun_later, pages, with_input_rate
from builders.recordings import (
    decoded,
    encode,
    noise,
    packets_of,
    read_every_way,
    refused,
    to_mono_16k,
    tone,
    write_two_tracks,
)
from numpy.testing import assert_allclose, assert_array_equal

from nes2net.actions.flags import Reading
from nes2net.data.audio.decoders import ffmpeg_blocks, libsndfile_blocks
from nes2net.data.audio.parts import choose
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora.trial import Trial

# ---- Opus


def encode_opus(path, container):
    """Two seconds of a sweep, which libopus codes first by SILK and then by CELT."""
    time = np.arange(96000) / 48000
    sweep = 0.3 * np.sin(2 * np.pi * (100 + 1500 * time) * time)
    encode(path, sweep, "libopus", "flt", rate=48000, bit_rate=24_000, format=container)


@pytest.fixture
def ogg_opus(tmp_path):
    path = tmp_path / "sweep.ogg"
    encode_opus(path, "ogg")
    return path


@pytest.mark.parametrize("container", ["webm", "matroska"])
def test_the_container_of_opus_changes_no_sample(tmp_path, ogg_opus, container):
    copy = tmp_path / "copy"
    encode_opus(copy, container)
    assert packets_of(copy) == packets_of(ogg_opus)
    assert_array_equal(read_every_way(copy), read_every_way(ogg_opus))


@pytest.mark.parametrize("rate", [0, 8000, 44100])
def test_the_rate_in_the_header_of_opus_changes_no_sample(ogg_opus, rate):
    """That rate only tells what was encoded (RFC 7845, Sec. 5.1)."""
    waveform = load_audio(ogg_opus)
    content = with_input_rate(ogg_opus.read_bytes(), rate)
    ogg_opus.write_bytes(content)
    assert_array_equal(read_every_way(ogg_opus), waveform)


@pytest.mark.parametrize("num_samples", [-100, 1, 24, 100, 312, 5000, 480_000, 2**40])
def test_the_first_granule_position_of_opus_changes_no_sample(tmp_path, ogg_opus, num_samples):
    """In a single stream, and in the second stream of a chain."""
    content = ogg_opus.read_bytes()
    waveform = load_audio(ogg_opus)
    later = tmp_path / "later.ogg"
    later.write_bytes(begun_later(content, num_samples))
    assert_array_equal(read_every_way(later), waveform)
    chain = tmp_path / "chain.ogg"
    chain.write_bytes(content + content)
    waveform_of_chain = load_audio(chain)
    chain.write_bytes(content + later.read_bytes())
    assert_array_equal(read_every_way(chain), waveform_of_chain)


def test_opus_is_read_as_libopus_decodes_it_at_48_khz(ogg_opus):
    """FFmpeg's own decoder clicks where the coding changes. libsndfile has libopus, too."""
    content = with_input_rate(ogg_opus.read_bytes(), 48000)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        file.seek(0)  # without it, libsndfile 1.2 may keep the pre-skip
        samples = file.read(dtype="float32")
    expected = to_mono_16k(samples[None], 48000)
    assert_allclose(load_audio(ogg_opus), expected, atol=1e-6)


# ---- Streams that begin in their middle


def write_vorbis(path, num_samples):
    """Vorbis whose granule positions are larger by ``num_samples``."""
    soundfile.write(path, noise(64000), 16000, format="OGG", subtype="VORBIS")
    content = begun_later(path.read_bytes(), num_samples)
    path.write_bytes(content)


def write_vorbis_without_pages(path, first_page):
    """Vorbis without the pages of audio before ``first_page``."""
    soundfile.write(path, noise(64000), 16000, format="OGG", subtype="VORBIS")
    all_pages = pages(path.read_bytes())
    path.write_bytes(b"".join(all_pages[:2] + all_pages[first_page:]))


def write_mp3(path, first_packet):
    """MP3 without the frames before ``first_packet``."""
    encode(path, noise(64000), "libmp3lame", format="mp3", first_packet=first_packet)


@pytest.mark.parametrize(
    ("write", "start"),
    [
        (write_vorbis, 1),
        (write_vorbis, 100),
        (write_vorbis, 480_000),
        (write_vorbis_without_pages, 4),
        (write_mp3, 0),
        (write_mp3, 1),
        (write_mp3, 9),
    ],
)
def test_libsndfile_ffmpeg_and_every_reader_begin_a_stream_at_the_same_sample(tmp_path, write, start):
    path = tmp_path / "noise"
    write(path, start)
    by_libsndfile, _ = decoded(path, libsndfile_blocks)
    by_ffmpeg, _ = decoded(path, ffmpeg_blocks)
    assert_allclose(by_ffmpeg, by_libsndfile, atol=1e-5)
    assert_array_equal(read_every_way(path), by_libsndfile[0])


def test_vorbis_without_one_of_its_pages_is_refused_as_cut_off(tmp_path):
    """FFmpeg would go on at another sample, where libsndfile ends."""
    path = tmp_path / "noise.ogg"
    write_vorbis(path, 0)
    all_pages = pages(path.read_bytes())
    content = b"".join(all_pages[:3] + all_pages[4:])
    refused(path, "is cut off: its header announces 64,000 samples", content, (load_audio, read_every_way))


@pytest.mark.parametrize("container, rate", [("matroska", 16000), ("flv", 44100)])  # FLV has no MP3 of 16 kHz
@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
@pytest.mark.parametrize("delay", [100, 160_000])
def test_a_late_first_time_stamp_changes_no_sample(tmp_path, container, rate, codec, delay):
    """The headers of Matroska and FLV files then state the time of the end, not the length."""
    path = tmp_path / "noise"
    encode(path, noise(), codec, format=container, rate=rate)
    waveform = load_audio(path)
    encode(path, noise(), codec, format=container, rate=rate, delay=delay)
    assert_array_equal(load_audio(path), waveform)


# ---- Apple Lossless in CAF


def with_table(content, num_valid, num_padding):
    """The CAF file with these numbers in its packet table."""
    start = content.index(b"pakt") + 20
    return content[:start] + struct.pack(">Qii", num_valid, 0, num_padding) + content[start + 16 :]


@pytest.mark.parametrize("num_valid, num_padding", [(40000, 960), (40960, 0)])
def test_a_last_packet_of_fewer_samples_is_no_cut(tmp_path, num_valid, num_padding):
    """Programs state the samples, or those that full packets would have: here ten of 4,096."""
    path = tmp_path / "noise.caf"
    encode(path, noise(), "alac", "s16p")
    path.write_bytes(with_table(path.read_bytes(), num_valid, num_padding))
    expected = np.trunc(noise() * 32768) / np.float32(32768)
    assert_array_equal(read_every_way(path), expected)


@pytest.mark.parametrize("num_valid, num_padding", [(40001, 959), (45056, 0)])
def test_apple_lossless_with_fewer_samples_than_its_packet_table_states_is_refused(tmp_path, num_valid, num_padding):
    path = tmp_path / "noise.caf"
    encode(path, noise(), "alac", "s16p")
    refused(path, "40,000 could be decoded", with_table(path.read_bytes(), num_valid, num_padding))


# ---- Audio tracks


@pytest.fixture
def two_tracks(tmp_path):
    return write_two_tracks(tmp_path / "two.mkv")


def test_of_several_audio_tracks_the_first_is_read_with_a_remark(two_tracks, capsys):
    assert_allclose(load_audio(two_tracks), tone(), atol=1e-4)
    assert f"{two_tracks}: audio track 0 of 2 (from 0) is read" in capsys.readouterr().err


def test_a_flag_of_the_commands_chooses_another_audio_track_only_of_its_trials(two_tracks):
    (trial,) = Reading(audio_track=1).choose([Trial("a", two_tracks)])
    assert_allclose(read_every_way(trial.recording()), noise(16000), atol=1e-4)
    assert_allclose(load_audio(two_tracks), tone(), atol=1e-4)


@pytest.mark.parametrize("suffix", ["mkv", "wav"])
def test_an_audio_track_that_a_file_lacks_is_refused(tmp_path, suffix):
    path = tmp_path / f"noise.{suffix}"
    encode(path, noise(), "pcm_s16le", "s16")
    refused(choose(path, track=1), "has 1 audio track, counted from 0, so there is no track 1")


# ---- Tags

TITLE = "Gruss "
LATIN_1_TITLE = "Gr\xfc\xdfe ".encode("latin-1")


@pytest.mark.parametrize(
    "kind",
    [
        "mp4 aac fltp 16000",
        "avi pcm_s16le s16 16000",
        "matroska aac fltp 16000",
        "webm libopus flt 48000",
        "flv aac fltp 16000",
        "wv wavpack s16p 16000",
        "tta tta s16 16000",
        "mp3 libmp3lame fltp 16000",
        "wav pcm_s16le s16 16000",
        "flac flac s16 16000",
        "aiff pcm_s16be s16 16000",
        "caf pcm_s16le s16 16000",
    ],
)
def test_tags_in_another_encoding_change_no_sample(tmp_path, kind):
    """Title, artist, names of streams and chapters, and the name of the file: none of them is used."""
    container, codec, sample_format, rate = kind.split()
    path = tmp_path / os.fsdecode(b"caf\xe9")
    encode(path, noise(), codec, sample_format, rate=int(rate), format=container, title=TITLE)
    waveform = load_audio(path)
    content = path.read_bytes()
    assert TITLE.encode() in content
    path.write_bytes(content.replace(TITLE.encode(), LATIN_1_TITLE))
    assert_array_equal(read_every_way(path), waveform)
