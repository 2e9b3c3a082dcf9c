"""The number of frames in MP4 files."""

import numpy as np
import pytest
from builders.recordings import encode, read_every_way

from nes2net.audio.mp4 import mp4_fault


@pytest.mark.parametrize(
    "suffix, codec, sample_format, options",
    [("m4a", "aac", "fltp", {}), ("m4a", "aac", "fltp", {"movflags": "frag_keyframe+empty_moov"}),
     ("mov", "pcm_s16le", "s16", {}), ("mov", "pcm_u8", "u8", {}), ("m4a", "alac", "s16p", {"movflags": "faststart"})],
)  # fmt: skip
def test_no_more_frames_than_bytes(tmp_path, suffix, codec, sample_format, options):
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    path = tmp_path / f"noise.{suffix}"
    encode(path, noise, codec, sample_format, options=options)
    assert len(read_every_way(path)) == pytest.approx(40000, abs=2100)
    content = bytearray(path.read_bytes())
    name, place = (b"trun", 8) if b"trun" in content else (b"stsz", 12)
    place += content.index(name)
    content[place : place + 4] = b"\x01\0\0\0"
    path.write_bytes(content)
    with open(path, "rb") as file:
        assert "it announces 16,777,216 frames in" in mp4_fault(file)
