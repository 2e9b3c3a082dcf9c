"""FLAC: damage that the headers and the MD5 sum show, tags before the stream, other containers."""

import numpy as np
import pytest
import soundfile
from builders.recordings import READERS, encode, tone

from nes2net import InputError
from nes2net.audio.frames import exceeds_length, read_flac_header
from nes2net.audio.read import load_audio, measure_audio
from nes2net.corpora.decoding import decode

TAG = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)


@pytest.mark.parametrize("container", ["ogg", "matroska"])
def test_flac_in_other_containers(tmp_path, container):
    path = tmp_path / "tone.audio"
    encode(path, tone(), "flac", "s16", format=container)
    content = path.read_bytes()
    expected = (tone() * 32768).astype(np.int16) / np.float32(32768)
    np.testing.assert_array_equal(load_audio(path), expected)
    for place in np.linspace(len(content) // 3, len(content) - 100, 20).astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            waveform = load_audio(path)
        except InputError:
            continue
        np.testing.assert_array_equal(waveform, expected, err_msg=str(place))  # harmless, as in a seek table


def test_a_tag_before_flac_hides_no_damage(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.flac"
    soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000)
    content = path.read_bytes()
    for place in rng.integers(300, len(content), 8).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        for changed in (damaged, content[:place]):
            path.write_bytes(TAG + changed)
            with pytest.raises(InputError, match=r"noise\.flac"):
                load_audio(path)


@pytest.mark.parametrize("announced, before", [(1, b""), (3000, TAG), (4096, b""), (8192, TAG), (11_999, b"")])
def test_a_header_that_announces_too_few_samples_is_noticed(tmp_path, announced, before):
    """libsndfile stops there without a word."""
    path = tmp_path / "noise.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(12_000), 16000)
    content = bytearray(path.read_bytes())
    content[22:26] = announced.to_bytes(4, "big")
    path.write_bytes(content)
    assert len(soundfile.read(path)[0]) == announced
    path.write_bytes(before + content)
    for reader in READERS:
        with pytest.raises(InputError, match=f"noise.flac .*announces {announced:,} samples, 12,000 could be decoded"):
            reader(path)


def test_the_last_frame_of_whole_files_ends_where_the_header_says(tmp_path):
    """For all lengths and ways to write the size of a block and the rate."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.flac"
    for length in (1, 191, 192, 256, 576, 1152, 4095, 4096, 4097, 65_536):
        for rate in (8000, 11_025, 12_345, 16_000, 192_000):
            soundfile.write(path, 0.1 * rng.standard_normal(length), rate)
            assert not measure_audio(path).second_decoder
            content = bytearray(path.read_bytes())
            content[22:26] = (length - 1 or length + 1).to_bytes(4, "big")
            path.write_bytes(content)
            with open(path, "rb") as file:
                assert exceeds_length(file, read_flac_header(file)) == (length > 1)


def test_the_md5_sum_is_compared_when_a_file_is_measured(tmp_path):
    path = tmp_path / "noise.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(12_000), 16000)
    assert not measure_audio(path).second_decoder
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    assert measure_audio(path).second_decoder and decode(path).second_decoder
