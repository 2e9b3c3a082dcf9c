"""MP2, MP3 and AAC streams, which state no length."""

import numpy as np
import pytest
from builders.recordings import READERS, encode, read_every_way

from nes2net import InputError
from nes2net.audio.frames import missing_of_last_frame


@pytest.mark.parametrize(
    "codec, container, sample_format", [("libmp3lame", "mp3", "fltp"), ("mp2", "mp2", "s16"), ("aac", "adts", "fltp")]
)
def test_an_incomplete_last_frame_is_a_cut(tmp_path, codec, container, sample_format):
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    path = tmp_path / "noise"
    options = {"write_xing": "0"} if container == "mp3" else {}
    encode(path, noise, codec, sample_format, format=container, options=options)
    content = path.read_bytes()
    tags = b"ID3\4\0\0\0\0\0\x0a" + bytes(10), b"TAG" + bytes(125)
    for whole in (content, tags[0] + content, content + tags[1], bytes(500) + content):
        path.write_bytes(whole)
        with open(path, "rb") as file:
            assert missing_of_last_frame(file) is None
    path.write_bytes(content)
    assert len(read_every_way(path)) == pytest.approx(40000, abs=3000)
    for cut in (
        content[:-1],
        content[:-20],
        content[:-30],
        content[: round(0.03 * len(content))],
        content + b"\xff\xf3",
        bytes(500) + content[:-20],
        tags[0] + bytes(500) + content[:-20],
    ):
        path.write_bytes(cut)
        for reader in READERS:
            with pytest.raises(InputError, match="noise is cut off: its last frame lacks"):
                reader(path)


def test_what_begins_like_a_frame_is_not_taken_for_a_stream(tmp_path):
    path = tmp_path / "noise"
    for content in (b"", b"\xff\xfb", b"\xff\xfb\x90\x00" + bytes(100), b"\xff\xf1\x50\x80\x01\x00" + bytes(5)):
        path.write_bytes(content)
        with open(path, "rb") as file:
            assert missing_of_last_frame(file) is None
