"""A small detector, recordings, and the real server of the page."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import soundfile
import torch
from builders import PATIENCE
from builders.browser import opened_page
from builders.page_requests import left
from builders.recordings import encode
from builders.small_parts import SPECTRAL_MODEL
from builders.voices import voice

from nes2net import Detector
from nes2net.apps.serve import decoding
from nes2net.apps.serve.desk import Desk
from nes2net.apps.serve.observing import Observer
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.web.http_server import address_of, listening_socket
from nes2net.scoring.decisions import Population, Traits
from nes2net.scoring.decisions.calibration import LinearCalibration


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The checkpoint of a small detector on log spectra, whose scores differ from recording to recording."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "small.pth"
    Detector.from_config(SPECTRAL_MODEL).save(path)
    return path


@pytest.fixture(scope="session")
def small(model) -> Detector:
    return Detector.from_pretrained(model, device="cpu")


@pytest.fixture(scope="session")
def calibration(small, speech) -> LinearCalibration:
    """One whose threshold lies within the scores of the talk, so that both sides are shaded."""
    scores = small.score_track(speech / "talk.wav").scores
    return LinearCalibration((20.0,), -20.0 * float(np.median(scores)), 0.5, 1e-6, ("small",))


@pytest.fixture(scope="session")
def quiet_population() -> Population:
    """Recordings much quieter than the talk, which is unlike them."""
    return Population.fit([Traits(4.0 + n / 40, -60.0, 8000.0) for n in range(40)], np.arange(40) < 20)


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Path:
    """Ten seconds of harmonics with pauses as WAV, MP3 and M4A, and a text file."""
    folder = tmp_path_factory.mktemp("speech")
    talk = 0.5 * voice(seconds=10)
    soundfile.write(folder / "talk.wav", talk, 16000)
    encode(folder / "talk.mp3", talk[: 160_000 // 1152 * 1152], "mp3")
    encode(folder / "talk.m4a", talk, "aac")
    (folder / "notes.txt").write_text("no samples here\n" * 100)
    return folder


@pytest.fixture(autouse=True)
def warm_decoders(monkeypatch):
    """Fork the processes that decode: ``spawn`` would import the package for each recording."""
    context = multiprocessing.get_context("forkserver")
    if forkserver._forkserver._preload_modules == ["__main__"]:  # no other test has chosen what is loaded
        context.set_forkserver_preload([decoding.__name__])
    monkeypatch.setattr(decoding, "multiprocessing", SimpleNamespace(get_context=lambda _: context))


@contextmanager
def started(
    detector: Detector, folder: Path, limits=None, decider=None, stop=None, people=None
) -> Iterator[tuple[httpx.Client, Desk]]:
    """Run the server of a desk in a thread; gives a client of it and the desk."""
    pytest.importorskip("fastapi_offline")
    from nes2net.apps.serve.server import DRAIN, open_desk
    from nes2net.lib.web.guard import Guard
    from nes2net.lib.web.server import serve

    observer = Observer("small.pth")
    desk = Desk(detector, folder, limits, decider, observer, people=people)
    guard = Guard(observer, [])
    stop = stop or StopSignals()
    is_ready = threading.Event()
    listener = listening_socket("127.0.0.1", range(0, 1))

    begin = partial(open_desk, guard, desk)
    thread = threading.Thread(target=serve, args=(guard, listener, begin, is_ready.set, stop, DRAIN))
    thread.start()
    url = address_of(listener, "127.0.0.1")
    assert is_ready.wait(PATIENCE)
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        yield client, desk
    desk.close()
    stop.number = signal.SIGINT
    thread.join(PATIENCE)


@pytest.fixture
def serving(small, tmp_path):
    """A function that starts the server of a desk, and returns a client of it and the desk."""
    with ExitStack() as servers:

        def start(limits=None, decider=None, stop=None, people=None):
            folder = tmp_path / "server"
            folder.mkdir()
            return servers.enter_context(started(small, folder, limits, decider, stop, people))

        yield start


@pytest.fixture(scope="module")
def usual_server(small, tmp_path_factory):
    with started(small, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(usual_server):
    """Client and desk of a server with the usual limits, which holds no file."""
    _, desk = usual_server
    desk.tidy(4000)
    for path in left(desk):
        path.unlink(missing_ok=True)
    return usual_server


@pytest.fixture
def client(server):
    return server[0]


@pytest.fixture
def desk(server):
    return server[1]


@pytest.fixture
def page():
    with opened_page() as page:
        yield page
