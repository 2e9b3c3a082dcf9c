"""`nes2net listen` with pipes and recordings: what it prints, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.live import HOP, WINDOW, expected, lines_of, windows

from nes2net.apps.listen.sources import open_source
from nes2net.data.audio.pcm import RawAudio

OPTIONS = ["--device", "cpu", "--window", WINDOW, "--hop", HOP]


@pytest.fixture
def listen(output, listen_folder, tmp_path):
    """A function that listens to bytes in a named pipe, which come in odd pieces; gives the lines."""

    def run(content: bytes, *words):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        def write():
            with pipe.open("wb", buffering=0) as file:
                for first in range(0, len(content), 3333):
                    file.write(content[first : first + 3333])

        threading.Thread(target=write).start()
        out = output(["listen", pipe, "--model", listen_folder / "small.pth", *OPTIONS, "--json", *words]).out
        return [json.loads(line) for line in out.splitlines()]

    return run


def test_a_pipe_of_raw_samples_has_the_scores_of_its_decoded_channels(listen, small, call, tmp_path):
    soundfile.write(tmp_path / "raw", call.T, 8000, "ALAW", "LITTLE", "RAW")
    content = (tmp_path / "raw").read_bytes()
    samples = np.concatenate([block for block, _ in RawAudio(content, 8000, "alaw", 2).blocks()], axis=1)
    format = ("--rate", 8000, "--encoding", "alaw", "--channels", 2)
    lines = listen(content + b"\0", *format, "--split", "agent,caller")
    for name, channel in zip(("agent", "caller"), samples):
        assert windows(lines, name) == expected(small, channel, 8000)


def test_channels_that_are_not_split_are_scored_by_their_mean(listen, small, call):
    lines = listen(call.T.astype("<f4").tobytes(), "--rate", 16000, "--encoding", "f32le", "--channels", 2)
    assert windows(lines) == expected(small, call)


def test_without_json_listen_prints_scores_and_alarms_in_words(output, listen_folder, small, call):
    words = ["listen", listen_folder / "call.wav", "--model", listen_folder / "small.pth", *OPTIONS, "--speed", "inf"]
    words += ["--split", "agent,caller", "--calibration", listen_folder / "spoof.json", "--latch"]
    lines = output(words).out.splitlines()
    scores = [
        line.split()[2] for line in lines if line.startswith("agent") and "alarm" not in line and "from" not in line
    ]
    assert scores == [f"{score:.4f}" for _, _, score in expected(small, call[0])]
    assert any(line.split()[2] == "alarm" for line in lines)


def test_listen_scores_no_window_of_a_recording_before_the_time_at_which_it_would_have_sounded(
    command, listen_folder, tmp_path, call
):
    soundfile.write(tmp_path / "short.wav", call[0, :16000], 16000)
    words = ["listen", tmp_path / "short.wav", "--model", listen_folder / "small.pth", *OPTIONS, "--json"]
    _, out, _ = command(words)
    lags = [line["lag"] for line in lines_of(map(json.loads, out.splitlines()), "score")]
    assert len(lags) == 3
    assert min(lags) > -0.01


def start_listening(model: Path) -> subprocess.Popen:
    """Start a program that listens to samples in float32 at 16 kHz on its standard input."""
    words = ["listen", "-", "--rate", "16000", "--encoding", "f32le", "--model", model, *OPTIONS, "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "nes2net", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_listening_without_an_error_after_the_last_lines(listen_folder, small, call, number):
    process = start_listening(listen_folder / "small.pth")
    process.stdin.write(call[0, :20000].tobytes())
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(5)]
    process.send_signal(number)
    last_lines, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert err == b""
    lines += map(json.loads, last_lines.splitlines())
    assert windows(lines) == expected(small, call[0, :20000])
    assert lines[-1]["event"] == "end"


def test_listen_without_a_source_its_rate_or_names_of_its_channels_is_refused_with_what_to_add(
    refused, listen_folder, tmp_path
):
    model = ["--model", listen_folder / "small.pth"]
    (tmp_path / "nothing.pcm").touch()
    for words, message in (
        ([], "name one source"),
        (["-"], "add --rate"),
        ([tmp_path / "nothing.pcm", "--rate", 8000, "--channels", 3], "name each channel with --split"),
    ):
        refused(["listen", *words, *model], message, silent=True)


def test_two_sources_at_once_are_refused(refused, listen_folder):
    wav = listen_folder / "call.wav"
    refused(["listen", wav, "--serve", 7861, "--model", listen_folder / "small.pth"], "name one source", silent=True)


def test_a_wav_file_that_is_to_be_read_as_raw_audio_is_refused(refused, listen_folder):
    words = ["listen", listen_folder / "call.wav", "--rate", 16000, "--model", listen_folder / "small.pth"]
    refused(words, "raw audio has the header of an audio file (WAV)")


def test_a_block_after_samples_lost_by_the_microphone_is_placed_by_the_clock(monkeypatch):
    class InputStream:
        def __init__(self, rate, **settings):
            self.samplerate = rate
            self.reads = 0

        def start(self):
            pass

        def close(self):
            pass

        def read(self, step):
            self.reads += 1
            time.sleep(0.5 if self.reads == 3 else 0)
            return np.full((step, 2), self.reads / 10, np.float32), self.reads == 3

    portaudio = SimpleNamespace(InputStream=InputStream, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", portaudio)
    source = open_source("microphone:3", None, 8000, 2, "left,right", 1.0)
    blocks = list(islice(source.blocks, 4))
    source.blocks.close()
    assert [float(block.samples[0, 0]) for block in blocks] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert [block.time is None for block in blocks] == [True, True, False, True]
    assert blocks[2].time >= 0.4
