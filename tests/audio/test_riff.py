"""WAV files that are whole in spite of odd headers, and WAV files that were cut off."""

import io
import struct

import numpy as np
import pytest
from builders.recordings import bw64, read_every_way, tone, wav

from nes2net import InputError
from nes2net.audio.containers import missing_audio
from nes2net.audio.frames import read_flac_header
from nes2net.audio.read import count_samples, load_audio, stream_audio

LIST = b"LIST" + struct.pack("<I", 12) + b"INFOISFT" + bytes(4)


@pytest.mark.parametrize(
    "sizes",
    [
        {"data": 32000 + 8},  # with the chunk's own header
        {"data": 32000 + 36},  # what RIFF's size is
        {"data": 32000 + 44},  # that of the file
        {"data": 32000 + 1},  # with a byte of padding, or of nothing
        {"data": 0, "riff": 0},  # by a recorder that was killed
        {"data": 0},
        {"riff": 0},
        {"riff": 0xFFFFFFFF, "data": 0xFFFFFFFF},  # to a pipe, by FFmpeg
        {"riff": 0x7FFFF024, "data": 0x7FFFF000},  # by SoX
        {"riff": 0x80000024, "data": 0x80000000},  # by arecord
        {"behind": LIST},
        {"before": LIST},
    ],
)
def test_whole_wav_files_with_wrong_sizes(tmp_path, sizes):
    samples = (tone() * 32767).astype("<i2")
    (tmp_path / "tone.wav").write_bytes(wav(samples.tobytes(), **sizes))
    np.testing.assert_array_equal(read_every_way(tmp_path / "tone.wav"), samples / np.float32(32768))


def test_wav_files_without_samples_and_with_too_few(tmp_path):
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(b"", behind=LIST))  # truly empty: the chunk behind is not audio
    for reader in (load_audio, lambda path: list(stream_audio(path))):
        with pytest.raises(InputError, match=r"tone\.wav has no samples"):
            reader(path)
    assert count_samples(path) == 0
    samples = (tone() * 32767).astype("<i2").tobytes()
    for missing in (2, 10, 100):
        path.write_bytes(wav(samples, data=32000 + missing))
        with pytest.raises(InputError, match="cut off"):
            load_audio(path)


def test_a_bw64_file_that_was_cut_off(tmp_path):
    """FFmpeg, which reads BW64 in place of libsndfile, would read as much as there is."""
    content = bw64((tone() * 32767).astype("<i2").tobytes(), 16000)
    path = tmp_path / "tone.wav"
    path.write_bytes(content)
    assert len(read_every_way(path)) == 16000
    path.write_bytes(content[:20000])
    with pytest.raises(InputError, match="cut off: its header announces 16,000 samples"):
        load_audio(path)


def test_a_file_of_zeros_is_not_read_as_an_endless_list_of_chunks():
    reads = []

    class Zeros(io.BytesIO):
        def read(self, *size):
            reads.append(size)
            return super().read(*size)

    assert missing_audio(Zeros(b"RIFF\xff\xff\xff\xffWAVE" + bytes(1 << 20))) is None
    assert missing_audio(Zeros(b"RIFF\xff\xff\xff\xffWAVE" + b"JUNK\0\0\0\0" * 50_000)) is None
    stream_info = b"fLaC\0\0\0\x22" + bytes(34)
    assert read_flac_header(Zeros(stream_info + bytes(1 << 20))) is not None
    assert len(reads) < 25_000
