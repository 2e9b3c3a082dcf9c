"""Damaged Ogg files."""

import numpy as np
import pytest
import soundfile
from builders.recordings import read_every_way

from nes2net import InputError
from nes2net.audio.read import count_samples, load_audio, stream_audio


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_no_damage_of_ogg_goes_unnoticed(tmp_path, subtype):
    """Both decoders leave out a page with a wrong checksum, up to a second of audio."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.ogg"
    soundfile.write(path, 0.1 * rng.standard_normal(48000), 16000, format="OGG", subtype=subtype)
    content = path.read_bytes()
    whole = read_every_way(path)
    (tmp_path / "tag.ogg").write_bytes(content + b"TAG" + bytes(125))
    np.testing.assert_array_equal(load_audio(tmp_path / "tag.ogg"), whole)
    last_page = content.rindex(b"OggS")
    path.write_bytes(content[:last_page])  # as of a recorder that was stopped
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
