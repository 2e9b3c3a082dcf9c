"""What whoever runs `nes2net listen --serve` asks it: health and metrics."""

import signal
import threading

import httpx
import pytest
from builders import PATIENCE, wait
from builders.live import expected, serving

pytest.importorskip("websockets")
pytest.importorskip("prometheus_client")

from builders.metrics_page import samples
from builders.websocket_calls import START, call_of, rest, say
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def get(url, path):
    return httpx.get(url.replace("ws://", "http://") + path, timeout=PATIENCE)


def test_the_health_check_of_a_service_with_a_loaded_detector_says_ready(serve):
    answer = get(serve(), "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "model": "small.pth"})


def test_no_client_is_served_before_the_detector_is_loaded(judge):
    may_end = threading.Event()

    def load():
        may_end.wait(PATIENCE)
        return judge()

    with serving(None, load=load) as (url, _):
        with pytest.raises(InvalidStatus, match="503"):
            connect(url)
        may_end.set()


def test_the_health_check_of_a_service_that_stops_says_stopping(judge):
    with serving(judge(), drain=PATIENCE) as (url, stop), connect(url) as client:
        say(client, **START)
        client.recv()
        stop.number = signal.SIGTERM
        wait(lambda: get(url, "/health").json()["status"] == "stopping")
        assert get(url, "/health").status_code == 503
        say(client, event="stop")
        rest(client)


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
