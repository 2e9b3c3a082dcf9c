"""Decoding in a process of its own: it can crash, hang or be stopped."""

import multiprocessing
import os

import numpy as np
import pytest
import soundfile

from nes2net.apps.serve import decoding
from nes2net.apps.serve.decoding import NotDecoded, decode
from nes2net.data.audio.read import load_audio


def test_the_file_to_score_and_that_of_the_player_have_the_samples_of_the_upload(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "multiprocessing", multiprocessing)  # by a process as the server starts it
    decoded = tmp_path / "whole.wav"
    heard = tmp_path / "heard.wav"
    decode(speech / "talk.mp3", decoded, heard, longest=60, check=lambda: None)
    expected = load_audio(speech / "talk.mp3")
    np.testing.assert_array_equal(load_audio(decoded), expected)
    np.testing.assert_allclose(soundfile.read(heard)[0], np.clip(expected, -1, 1), atol=1 / 32768)


def crash():
    for process in multiprocessing.active_children():
        process.kill()


def test_an_upload_that_cannot_be_decoded_has_a_reason(speech, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")  # no process reads this pipe, so the decoder waits until it is killed
    for name, target, check, message in (
        ("talk.wav", "pipe.wav", crash, "the decoder crashed"),
        ("notes.txt", "whole.wav", lambda: None, "^not a recording"),
    ):
        with pytest.raises(NotDecoded, match=message):
            decode(speech / name, tmp_path / target, None, longest=60, check=check)


@pytest.mark.parametrize("name, target", [("gone.wav", "whole.wav"), ("talk.wav", "no folder/whole.wav")])
def test_a_file_of_the_server_that_cannot_be_read_or_written_is_no_fault_of_the_upload(speech, tmp_path, name, target):
    with pytest.raises(OSError):
        decode(speech / name, tmp_path / target, None, longest=60, check=lambda: None)


def test_a_decoding_process_whose_caller_gives_up_is_stopped(speech, tmp_path):
    def give_up():
        raise TimeoutError

    before = multiprocessing.active_children()  # of other tests
    with pytest.raises(TimeoutError):
        decode(speech / "talk.wav", tmp_path / "whole.wav", None, longest=60, check=give_up)
    assert set(multiprocessing.active_children()) <= set(before)
