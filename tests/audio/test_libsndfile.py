"""Formats that libsndfile reads: codecs without seeking, and files that were cut off."""

import numpy as np
import pytest
import soundfile
from builders.recordings import read_every_way, tone

from nes2net import InputError
from nes2net.audio.decoders import open_with_libsndfile
from nes2net.audio.read import (
    count_samples,
    load_audio,
    load_excerpt,
    load_head,
    measure_audio,
    stated_length,
    to_mono_16k,
)


@pytest.mark.parametrize(
    "file_format, subtype",
    [("WAV", "G721_32"), ("AU", "G723_24"), ("AU", "G723_40"), ("WAV", "NMS_ADPCM_32"), ("XI", "DPCM_16")],
)
def test_codecs_in_which_libsndfile_cannot_seek(tmp_path, monkeypatch, file_format, subtype):
    path = tmp_path / "tone"
    monkeypatch.setenv("NES2NET_UNCHECKED_AUDIO", "1")  # for XI
    soundfile.write(path, tone(), 8000, format=file_format, subtype=subtype)
    waveform = read_every_way(path)
    rate = 44100 if file_format == "XI" else 8000  # XI has one rate
    expected = to_mono_16k(tone(), rate)
    assert 0 <= len(waveform) - len(expected) < 400  # whole blocks
    assert np.corrcoef(waveform[: len(expected)], expected)[0, 1] > 0.99
    assert not measure_audio(path).second_decoder


@pytest.mark.parametrize("name", ["tone.raw", "tone.RAW"])
def test_a_name_that_soundfile_takes_for_samples_without_a_header(tmp_path, name):
    path = tmp_path / name
    soundfile.write(tmp_path / "tone.wav", tone(), 16000)
    path.write_bytes((tmp_path / "tone.wav").read_bytes())
    assert len(read_every_way(path)) == 16000 and stated_length(path) is None
    path.write_bytes(bytes(32000))
    for reader in (load_audio, count_samples, lambda path: load_head(path, 100), lambda path: load_excerpt(path, 0, 9)):
        with pytest.raises(InputError, match=rf"(?i){name} was read by neither libsndfile \(.*\.raw"):
            reader(path)


def test_errors_of_ours_are_not_hidden():
    with pytest.raises(TypeError):
        open_with_libsndfile("tone.wav", lambda path: [] + 1)
