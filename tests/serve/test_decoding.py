"""Decoding in a process of its own: it can crash, hang or be stopped."""

import multiprocessing

import numpy as np
import pytest
import soundfile

from nes2net.audio.read import load_audio
from nes2net.serve import decoding
from nes2net.serve.decoding import NotDecoded, decode


def test_the_samples_are_those_that_are_scored(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "multiprocessing", multiprocessing)  # by a process as the server starts it
    whole, heard = tmp_path / "whole.wav", tmp_path / "heard.wav"
    duration = decode(speech / "talk.mp3", whole, heard, longest=60, check=lambda: None)
    expected = load_audio(speech / "talk.mp3")
    assert duration == len(expected) / 16000
    np.testing.assert_array_equal(load_audio(whole), expected)
    np.testing.assert_allclose(soundfile.read(heard)[0], np.clip(expected, -1, 1), atol=1 / 32768)


def test_a_decoder_that_crashes_is_an_error_of_the_file(speech, tmp_path):
    def crash():
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(NotDecoded, match="the decoder crashed"):
        decode(speech / "talk.wav", tmp_path / "whole.wav", None, longest=60, check=crash)


def test_a_decoder_that_is_given_up_is_stopped(speech, tmp_path):
    def give_up():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        decode(speech / "talk.wav", tmp_path / "whole.wav", None, longest=60, check=give_up)
    assert not multiprocessing.active_children()


def test_a_file_that_is_gone_has_a_reason(tmp_path):
    with pytest.raises(NotDecoded, match="^(cannot be read: No such file|does not exist)"):
        decode(tmp_path / "gone.wav", tmp_path / "whole.wav", None, longest=60, check=lambda: None)


def test_a_disk_that_cannot_be_written_has_a_reason(speech, tmp_path):
    with pytest.raises(NotDecoded, match="crashed|cannot"):
        decode(speech / "talk.wav", tmp_path / "no folder" / "whole.wav", None, longest=60, check=lambda: None)
