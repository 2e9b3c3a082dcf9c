"""What whoever runs `nes2net listen --serve` asks it: health and metrics."""

import threading

import httpx
import pytest
from builders import PATIENCE
from builders.live import expected, serving

pytest.importorskip("websockets")
pytest.importorskip("prometheus_client")

from builders.metrics_page import samples
from builders.websocket_calls import call_of
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


def test_after_a_call_the_metrics_count_it_as_ended_and_a_score_with_its_lag_for_each_window(serve, small, call):
    url = serve()
    call_of(url, call[0].tobytes())
    counts = samples(get(url, "/metrics").text)
    assert counts["nes2net_calls_total", "1000"] == 1
    assert counts["nes2net_calls_present",] == 0
    number = len(expected(small, call[0]))
    assert counts["nes2net_windows_total", "scored"] == number
    assert counts["nes2net_lag_seconds_count",] == number
