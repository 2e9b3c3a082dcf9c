"""Whose fault a failed request is: its own, or that of the server."""

import errno

import pytest
import torch
from builders import input_error
from builders.small_parts import SPECTRAL_MODEL

pytest.importorskip("prometheus_client")

from builders.metrics_page import samples

from nes2net import Detector
from nes2net.lib.errors import BrokenPart, InputError, as_input_error
from nes2net.lib.process.installation import optional
from nes2net.lib.web import service_health
from nes2net.lib.web.service_health import Metrics
from nes2net.scoring.kernel import score_or_raise


@pytest.fixture
def metrics():
    """Those of a server that is ready."""
    metrics = Metrics("small.pth")
    metrics.begin("float32", "cpu")
    return metrics


def unreadable():
    """The error about a file of the server that cannot be read."""
    with input_error("cannot be read") as caught, as_input_error("cannot be read", OSError):
        raise OSError(errno.EIO, "Input/output error")
    return caught.value


def too_little_memory():
    """The error about a window for which memory is lacking."""
    detector = Detector.from_config(SPECTRAL_MODEL)

    def compute(waveforms):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    detector.scores = compute
    with input_error("do not fit into the memory") as caught:
        score_or_raise(detector, torch.zeros(1, 16000))
    return caught.value


def missing_library():
    """The error about a library that a judgement needs."""
    with input_error("judging needs nothing_at_all") as caught:
        optional("nothing_at_all", "judging needs nothing_at_all", "extra")
    return caught.value


FAULTS_OF_SERVER = {
    "bug": lambda: ZeroDivisionError("division by zero"),
    "broken part": lambda: BrokenPart("the back-end x returned NaN"),
    "missing library": missing_library,
    "unreadable file": unreadable,
    "too little memory": too_little_memory,
}


@pytest.mark.parametrize("kind", FAULTS_OF_SERVER)
def test_a_fault_of_the_server_has_the_status_500_and_is_logged(metrics, caplog, kind):
    status, words = metrics.failure(FAULTS_OF_SERVER[kind]())
    assert status == 500
    assert words.startswith("not scored: the server failed (")
    assert caplog.records[-1].exc_info


def test_the_metrics_count_faults_of_the_server_by_error(metrics):
    metrics.failure(ZeroDivisionError())
    metrics.failure(InputError("too short"))
    counts = samples(metrics.text().decode())
    assert {name: count for name, count in counts.items() if name[0] == "nes2net_faults_total"} == {
        ("nes2net_faults_total", "ZeroDivisionError"): 1
    }


def test_a_wrong_input_has_the_status_422_and_is_not_logged(metrics, caplog):
    assert metrics.failure(InputError("too short: send more")) == (422, "too short: send more")
    assert not caplog.records


def test_after_a_full_disk_the_health_says_so_for_a_minute(metrics, monkeypatch):
    status, words = metrics.failure(OSError(errno.ENOSPC, "No space left on device"))
    assert status == 507
    assert "the disk of the server is full" in words
    assert metrics.health() == (503, {"status": "full", "model": "small.pth"})
    later = service_health.time.monotonic() + 61
    monkeypatch.setattr(service_health.time, "monotonic", lambda: later)
    assert metrics.health()[0] == 200
