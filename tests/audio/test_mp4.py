"""MP4 files that were cut off, or that announce more frames than there can be."""

import struct

import numpy as np
import pytest
from builders.recordings import encode, read_every_way

from nes2net import InputError
from nes2net.audio import containers
from nes2net.audio.containers import mp4_fault
from nes2net.audio.read import count_samples, load_audio

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"}


def fault(path):
    with open(path, "rb") as file:
        return mp4_fault(file)


@pytest.mark.parametrize("codec, sample_format", [("pcm_s16le", "s16"), ("pcm_u8", "u8")])
def test_samples_of_pcm_are_no_frames(tmp_path, monkeypatch, codec, sample_format):
    """The table counts each sample, but FFmpeg lists blocks of them."""
    path = tmp_path / "noise.mov"
    encode(path, np.zeros(40000, np.float32), codec, sample_format)
    with monkeypatch.context() as patch:
        patch.setattr(containers, "_MOST_ENTRIES", 30000)
        assert fault(path) is None and len(load_audio(path)) == 40000
    content = bytearray(path.read_bytes())
    assert len(read_every_way(path)) == 40000
    durations, chunks = content.index(b"stts"), content.index(b"stsc")
    for place, value, message in (
        (chunks + 16, 0xF0000000, "announces 25,165,824 blocks of PCM in"),
        (durations + 16, 2, None),
        (content.index(b"stsz") + 12, 1 << 24, "announces 16,777,219 frames in"),
    ):
        content[place : place + 4] = struct.pack(">I", value)
        path.write_bytes(content)
        assert (fault(path) or "").startswith(message or "")


def test_no_cut_of_a_fragmented_file_goes_unnoticed_but_between_fragments(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    path = tmp_path / "noise.m4a"
    encode(path, noise, "aac", options=FRAGMENTED)
    content = path.read_bytes()
    whole = len(read_every_way(path))
    for behind in (bytes(3), bytes(100), b"\0\0\0\x10free" + bytes(8), b"TAGtitle" + bytes(120)):
        path.write_bytes(content + behind)
        assert fault(path) is None and len(load_audio(path)) == whole
    fragment = content.rindex(b"moof") - 4
    data = content.rindex(b"mdat") - 4
    for place in (*range(fragment + 4, data), *range(data, content.rindex(b"mfra") - 4, 97)):
        path.write_bytes(content[:place])
        for reader in (load_audio, count_samples) if place % 10 == 0 else (load_audio,):
            with pytest.raises(InputError, match=r"noise\.m4a is cut off: its (box|fragment) at byte [\d,]+ lacks"):
                reader(path)


@pytest.mark.slow
def test_many_boxes_are_followed_to_a_limit(tmp_path):
    path = tmp_path / "noise.m4a"
    path.write_bytes(b"\0\0\0\x08free" * 1_500_000)
    assert "boxes in 12,000,000 bytes" in fault(path)
