"""What `nes2net listen` refuses before it reads any audio: windows without a length, and detectors without a score."""

import pytest
from builders import input_error
from builders.source_tracing import REFUSED, TRACING, save_tracing_detector

from nes2net import Detector
from nes2net.apps.listen.listening import LiveJudge

BAD_NUMBERS = ["0", "-1", "nan", "inf", "1e-9"]

SOURCES = ["call", "server"]


@pytest.fixture
def folder(request):
    """The folder of a small detector, its calibrations and a call."""
    return request.getfixturevalue("listen_folder")


@pytest.fixture
def words_of(folder):
    """A function that gives the words of a command that listens to a recording, or serves clients."""

    def words(source, model):
        inputs = {"call": [folder / "call.wav", "--speed", "inf"], "server": ["--serve", "0"]}
        return ["listen", *inputs[source], "--model", model, "--device", "cpu"]

    return words


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("flag", ["--window", "--hop"])
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_window_or_hop_without_a_length(refused, folder, words_of, source, flag, number):
    message = f"nes2net: error: {flag} must be a positive number of seconds, not {float(number)}\n"
    assert refused([*words_of(source, folder / "small.pth"), f"{flag}={number}"], silent=True) == message


@pytest.mark.parametrize("source", SOURCES)
def test_time_that_may_wait(refused, folder, words_of, source):
    error = refused([*words_of(source, folder / "small.pth"), "--max-behind", "0"], silent=True)
    assert error == "nes2net: error: --max-behind must be at least 0.001, not 0.0\n"


def test_a_window_without_a_length_beside_a_calibration(refused, folder, words_of):
    calibration = sorted(folder.glob("*.json"))[0]
    words = [*words_of("call", folder / "small.pth"), "--calibration", calibration, "--window", "nan"]
    refused(words, "--window must be a positive number of seconds, not nan", silent=True)


@pytest.mark.parametrize("source", SOURCES)
def test_a_detector_of_source_tracing(refused, words_of, source, tmp_path):
    error = refused(words_of(source, save_tracing_detector(tmp_path / "tracing.pth")), silent=True)
    assert error.startswith(f"nes2net: error: {REFUSED}")


NAN = float("nan")


@pytest.mark.parametrize("settings", [{"window": 0}, {"hop": 0}, {"window": NAN}, {"max_behind": NAN}])
def test_python(small, settings):
    with input_error("positive number of seconds|at least 0.001"):
        LiveJudge(small, "small.pth", **settings)


def test_a_detector_without_a_score_has_no_stream():
    detector = Detector.from_config(TRACING)
    with input_error("so it has no score"):
        detector.stream(16000)
