"""Which files of a folder are recordings, and what is said of the others."""

import numpy as np
import pytest
import soundfile
from builders.recordings import encode, noise

from nes2net.data.audio.files import expand_folders, recordings_below
from nes2net.data.audio.read import load_audio

ENCODED = {"mp4": "aac", "mov": "aac", "3gp": "aac", "mkv": "flac", "mka": "flac", "avi": "pcm_s16le", "flv": "aac",
           "mp2": "mp2", "tta": "tta", "wv": "wavpack"}  # fmt: skip
WRITTEN = {"oga": "OGG", "caf": "CAF", "w64": "W64", "rf64": "RF64", "wave": "WAV", "aifc": "AIFF", "snd": "AU"}


@pytest.mark.parametrize("suffix", [*ENCODED, *WRITTEN])
def test_folders_are_searched_for_every_format_that_can_be_read(tmp_path, suffix):
    path = tmp_path / f"noise.{suffix}"
    if suffix in WRITTEN:
        soundfile.write(path, noise(), 16000, format=WRITTEN[suffix])
    else:
        sample_format = {"flac": "s16", "pcm_s16le": "s16", "mp2": "s16", "tta": "s16"}.get(ENCODED[suffix], "fltp")
        encode(path, noise(), ENCODED[suffix], sample_format)
    assert np.abs(load_audio(path)).max() > 0.1
    assert recordings_below(tmp_path) == expand_folders([str(tmp_path)]) == [path]


def test_the_skipped_files_of_a_folder_are_counted_in_one_line(tmp_path, capsys):
    for name in ("a.wav", "b.AMR", "notes.txt", "a.dat", "b.dat", "unnamed", ".hidden"):
        (tmp_path / name).touch()
    assert [path.name for path in expand_folders([str(tmp_path)])] == ["a.wav", "b.AMR"]
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "skipped in" in error
    assert ": 2 .dat, 1 no suffix; to read" in error
