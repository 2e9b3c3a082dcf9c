"""What whoever runs `nes2net listen --serve` asks it: health and metrics."""

import httpx
import pytest
from builders import PATIENCE
from builders.live import expected

pytest.importorskip("websockets")
pytest.importorskip("prometheus_client")

from builders.metrics_page import samples
from builders.websocket_calls import call_of
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from nes2net.apps.listen.server import Server
from nes2net.apps.listen.settings import ServerSettings
from nes2net.lib.web.http_server import address_of, listening_socket


def get(url, path, **headers):
    return httpx.get(url.replace("ws://", "http://") + path, headers=headers, timeout=PATIENCE)


@pytest.fixture
def accepting():
    """A server that accepts connections and has no detector so far, and its address."""
    with listening_socket("127.0.0.1", range(0, 1)) as listener:
        server = Server("small.pth", ServerSettings())
        with server.accepting(listener):
            yield server, address_of(listener, "127.0.0.1", "ws")


def test_the_health_check_of_a_service_with_a_loaded_detector_says_ready(serve):
    answer = get(serve(), "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "model": "small.pth"})


def test_the_health_check_of_a_service_that_loads_its_detector_says_loading(accepting):
    answer = get(accepting[1], "/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "loading")


def test_no_client_is_served_before_the_detector_is_loaded(accepting):
    with pytest.raises(InvalidStatus, match="503"):
        connect(accepting[1])


def test_the_health_check_of_a_service_that_stops_says_stopping(accepting, judge):
    server, url = accepting
    server.begin(judge())
    server.stop()
    answer = get(url, "/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")


@pytest.fixture
def counts(serve, call):
    """The metrics after a call."""
    url = serve()
    call_of(url, call[0].tobytes())
    return samples(get(url, "/metrics").text)


def test_after_a_call_the_metrics_count_it_as_ended(counts):
    assert counts["nes2net_calls_total", "1000"] == 1
    assert counts["nes2net_calls_present",] == 0


def test_the_metrics_count_a_score_with_its_lag_for_each_window_of_a_call(counts, small, call):
    number = len(expected(small, call[0]))
    assert counts["nes2net_windows_total", "scored"] == number
    assert counts["nes2net_lag_seconds_count",] == number
