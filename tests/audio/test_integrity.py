"""Formats in which a cut cannot be noticed."""

import numpy as np
import pytest
import soundfile
from builders.recordings import encode, read_every_way

from nes2net import InputError
from nes2net.audio.read import count_samples, load_audio, load_excerpt, load_head, measure_audio, stream_audio


@pytest.mark.parametrize("name", ["noise.voc", "noise.ircam", "noise.nut", "noise.mpegts"])
def test_they_are_read_only_when_asked_for(tmp_path, monkeypatch, name):
    noise = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    path = tmp_path / name
    if name[6:] in ("nut", "mpegts"):
        encode(path, noise, "aac", format=name[6:])
    else:
        soundfile.write(path, noise, 16000, format=name[6:].upper())
    readers = (load_audio, count_samples, measure_audio, lambda path: [*stream_audio(path)])
    for reader in (*readers, lambda path: load_head(path, 100), lambda path: load_excerpt(path, 5, 100)):
        with pytest.raises(
            InputError, match=rf"{name} is of the format .*WAV or FLAC, or set .*NES2NET_UNCHECKED_AUDIO=1"
        ):
            reader(path)
    monkeypatch.setenv("NES2NET_UNCHECKED_AUDIO", "1")
    assert len(read_every_way(path)) == pytest.approx(40000, abs=2100)
