"""A small detector, its calibrations, and a call."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders.live import HOP, WINDOW, judge_of, serving
from builders.sounds import sounds
from builders.voices import voice

from nes2net import Detector
from nes2net.apps.listen.listening import Judge
from nes2net.scoring.decisions import Decider, LinearCalibration, ScoredBy
from nes2net.scoring.decisions.calibration import Llrs


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A detector, a call of two speakers, hold music, and calibrations: the call is bona fide, or spoof."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    frontend = {"name": "lps", "n_fft": 128, "num_bins": 20}
    detector = Detector.from_config({"frontend": frontend, "backend": "asp_mlp"}).eval()
    detector.save(folder / "small.pth")
    call = np.stack([0.5 * voice(seconds=3), 0.5 * voice(seed=1, seconds=3)])
    soundfile.write(folder / "call.wav", call.T, 16000)
    soundfile.write(folder / "music.wav", sounds()["music: strings"], 16000)
    scores = detector.score_track(call[0], 16000, window=WINDOW, hop=HOP).scores
    spread = np.random.default_rng(0).standard_normal(100)
    llrs = Llrs(np.sort(3 + spread), np.sort(-3 + spread))
    scored_by = ScoredBy(detector.fingerprint(), "float32", round(16000 * WINDOW))
    for name, offset in (("bonafide", 3.0), ("spoof", -3.0)):
        offset -= 20.0 * float(np.median(scores))
        calibration = LinearCalibration((20.0,), offset, 0.5, 1e-6, ("small",), llrs=llrs, scored_by=scored_by)
        calibration.save(folder / f"{name}.json")
    return folder


@pytest.fixture(scope="session")
def small(made) -> Detector:
    return Detector.from_pretrained(made / "small.pth", device="cpu")


@pytest.fixture(scope="session")
def call(made) -> np.ndarray:
    """(2, N) at 16 kHz."""
    return soundfile.read(made / "call.wav", dtype="float32", always_2d=True)[0].T


@pytest.fixture
def judge(small):
    """A function that makes a judge of short windows."""

    def make(calibration: LinearCalibration | None = None, **settings) -> Judge:
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
