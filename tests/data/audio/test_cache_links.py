"""A linked folder in the cache of decoded audio: nothing is written there, and nothing is removed."""

import os

import numpy as np
import pytest
import soundfile

from nes2net.data.audio.cache import AudioCache


@pytest.mark.skipif(os.name != "posix", reason="links are those of POSIX systems")
def test_a_linked_folder_of_entries_is_left_alone(tmp_path):
    recording = tmp_path / "a.wav"
    soundfile.write(recording, np.zeros(100), 16000)
    entry = AudioCache(tmp_path / "cache").entry(recording)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    old_file = elsewhere / f".{entry.name}.12.tmp"
    old_file.touch()
    os.utime(old_file, (0, 0))
    entry.parent.symlink_to(elsewhere)
    cache = AudioCache(tmp_path / "cache")
    assert len(cache.load(recording)) == 100
    assert list(elsewhere.iterdir()) == [old_file]
