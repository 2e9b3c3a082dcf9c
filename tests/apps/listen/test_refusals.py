"""What `nes2net listen` refuses before it reads any audio: windows without a length, and detectors without a score."""

import pytest
from builders import input_error
from builders.source_tracing import REFUSED, TRACING, save_tracing_detector

from nes2net import Detector

BAD_NUMBERS = ["0", "-1", "nan", "inf", "1e-9"]

SOURCES = ["call", "server"]


@pytest.fixture
def error_of(refused, listen_folder):
    """A function that listens to a recording, or serves clients, with more words; it must be refused with one line."""
    inputs = {"call": [listen_folder / "call.wav", "--speed", "inf"], "server": ["--serve", "0"]}

    def run(source, *words, model=listen_folder / "small.pth"):
        return refused(["listen", *inputs[source], "--model", model, "--device", "cpu", *words], silent=True)

    return run


@pytest.mark.parametrize("flag", ["--window", "--hop"])
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_listen_refuses_a_window_or_hop_that_is_no_number_or_infinite_or_too_short(error_of, flag, number):
    message = f"nes2net: error: {flag} must be from 0.001 to 1e+09, not {float(number)}\n"
    assert error_of("server", f"{flag}={number}") == message


@pytest.mark.parametrize("source", SOURCES)
def test_listen_refuses_a_detector_of_source_tracing(error_of, source, tmp_path):
    tracing = save_tracing_detector(tmp_path / "tracing.pth")
    assert error_of(source, model=tracing).startswith(f"nes2net: error: {REFUSED}")


def test_a_detector_of_source_tracing_opens_no_stream_because_it_has_no_score():
    detector = Detector.from_config(TRACING)
    with input_error("so it has no score"):
        detector.stream(16000)
