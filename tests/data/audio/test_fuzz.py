"""Audio files of many kinds and with many faults: each gives its samples or a named failure."""

import numpy as np
import pytest
import soundfile
from builders import slow
from builders.recordings import encode, noise, to_mono_16k
from numpy.testing import assert_allclose, assert_array_equal

from nes2net import InputError
from nes2net.data.audio.read import count_samples, load_audio, stream_audio

RATE = 16000
SAMPLES = noise(12000)


def read(path):
    """The samples, or the error, that both readers agree on."""
    results = []
    for reader in (load_audio, lambda path: np.concatenate(list(stream_audio(path)))):
        try:
            results.append(reader(path))
        except InputError as error:
            assert path.name in str(error)
            results.append(error)
    first, second = results
    assert isinstance(first, InputError) == isinstance(second, InputError), results
    if not isinstance(first, InputError):
        assert_allclose(second, first, rtol=0, atol=1e-7)
    return first


# ---- whole files


def test_whole_files_of_many_kinds_have_the_samples_that_were_written(tmp_path):
    """Rates, channels, sample types and containers, compared with the resampled samples themselves."""
    tolerances = {"PCM_16": 2**-15, "PCM_24": 2**-23, "FLOAT": 0, "DOUBLE": 1e-7, "ULAW": 0.01, "ALAW": 0.01}
    for kind in (
        *("FLAC PCM_16 8000 1", "FLAC PCM_16 44100 1", "FLAC PCM_16 192000 1", "FLAC PCM_24 16000 2"),
        *("WAV PCM_16 16000 1", "WAV PCM_16 16000 2", "WAV PCM_16 16000 5", "WAV PCM_16 16000 8", "WAV PCM_24 16000 3"),
        *("WAV FLOAT 16000 1", "WAV DOUBLE 16000 1", "WAV ULAW 16000 1", "WAV ALAW 16000 1", "RF64 PCM_16 16000 1"),
        *("AIFF PCM_16 16000 1", "W64 PCM_16 16000 1", "AU PCM_16 16000 1", "NIST PCM_16 16000 1"),
    ):
        file_format, subtype, rate, channels = kind.split()
        path = tmp_path / kind
        data = np.stack([np.roll(SAMPLES, 100 * c) for c in range(int(channels))], axis=1)
        soundfile.write(path, data, int(rate), format=file_format, subtype=subtype)
        clean = to_mono_16k(data.T, int(rate))
        assert_allclose(read(path), clean, rtol=0, atol=2 * tolerances[subtype] + 1e-7, err_msg=kind)


def test_every_reader_finds_all_samples_of_unusual_flac_files(tmp_path):
    """No length or MD5 sum in the header, a tag before or behind the stream."""
    soundfile.write(tmp_path / "clean.flac", SAMPLES, RATE)
    data = (tmp_path / "clean.flac").read_bytes()
    expected = load_audio(tmp_path / "clean.flac")
    path = tmp_path / "unusual.flac"
    for content in (
        data[:21] + bytes([data[21] & 0xF0]) + bytes(20) + data[42:],  # no length
        b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + data,
        data + b"TAG" + bytes(125),
        data[:26] + bytes(16) + data[42:],  # no MD5 sum
    ):
        path.write_bytes(content)
        assert_array_equal(read(path), expected)
        assert count_samples(path) == len(expected)


SINE = np.sin(2 * np.pi * np.arange(4096) / 100)
MD5_SUMS = (bytes(16), bytes(range(16)))


def test_flac_with_samples_beyond_16_bits_is_read_as_ffmpeg_wraps_them_round(tmp_path):
    """Samples beyond 16 bits: encoders before libFLAC 1.4 wrote them, later decoders refuse them.

    The files are whole and are read in spite of the MD5 sum in their header, which is often wrong.
    """
    path = tmp_path / "speech.flac"
    values = np.round(34000 * SINE).astype(int)
    wrapped = (values + 32768) % 65536 - 32768
    for md5 in MD5_SUMS:
        path.write_bytes(one_frame_of_flac(values, md5))
        with pytest.raises(RuntimeError):
            soundfile.read(path)
        assert_array_equal(read(path), wrapped / np.float32(32768))


def one_frame_of_flac(values, md5):
    """A FLAC file of 4,096 samples at 16 kHz, with one frame of differences (RFC 9639) of any size."""
    header = bytes([0xFF, 0xF8, 0b1100_0101, 0b0000_1000, 0])
    header += bytes([cyclic_redundancy(header, 0x07, 8)])
    # predictor of order 1, its first sample, one Rice partition
    bits = f"00010010{values[0] & 0xFFFF:016b}000000{12:04b}"
    for difference in np.diff(values).tolist():
        folded = 2 * difference if difference >= 0 else -2 * difference - 1
        bits += "0" * (folded >> 12) + f"1{folded & 0xFFF:012b}"
    bits += "0" * (-len(bits) % 8)
    frame = header + int(bits, 2).to_bytes(len(bits) // 8, "big")
    frame += cyclic_redundancy(frame, 0x8005, 16).to_bytes(2, "big")
    sizes = (4096).to_bytes(2, "big") * 2 + bytes(6)
    info = sizes + (RATE << 44 | 15 << 36 | 4096).to_bytes(8, "big") + md5
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + frame


def cyclic_redundancy(data, polynomial, width):
    value = 0
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = ((value << 1) ^ (polynomial if value >> (width - 1) else 0)) & (1 << width) - 1
    return value


# ---- damaged files


def write_native_flac(path, subtype):
    soundfile.write(path, np.c_[SAMPLES, -SAMPLES], 32000, format="FLAC", subtype=subtype)


def write_flac_in(path, container):
    encode(path, SAMPLES, "flac", "s16", format=container)


@pytest.mark.parametrize(
    "write_flac, kind, first, end",
    [
        (write_native_flac, "PCM_16", 0, 200),
        *slow((write_native_flac, "PCM_24", 0, 200), (write_flac_in, "ogg", 2000, 8000)),
        (write_flac_in, "matroska", 2000, 8000),
    ],
)
def test_no_flipped_byte_of_flac_changes_a_sample_unnoticed(tmp_path, write_flac, kind, first, end):
    """A lenient FFmpeg decodes a third of the damaged files to other samples without an error."""
    path = tmp_path / "flipped.audio"
    rng = np.random.default_rng(1)
    write_flac(path, kind)
    expected = load_audio(path)
    content = path.read_bytes()
    refused = 0
    random_places = rng.integers(200, len(content), 60).tolist()
    for offset in (*range(first, first + 46), *range(46, end, end // 30), *random_places):
        damaged = bytearray(content)
        damaged[offset] ^= int(rng.choice([1 << rng.integers(8), rng.integers(1, 256)]))
        path.write_bytes(damaged)
        waveform = read(path)
        if isinstance(waveform, InputError):
            refused += 1
        else:  # harmless, as in a comment
            assert_array_equal(waveform, expected, err_msg=str(offset))
    assert refused > 60


def test_a_wrong_checksum_of_flac_is_refused_unless_the_md5_sum_shows_intact_samples(tmp_path):
    """Both decoders refuse the last frame. If the header has an MD5 sum, it shows that the samples are right."""
    path = tmp_path / "damaged.flac"
    soundfile.write(path, SAMPLES, RATE)
    expected = load_audio(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert_array_equal(read(path), expected)
    content[26:42] = bytes(16)
    path.write_bytes(content)
    assert isinstance(read(path), InputError)
