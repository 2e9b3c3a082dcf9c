"""A small detector, its calibrations, and a call."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders.live import HOP, WINDOW, judge_of, serving
from builders.sounds import sounds
from builders.two_calibrations import write_detector_and_calibrations
from builders.voices import voice

from nes2net import Detector
from nes2net.apps.listen.listening import LiveJudge
from nes2net.scoring.decisions import Decider, LinearCalibration, load


@pytest.fixture(scope="session")
def listen_folder(tmp_path_factory) -> Path:
    """A detector, a call of two speakers, hold music, and calibrations: the call is bona fide, or spoof."""
    folder = tmp_path_factory.mktemp("made")
    call = np.stack([0.5 * voice(seconds=3), 0.5 * voice(seed=1, seconds=3)])
    soundfile.write(folder / "call.wav", call.T, 16000)
    soundfile.write(folder / "music.wav", sounds()["music: strings"], 16000)
    write_detector_and_calibrations(folder, call[0], WINDOW, HOP)
    return folder


@pytest.fixture(scope="session")
def small(listen_folder) -> Detector:
    return Detector.from_pretrained(listen_folder / "small.pth", device="cpu")


@pytest.fixture(scope="session")
def call(listen_folder) -> np.ndarray:
    """(2, N) at 16 kHz."""
    return soundfile.read(listen_folder / "call.wav", dtype="float32", always_2d=True)[0].T


@pytest.fixture(scope="session")
def music(listen_folder) -> np.ndarray:
    """(1, N) at 16 kHz."""
    return soundfile.read(listen_folder / "music.wav", dtype="float32")[0][None]


@pytest.fixture(scope="session")
def calls_it_spoof(listen_folder) -> LinearCalibration:
    """A calibration by which the call is spoof."""
    return load(listen_folder / "spoof.json")


@pytest.fixture
def judge(small):
    """A function that makes a judge of short windows."""

    def make(calibration: LinearCalibration | None = None, **settings) -> LiveJudge:
        return judge_of(small, None if calibration is None else Decider(calibration), **settings)

    return make


@pytest.fixture
def serve(judge):
    """A function that begins to serve, until the end of the test; gives the address."""
    running = []

    def start(clients=4, **settings):
        running.append(serving(judge(**{"keep": "all", **settings}), clients))
        return running[-1].__enter__()[0]

    yield start
    for context in running:
        context.__exit__(None, None, None)
