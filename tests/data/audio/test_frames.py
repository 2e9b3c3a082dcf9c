"""FLAC, MP3, MPEG and AAC streams, and Ogg: what headers and checksums tell of damage, and tags around the stream."""

import struct

import numpy as np
import pytest
import soundfile
from builders.recordings import encode, measure_audio, noise, read_every_way, refused

from nes2net.data.audio.frames import exceeds_length, read_flac_header
from nes2net.data.audio.read import count_samples, load_audio

TAG = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)


# ---- FLAC


@pytest.fixture
def flac(tmp_path):
    """A FLAC file of 12,000 samples, and its bytes."""
    path = tmp_path / "noise.flac"
    soundfile.write(path, noise(12_000), 16000)
    return path, bytearray(path.read_bytes())


@pytest.mark.parametrize("announced, before", [(1, b""), (3000, TAG), (4096, b""), (8192, TAG), (11_999, b"")])
def test_a_flac_file_with_more_samples_than_its_header_announces_is_refused(flac, announced, before):
    """libsndfile alone would stop at the announced number. Also if a tag stands before the stream."""
    path, content = flac
    content[22:26] = announced.to_bytes(4, "big")
    path.write_bytes(content)
    assert len(soundfile.read(path)[0]) == announced
    refused(path, f"noise.flac .*announces {announced:,} samples, 12,000 could be decoded", before + content)


FRAME_LENGTHS = (1, 191, 192, 256, 576, 1152, 4095, 4096, 4097, 65_536)  # all codes of the size of a block
SAMPLE_RATES = (8000, 11_025, 12_345, 16_000, 192_000)  # all codes of the rate


@pytest.mark.parametrize("length", FRAME_LENGTHS)
def test_a_whole_flac_file_needs_no_second_decoder(tmp_path, length):
    """libsndfile suffices, because its last frame ends where the header says."""
    path = tmp_path / "noise.flac"
    for rate in SAMPLE_RATES:
        soundfile.write(path, noise(length), rate)
        assert not measure_audio(path).second_decoder


@pytest.mark.parametrize("length", FRAME_LENGTHS[1:])
def test_one_sample_more_than_the_header_of_a_flac_file_says_is_noticed(tmp_path, length):
    """libsndfile would leave out that sample."""
    path = tmp_path / "noise.flac"
    for rate in SAMPLE_RATES:
        soundfile.write(path, noise(length), rate)
        content = bytearray(path.read_bytes())
        content[22:26] = (length - 1).to_bytes(4, "big")
        path.write_bytes(content)
        with open(path, "rb") as file:
            assert exceeds_length(file, read_flac_header(file))


def test_a_flac_file_with_a_wrong_md5_sum_needs_the_second_decoder(flac):
    """The second decoder is FFmpeg."""
    path, content = flac
    assert not measure_audio(path).second_decoder
    content[30] ^= 1
    path.write_bytes(content)
    assert measure_audio(path).second_decoder


# ---- streams of frames, which state no length


@pytest.mark.parametrize(
    "codec, container, sample_format, options",
    [("libmp3lame", "mp3", "fltp", {"write_xing": "0"}), ("mp2", "mp2", "s16", {}), ("aac", "adts", "fltp", {})],
)
def test_an_mp3_mp2_or_aac_stream_whose_last_frame_is_incomplete_is_refused_as_cut_off(
    tmp_path, codec, container, sample_format, options
):
    path = tmp_path / "noise"
    encode(path, noise(), codec, sample_format, format=container, options=options)
    content = path.read_bytes()
    assert len(read_every_way(path)) == pytest.approx(40000, abs=3000)
    cuts = (content[:-1], content[: round(0.03 * len(content))], content + b"\xff\xf3")
    for cut in (*cuts, bytes(500) + content[:-20], TAG + bytes(500) + content[:-20]):
        refused(path, "noise is cut off: its last frame lacks", cut)


# ---- MP3 files that state their length


@pytest.fixture
def variable_mp3(tmp_path):
    """An MP3 file of variable bit rate with a Xing header, and where the header is."""
    samples = np.concatenate([noise(16000), np.zeros(32000, np.float32), noise(16000), noise(16000)])
    encode(tmp_path / "clean.mp3", samples, "libmp3lame", quality=4, options={"id3v2_version": "0"})
    content = (tmp_path / "clean.mp3").read_bytes()
    return content, content.index(b"Xing")


def assert_read_to_its_end(path, content, length=80_000):
    """``content``, made of ``variable_mp3``, gives so many samples, of which the last ones are loud."""
    path.write_bytes(content)
    waveform = read_every_way(path)
    assert len(waveform) == pytest.approx(length, abs=3000)
    assert np.abs(waveform[-14000:]).max() > 0.1


def test_every_frame_of_an_mp3_file_is_read(variable_mp3, tmp_path):
    """Also without a stated number of frames, between tags, and in two files joined to one."""
    content, xing_offset = variable_mp3
    no_number = bytearray(content)
    no_number[xing_offset + 4 : xing_offset + 8] = bytes(4)
    tag = b"ID3\3\0\0\0\0\x10\0" + bytes(2048)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 1032, 0, 0) + bytes(8)
    for changed, length in (
        (no_number, 80_000),  # libsndfile would stop at the length that it guesses, a fifth of the file
        (tag + tag + content, 80_000),
        (content + bytes(1000) + ape + b"TAG" + bytes(125), 80_000),
        (content, 80_000),
        (content * 2, 160_000),  # libsndfile would stop at the end of the first one
    ):
        assert_read_to_its_end(tmp_path / "noise.mp3", changed, length)


of_too_few_stated_frames = pytest.mark.parametrize("stated_frames", [0, 60])
STATES_BYTES = 2  # a flag of a Xing header


@of_too_few_stated_frames
@pytest.mark.parametrize("name, unset_flag", [(b"Xing", 0), (b"Xing", STATES_BYTES), (b"Info", 0)])
def test_frames_beyond_the_number_that_a_xing_or_info_header_states_are_read(
    variable_mp3, tmp_path, name, unset_flag, stated_frames
):
    """libsndfile alone would stop at the stated number."""
    content = bytearray(variable_mp3[0])
    xing_offset = variable_mp3[1]
    content[xing_offset : xing_offset + 4] = name
    content[xing_offset + 8 : xing_offset + 12] = stated_frames.to_bytes(4, "big")
    content[xing_offset + 7] &= ~unset_flag
    assert_read_to_its_end(tmp_path / "noise.mp3", content)


@of_too_few_stated_frames
def test_frames_beyond_the_number_that_a_vbri_header_states_are_read(variable_mp3, tmp_path, stated_frames):
    content = bytearray(variable_mp3[0])
    xing_offset = variable_mp3[1]
    content[xing_offset:200] = bytes(200 - xing_offset)
    content[36:62] = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 50, len(content), stated_frames, 0, 1, 2, 9)
    assert_read_to_its_end(tmp_path / "noise.mp3", content)


def test_a_cut_mp3_file_that_states_its_length_is_refused(variable_mp3, tmp_path):
    """Also within its first frames, of which FFmpeg alone reads the rest. Every reader refuses half of the file."""
    content, xing_offset = variable_mp3
    path = tmp_path / "cut.mp3"
    for length in (*range(xing_offset + 120, xing_offset + 700, 80), len(content) // 2):
        refused(
            path, r"cut\.mp3 (was read by neither|is cut off|is damaged)", content[:length], (load_audio, count_samples)
        )
    refused(path, r"cut\.mp3 is cut off: its header announces 80,\d+ samples")


EMPTY_TAG = b"ID3\3\0\0\0\0\0\0"
MANY_TAGS = r"tags\.mp3 begins with more than 16 ID3v2 tags"


def test_an_mp3_file_that_begins_with_more_than_16_tags_is_refused(variable_mp3, tmp_path):
    path = tmp_path / "tags.mp3"
    path.write_bytes(EMPTY_TAG * 16 + variable_mp3[0])
    assert len(load_audio(path)) == pytest.approx(80000, abs=3000)
    refused(path, MANY_TAGS, EMPTY_TAG * 17 + variable_mp3[0], [load_audio])


def test_an_mp3_file_of_too_many_tags_is_refused_before_libmpg123_writes_a_line_about_each(tmp_path, capfd):
    refused(tmp_path / "tags.mp3", MANY_TAGS, EMPTY_TAG * 100_000, [load_audio])
    assert not capfd.readouterr().err


# ---- Ogg


@pytest.fixture(params=["VORBIS", "OPUS"])
def ogg(tmp_path, request):
    """An Ogg file, and its samples."""
    path = tmp_path / "noise.ogg"
    soundfile.write(path, noise(48000), 16000, format="OGG", subtype=request.param)
    return path, read_every_way(path)


def test_an_ogg_file_without_its_last_page_is_read(ogg):
    """A recorder that is stopped leaves such a file."""
    path, intact = ogg
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    assert 0 < len(load_audio(path)) < len(intact)


def test_an_ogg_file_with_a_flipped_bit_is_refused(ogg):
    """Both decoders alone would leave out the page with the bit, which no longer fits its checksum."""
    rng = np.random.default_rng(0)
    content = ogg[0].read_bytes()
    for offset in rng.integers(0, len(content), 40).tolist():
        damaged = bytearray(content)
        damaged[offset] ^= 1 << int(rng.integers(8))
        refused(ogg[0], r"noise\.ogg", damaged)


def test_a_cut_ogg_file_is_refused(ogg):
    """Except a cut behind the first or in front of the last page."""
    content = ogg[0].read_bytes()
    offsets = {*np.random.default_rng(0).integers(0, len(content), 40).tolist()}
    for offset in offsets - {0, content.index(b"OggS", 1), content.rindex(b"OggS")}:
        refused(ogg[0], r"noise\.ogg", content[:offset])
