"""Audio that other programs resample as the manual says has the scores of its file."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import soxr
import torch
from builders.live import expected
from builders.small_parts import SPECTRUM
from builders.voices import voice
from conftest import REPOSITORY

from nes2net import Detector

DOCS = REPOSITORY / "docs"
#: Scores of the detector here differ by some 0.1 between resamplers.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def detector():
    """It reads all frequencies."""
    torch.manual_seed(0)
    return Detector.from_config({"frontend": {**SPECTRUM, "num_bins": 65}, "backend": "asp_mlp"}).eval()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A telephone call, and speech with two channels."""
    folder = tmp_path_factory.mktemp("recordings")
    speech = np.stack([voice(seed, 3.0, pauses=False) for seed in (0, 1)], axis=1)
    speech += 0.02 * np.random.default_rng(0).standard_normal(speech.shape, np.float32)
    soundfile.write(folder / "telephone.wav", speech[:24000, 0], 8000, subtype="ULAW")
    soundfile.write(folder / "stereo.flac", speech, 44100)
    return folder


@pytest.fixture(scope="module")
def ffmpeg():
    """A function that gives the bytes that a command of FFmpeg writes about a recording."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    if "--enable-libsoxr" not in version:
        pytest.skip("ffmpeg is not installed with libsoxr")

    def run(command, recording):
        words = [str(recording) if word in ("X", "talk.mp3") else word for word in command.split()]
        return subprocess.run(words, capture_output=True, check=True).stdout

    return run


def command_of(name):
    """The command of FFmpeg in a page or an example."""
    return re.search(r"\bffmpeg -v .*? -(?= *[|\n])", (DOCS / name).read_text(encoding="utf-8"))[0]


def test_no_page_or_example_lets_another_program_convert_the_sampling_rate():
    """No source of live audio has 16 kHz: a telephone has 8 kHz, a microphone 48 kHz."""
    for path in [*DOCS.glob("*.md"), *DOCS.glob("examples/*")]:
        assert re.findall(r"-(?:ar|r) 16000\b|;rate=16000\b", path.read_text(encoding="utf-8")) == [], path.name


@pytest.mark.parametrize("recording", ["telephone.wav", "stereo.flac"])
@pytest.mark.parametrize("name", ["checkpoints.md", "examples/score.cpp"])
def test_what_ffmpeg_resamples_as_the_manual_says_has_the_score_of_the_file(
    detector, recordings, ffmpeg, name, recording
):
    samples = np.frombuffer(ffmpeg(command_of(name), recordings / recording), "<f4")
    score = detector.score(recordings / recording)
    assert detector.score(samples, 16000) == pytest.approx(score, abs=TOLERANCE)


def test_what_soxr_resamples_as_the_manual_says_has_the_score_of_the_file(detector, recordings):
    [line] = re.findall(r"`(soxr\.resample\(.*?\))`", (DOCS / "checkpoints.md").read_text(encoding="utf-8"))
    samples, rate = soundfile.read(recordings / "stereo.flac", dtype="float32")
    waveform = eval(line, {"samples": samples, "rate": rate, "soxr": soxr})
    score = detector.score(recordings / "stereo.flac")
    assert detector.score(waveform, 16000) == pytest.approx(score, abs=TOLERANCE)


def test_a_telephone_call_that_ffmpeg_pipes_to_listen_as_the_manual_says_has_the_scores_of_its_file(
    detector, recordings, ffmpeg
):
    content = ffmpeg(command_of("listen.md"), recordings / "telephone.wav")
    [rate] = re.findall(r"ffmpeg .*\| nes2net listen - --rate (\d+)", (DOCS / "listen.md").read_text(encoding="utf-8"))
    piped = np.frombuffer(content, "<i2") / np.float32(32768)
    samples = soundfile.read(recordings / "telephone.wav", dtype="float32")[0]
    assert expected(detector, piped, int(rate)) == expected(detector, samples, 8000)


def test_a_telephone_call_that_ffmpeg_resamples_by_itself_has_other_scores(detector, recordings, ffmpeg):
    """So the tests above see a wrong resampler."""
    recording = recordings / "telephone.wav"
    samples = np.frombuffer(ffmpeg("ffmpeg -v error -i X -f f32le -ac 1 -ar 16000 -", recording), "<f4")
    assert abs(detector.score(samples, 16000) - detector.score(recording)) > 100 * TOLERANCE
