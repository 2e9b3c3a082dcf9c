"""Files that are whole although their headers are odd, and files that are not: MP3, MP4, Ogg, WAV of many writers."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from nes2net import InputError
from nes2net.audio.integrity import missing_audio, read_flac_header
from nes2net.audio.read import (
    count_samples,
    decode_audio,
    load_audio,
    load_excerpt,
    load_head,
    stream_audio,
    to_mono_16k,
)
from nes2net.corpora.decoding import decode


@pytest.fixture
def tone():
    time = np.arange(16000) / 16000
    return (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def read_every_way(path):
    """Samples, which every reader must give alike."""
    whole = load_audio(path)
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path))), whole, rtol=0, atol=1e-7)
    assert abs(count_samples(path) - len(whole)) <= 1
    np.testing.assert_allclose(load_excerpt(path, 1000, 3000), whole[1000:4000], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(load_head(path, 2000), whole[:2000])
    return whole


def wav(samples, riff=None, data=None, behind=b"", before=b"", channels=1, bits=16):
    """A WAV file of bytes ``samples`` whose header states other sizes than it has."""
    frame = channels * bits // 8
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, 16000, 16000 * frame, frame, bits) + before
    chunks += b"data" + struct.pack("<I", len(samples) if data is None else data) + samples + behind
    return b"RIFF" + struct.pack("<I", len(chunks) + 4 if riff is None else riff) + b"WAVE" + chunks


LIST = b"LIST" + struct.pack("<I", 12) + b"INFOISFT" + bytes(4)


@pytest.mark.parametrize(
    "sizes",
    [
        {"data": 32000 + 8},  # with the chunk's own header
        {"data": 32000 + 36},  # what RIFF's size is
        {"data": 32000 + 44},  # that of the file
        {"data": 32000 + 1},  # with a byte of padding, or of nothing
        {"data": 0, "riff": 0},  # a recorder that was killed
        {"data": 0},
        {"riff": 0},
        {"riff": 0xFFFFFFFF, "data": 0xFFFFFFFF},  # to a pipe, by FFmpeg
        {"riff": 0x7FFFF024, "data": 0x7FFFF000},  # by SoX
        {"riff": 0x80000024, "data": 0x80000000},  # by arecord
        {"behind": LIST},
        {"before": LIST},
    ],
)
def test_whole_wav_files_with_wrong_sizes(tone, tmp_path, sizes):
    samples = (tone * 32767).astype("<i2")
    (tmp_path / "tone.wav").write_bytes(wav(samples.tobytes(), **sizes))
    np.testing.assert_array_equal(read_every_way(tmp_path / "tone.wav"), samples / np.float32(32768))


def test_wav_files_without_samples_and_with_too_few(tone, tmp_path):
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(b"", behind=LIST))  # none indeed: what follows is no audio
    for reader in (load_audio, lambda path: list(stream_audio(path))):
        with pytest.raises(InputError, match=r"tone\.wav has no samples"):
            reader(path)
    assert count_samples(path) == 0
    samples = (tone * 32767).astype("<i2").tobytes()
    for missing in (2, 10, 100):
        path.write_bytes(wav(samples, data=32000 + missing))
        with pytest.raises(InputError, match="cut off"):
            load_audio(path)


@pytest.mark.parametrize(
    "file_format, subtype",
    [("WAV", "G721_32"), ("AU", "G723_24"), ("AU", "G723_40"), ("WAV", "NMS_ADPCM_32"), ("XI", "DPCM_16")],
)
def test_codecs_in_which_libsndfile_cannot_seek(tone, tmp_path, file_format, subtype):
    path = tmp_path / "tone"
    soundfile.write(path, tone, 8000, format=file_format, subtype=subtype)
    waveform = read_every_way(path)
    rate = 44100 if file_format == "XI" else 8000  # XI has one rate
    expected = to_mono_16k(tone, rate)
    assert 0 <= len(waveform) - len(expected) < 400  # whole blocks
    assert np.corrcoef(waveform[: len(expected)], expected)[0, 1] > 0.99
    assert not decode_audio(path).second_decoder


@pytest.mark.parametrize("scale, refused", [(1.0, False), (4.0, False), (32768.0, True)])
def test_floating_point_files_far_outside_of_the_range(tone, tmp_path, scale, refused):
    path = tmp_path / "tone.wav"
    soundfile.write(path, scale * tone, 16000, subtype="FLOAT")
    assert bool(decode(path).error) == refused
    for reader in (load_audio, lambda path: list(stream_audio(path)), lambda path: load_excerpt(path, 10, 1000)):
        if refused:
            with pytest.raises(InputError, match=r"tone\.wav has samples that reach .*divide by full scale"):
                reader(path)
        else:
            reader(path)


# ---- MP3 and MP4


def encode(path, samples, codec, sample_format="fltp", spread=0, quality=None, **container):
    """Encode by FFmpeg; ``spread`` is by how much the time stamps of packets from the middle on are later."""
    if sample_format.startswith("s16"):
        samples = (samples * 32767).astype(np.int16)
    with av.open(str(path), "w", **container) as output:
        stream = output.add_stream(codec, rate=16000, layout="mono")
        if quality is not None:
            stream.codec_context.flags |= 2
            stream.codec_context.global_quality = 118 * quality
        frame = av.AudioFrame.from_ndarray(samples[None], format=sample_format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        packets = [*stream.encode(frame), *stream.encode(None)]
        for packet in packets[len(packets) // 2 :] if spread else ():
            packet.pts += spread
            packet.dts += spread
        output.mux(packets)


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


@pytest.fixture
def variable_mp3(tmp_path):
    """An MP3 file of variable bit rate with a Xing header, and where the header is."""
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(16000)).astype(np.float32)
    samples = np.concatenate([noise, np.zeros(32000, np.float32), noise, noise])
    encode(tmp_path / "clean.mp3", samples, "libmp3lame", quality=4, options={"id3v2_version": "0"})
    content = (tmp_path / "clean.mp3").read_bytes()
    return content, content.index(b"Xing")


def test_what_mp3_files_say_of_their_length(variable_mp3, tmp_path):
    """A header without a number of frames, one that libsndfile does not know (VBRI), tags before and behind: every sample is read."""
    content, at = variable_mp3
    no_number = bytearray(content)
    no_number[at + 4 : at + 8] = bytes(4)
    frames = int.from_bytes(content[at + 8 : at + 12], "big")
    vbri = bytearray(content)
    vbri[at:200] = bytes(200 - at)
    vbri[36 : 36 + 26] = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 50, len(content), frames, 0, 1, 2, 9)
    tag = b"ID3\3\0\0\0\0\x10\0" + bytes(2048)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 5032, 0, 0) + bytes(8)
    files = {
        "no_number": bytes(no_number),
        "vbri": bytes(vbri),
        "tags": tag + tag + content,
        "behind": content + bytes(5000) + ape + b"TAG" + bytes(125),
        "clean": content,
    }
    for name, changed in files.items():
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(changed)
        assert len(read_every_way(path)) == pytest.approx(80000, abs=3000), name
        assert decode_audio(path).second_decoder == (name in ("no_number", "vbri")), name


def test_mp3_files_joined_to_one_are_not_read_by_half(variable_mp3, tmp_path):
    content, _ = variable_mp3
    path = tmp_path / "joined.mp3"
    path.write_bytes(content + content)
    try:
        assert len(load_audio(path)) > 155000
    except InputError as error:
        assert "joined.mp3" in str(error)


# ---- Ogg, and FLAC in other containers


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_no_damage_of_ogg_goes_unnoticed(tmp_path, subtype):
    """Both decoders leave out a page whose checksum is wrong, up to a second."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.ogg"
    soundfile.write(path, 0.1 * rng.standard_normal(48000), 16000, format="OGG", subtype=subtype)
    content = path.read_bytes()
    whole = read_every_way(path)
    (tmp_path / "tag.ogg").write_bytes(content + b"TAG" + bytes(125))
    np.testing.assert_array_equal(load_audio(tmp_path / "tag.ogg"), whole)
    last_page = content.rindex(b"OggS")
    path.write_bytes(content[:last_page])  # a recorder that was stopped: it is as long as it is
    assert len(load_audio(path)) < len(whole)
    for place in rng.integers(0, len(content), 40).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        for changed in (damaged, content[:place]):
            path.write_bytes(changed)
            if place == 0 or changed in (content[: content.index(b"OggS", 1)], content[:last_page]):
                continue
            for reader in (load_audio, count_samples, lambda path: list(stream_audio(path))):
                with pytest.raises(InputError, match=r"noise\.ogg"):
                    reader(path)


@pytest.mark.parametrize("container", ["ogg", "matroska"])
def test_flac_in_other_containers(tone, tmp_path, container):
    path = tmp_path / "tone.audio"
    encode(path, tone, "flac", "s16", format=container)
    content = path.read_bytes()
    expected = (tone * 32767).astype(np.int16) / np.float32(32768)
    np.testing.assert_array_equal(load_audio(path), expected)
    for place in np.linspace(len(content) // 3, len(content) - 100, 20).astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            waveform = load_audio(path)
        except InputError:
            continue
        np.testing.assert_array_equal(waveform, expected, err_msg=str(place))  # of no consequence, as in a seek table


def test_a_tag_before_flac_hides_no_damage(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.flac"
    soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000)
    content, tag = path.read_bytes(), b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    for place in rng.integers(300, len(content), 8).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        for changed in (damaged, content[:place]):
            path.write_bytes(tag + changed)
            with pytest.raises(InputError, match=r"noise\.flac"):
                load_audio(path)


@pytest.mark.parametrize("file_format, subtype", [("W64", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16")])
def test_other_files_that_were_cut_off(tone, tmp_path, file_format, subtype):
    path = tmp_path / "tone"
    soundfile.write(path, tone, 16000, format=file_format, subtype=subtype)
    assert len(read_every_way(path)) == 16000
    content = path.read_bytes()
    for length in (len(content) - 200 if subtype == "PCM_16" else len(content) - 5000, len(content) // 2):
        path.write_bytes(content[:length])
        for reader in (load_audio, count_samples):
            with pytest.raises(InputError, match="cut off" if subtype == "PCM_16" else "tone"):
                reader(path)


def test_bw64(tone, tmp_path):
    """As RF64 (ITU-R BS.2088), which libsndfile does not know: FFmpeg reads as much as there is."""
    samples = (tone * 32767).astype("<i2").tobytes()
    content = bytearray(wav(samples, riff=0xFFFFFFFF, data=0xFFFFFFFF))
    content[:4] = b"BW64"
    content[12:12] = b"ds64" + struct.pack("<IQQQI", 28, len(content) + 28, len(samples), len(tone), 0)
    path = tmp_path / "tone.wav"
    path.write_bytes(content)
    assert len(read_every_way(path)) == 16000
    path.write_bytes(content[:20000])
    with pytest.raises(InputError, match="cut off: its header announces 16,000 samples"):
        load_audio(path)


def test_a_file_of_zeros_is_no_endless_list_of_chunks(tmp_path):
    reads = []

    class Zeros(io.BytesIO):
        def read(self, *size):
            reads.append(size)
            return super().read(*size)

    for name in (b"RIFF\xff\xff\xff\xffWAVE", b"caff\0\1\0\0", b"riff" + bytes(20) + b"wave" + bytes(12)):
        assert missing_audio(Zeros(name + bytes(1 << 20))) is None
    assert missing_audio(Zeros(b"RIFF\xff\xff\xff\xffWAVE" + b"JUNK\0\0\0\0" * 50_000)) is None
    stream_info = b"fLaC\0\0\0\x22" + bytes(34)
    assert read_flac_header(Zeros(stream_info + bytes(1 << 20))) is not None
    assert len(reads) < 25_000
