"""ASF and FLV that were cut off."""

import os

import numpy as np
import pytest
from builders.recordings import READERS, encode, read_every_way

from nes2net import InputError
from nes2net.audio.containers import missing_bytes


@pytest.mark.parametrize("codec, container", [("aac", "flv"), ("aac", "asf")])
def test_no_cut_goes_unnoticed(tmp_path, codec, container):
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    path = tmp_path / f"noise.{container}"
    encode(path, noise, codec, format=container)
    assert len(read_every_way(path)) == pytest.approx(40000, abs=2100)
    content = path.read_bytes()
    for place in (*np.random.default_rng(1).integers(800, len(content), 6).tolist(), len(content) - 5):
        path.write_bytes(content[:place])
        for reader in READERS:
            with pytest.raises(InputError, match=rf"noise\.{container} is cut off: [\d,]+ bytes are missing"):
                reader(path)


def test_a_cut_behind_many_tags_is_noticed(tmp_path):
    path = tmp_path / "long.flv"
    tags = b"FLV\1\5\0\0\0\x09\0\0\0\0" + (b"\x08\0\0\1" + bytes(8) + b"\0\0\0\x0c") * 110_000
    path.write_bytes(tags)
    for size, missing in ((len(tags), None), (len(tags) - 7, 2), (1 << 40, None)):
        os.truncate(path, size)
        with open(path, "rb") as file:
            assert missing_bytes(file) == missing
