"""Matroska and WebM that were cut off or damaged."""

import struct

import numpy as np
import pytest
from builders.recordings import READERS, encode, read_every_way

from nes2net import InputError
from nes2net.audio import containers
from nes2net.audio.containers import matroska_fault, states_duration
from nes2net.audio.read import load_audio

BLOCK = b"\xa3\x85\x81\0\0\x80\0"


@pytest.mark.parametrize(
    "codec, sample_format, live",
    [("libopus", "flt", False), ("aac", "fltp", True), ("pcm_s16le", "s16", False), ("pcm_s16le", "s16", True)],
)
def test_no_cut_goes_unnoticed(tmp_path, codec, sample_format, live):
    """With and without the sizes and the duration that a program leaves out if it writes to a pipe."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    path = tmp_path / "noise.mka"
    encode(path, noise, codec, sample_format, format="matroska", options={"live": "1"} if live else {})
    assert len(read_every_way(path)) == pytest.approx(40000, abs=2100)
    content = path.read_bytes()
    with open(path, "rb") as file:
        assert states_duration(file) == (not live) and matroska_fault(file) is None
    (tmp_path / "tag.mka").write_bytes(content + b"" if live else content + b"TAG" + bytes(125))
    assert len(load_audio(tmp_path / "tag.mka")) == len(load_audio(path))
    for place in (*np.random.default_rng(1).integers(800, len(content), 6).tolist(), len(content) - 1):
        path.write_bytes(content[:place])
        for reader in READERS:
            with pytest.raises(InputError, match=r"noise\.mka is cut off: its element at byte [\d,]+ lacks"):
                reader(path)


def test_damage_between_the_blocks_is_noticed(tmp_path):
    """FFmpeg goes on with the next cluster that it finds."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(160000).astype(np.float32)
    path = tmp_path / "noise.webm"
    encode(path, noise, "libopus", "flt", format="webm", options={"cluster_time_limit": "500"})
    content = path.read_bytes()
    start = content.index(b"\x1f\x43\xb6\x75")
    for place in np.random.default_rng(0).integers(start, len(content) - 400, 10).tolist():
        path.write_bytes(content[:place] + bytes(400) + content[place + 400 :])
        for reader in READERS:
            with pytest.raises(InputError, match=r"noise\.webm is (damaged|cut off)"):
                reader(path)


def test_an_endless_file_is_followed_to_a_limit(tmp_path):
    path = tmp_path / "zeros.webm"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xec\x80" * 10)
    with open(path, "rb") as file:
        assert matroska_fault(file) is None and not states_duration(file)
    path.write_bytes(b"\xff\xfd\x84\x04" + bytes(100))  # MP2, whose bytes would be a size beyond that of any file
    with open(path, "rb") as file:
        assert matroska_fault(file) is None and not states_duration(file)


@pytest.mark.parametrize(
    "content, fault",
    [
        (BLOCK * 1100 + BLOCK[:4], "is cut off: its element at byte 7,729 lacks 3 bytes"),
        (b"\xec\x80" * 2000, "has more than 1,576 elements in 4,029 bytes"),
    ],
)
def test_a_cut_behind_many_blocks_is_noticed(tmp_path, monkeypatch, content, fault):
    """As of hours of Opus in blocks of 20 ms, which are more than a million."""
    monkeypatch.setattr(containers, "_MANY_ELEMENTS", 1000)
    path = tmp_path / "long.webm"
    head = b"\x1a\x45\xdf\xa3\x80" + (b"\x18\x53\x80\x67\x01" + b"\xff" * 7) + (b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7)
    path.write_bytes(head + content)
    with open(path, "rb") as file:
        assert matroska_fault(file) == fault


def test_a_recording_shorter_than_its_header_says_is_cut_off(tmp_path):
    """As left by a recorder that stops between two blocks, of which every element is whole."""
    path = tmp_path / "short.mka"
    encode(path, np.zeros(40000, np.float32), "pcm_s16le", "s16", format="matroska")
    duration = b"\x44\x89\x88" + struct.pack(">d", 2500)
    assert path.read_bytes().count(duration) == 1
    path.write_bytes(path.read_bytes().replace(duration, duration[:3] + struct.pack(">d", 3000)))
    for reader in READERS[:2]:
        with pytest.raises(InputError, match=r"cut off: its header announces 3\.00 s, 2\.50 s could be decoded"):
            reader(path)
