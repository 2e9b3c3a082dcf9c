"""An audio file is opened once, by nes2net, libsndfile and FFmpeg together."""

import sys

import numpy as np
import pytest
import soundfile
from builders.recordings import encode, noise
from numpy.testing import assert_array_equal

from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.read import AudioFile, count_samples, load_audio
from nes2net.data.corpora.trial import Trial
from nes2net.scoring.waveforms import WaveformReader
from nes2net.training.dataset import Examples, TrainingSet

#: A way to read an :class:`AudioFile`; each needs libsndfile, FFmpeg or both.
WAYS = {
    "whole": lambda audio: audio.read(),
    "excerpt": lambda audio: audio.read(2000, 1000),
    "with the length": lambda audio: audio.read_with_length(2000)[0],
    "blocks": lambda audio: np.concatenate(list(audio.blocks_at_16k())),
    "stated length": lambda audio: np.array(audio.stated_length() or 0),
}


@pytest.fixture(params=["wav", "mp3", "m4a", "chain.au"])
def path(request, tmp_path):
    path = tmp_path / f"noise.{request.param}"
    if request.param == "m4a":
        encode(path, noise(), "aac")
    else:
        soundfile.write(path, noise(), 16000)
    if request.param == "chain.au":
        path.write_bytes(2 * path.read_bytes())
    return path


@pytest.mark.parametrize("way", WAYS)
def test_an_open_file_is_read_after_its_removal(path, way):
    """So neither library opens the path."""
    with AudioFile(path) as audio:
        expected = WAYS[way](audio)
    with AudioFile(path) as audio:
        path.unlink()
        assert_array_equal(WAYS[way](audio), expected)


_opened = []


def _note_open(event, arguments):
    if event == "open":
        _opened.append(str(arguments[0]))


@pytest.fixture(scope="module")
def opened():
    """The names of files that Python opens; an audit hook stays for the life of the process."""
    sys.addaudithook(_note_open)
    return _opened


def read_part(path):
    stretch = RecordingPart(0.5, 1.0, channel=0)
    load_audio(stretch.of(path))


def score(path):
    reader = WaveformReader(8000)
    reader.read(path)


def train(path, excerpts=None):
    trials = [Trial("a", path, "spoof")]
    examples = Examples(trials, excerpts)
    example = TrainingSet(examples, 8000)[1, 0]
    assert example.error is None


def train_on_an_excerpt(path):
    train(path, [(800, 8000)])


@pytest.mark.parametrize("read", [load_audio, count_samples, read_part, score, train, train_on_an_excerpt])
def test_a_reading_opens_a_file_once(opened, path, read):
    opened.clear()
    read(path)
    assert opened.count(str(path)) == 1
