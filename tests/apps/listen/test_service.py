"""`nes2net listen --serve` as a service: what it counts and logs, how it drains, and who continues a call."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from builders import PATIENCE, wait
from builders.live import HOP, WINDOW, expected, lines_of, serving, windows

pytest.importorskip("websockets")
pytest.importorskip("prometheus_client")

from builders.metrics_page import samples
from builders.websocket_calls import (
    FIRST,
    START,
    call_of,
    lines_of_first,
    lose,
    rest,
    rest_or_closed,
    resume,
    say,
    send_rest,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from nes2net.apps.listen import saved_calls
from nes2net.apps.listen import server as server_module
from nes2net.apps.listen.listening import Listening
from nes2net.apps.listen.saved_calls import SavedCalls
from nes2net.lib.web.service_log import logging_as


def counts(url):
    return samples(httpx.get(url.replace("ws://", "http://") + "/metrics", timeout=PATIENCE).text)


def wait_until_counted(url, code):
    """Wait for the end of a call with this code, which the client may notice before the server."""
    wait(lambda: ("nes2net_calls_total", str(code)) in counts(url))


@pytest.mark.parametrize(
    "status, headers",
    [(403, {"Origin": "https://evil.example"}), (421, {"Host": "evil.example"}), (426, {})],
    ids=["of a page of another site", "to another host name", "without WebSocket"],
)
def test_a_call_that_is_refused_by_its_head_is_counted_with_its_http_status(serve, status, headers):
    url = serve()
    assert httpx.get(url.replace("ws://", "http://"), headers=headers, timeout=PATIENCE).status_code == status
    assert counts(url)["nes2net_calls_total", str(status)] == 1


def test_a_call_above_the_largest_number_of_clients_is_refused_and_counted(serve):
    url = serve(clients=1)
    with connect(url) as first:
        say(first, **START)
        first.recv()
        with connect(url) as second:
            assert "busy" in rest_or_closed(second)[0]["message"]
            assert second.close_code == 1013
        assert counts(url)["nes2net_calls_total", "1013"] == 1


def test_the_log_of_calls_tells_their_begin_alarms_end_refusals_and_errors_but_no_scores(
    judge, calls_it_spoof, small, call, capsys, monkeypatch
):
    """Of a call with an alarm, a refused one, a wrong one, and one at which the server fails."""
    with logging_as("json"), serving(judge(calls_it_spoof, keep="all", latch=True)) as (url, _):
        call_of(url, call[0].tobytes())
        wait_until_counted(url, 1000)
        with pytest.raises(InvalidStatus):
            connect(url, origin="https://evil.example")
        with connect(url) as client:
            client.send("hello")
            rest_or_closed(client)
        wait_until_counted(url, 1008)
        with connect(url) as client, monkeypatch.context() as patch:
            patch.setattr(small, "scores", lambda *_: 1 / 0)
            say(client, **START)
            send_rest(client, call)
            rest_or_closed(client)
        wait_until_counted(url, 1011)
    log = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len([line for line in log if line["time"]]) == 10
    calls = [line for line in log if line["event"] != "message"]
    events = ["begin", "alarm", "end", "refusal", "error", "end", "begin", "error", "end"]
    assert [line["event"] for line in calls] == events
    assert [line["code"] for line in calls if "code" in line] == [1000, 403, 1008, 1011]
    begin, alarm, end = log[:3]
    assert begin["call"] == alarm["call"] == end["call"]
    assert set(alarm) == {"time", "level", "event", "call", "seconds", "because"}
    keys = {key for line in log for key in line}
    assert not keys & {"session", "score", "probability", "against"}
    (message,) = [line for line in log if line["event"] == "message"]
    assert "ZeroDivisionError" in message["traceback"]


@pytest.fixture
def draining(judge, call):
    """A server that lets calls end after it was stopped, and the client of a call under way, with its first lines."""
    with serving(judge(keep="all"), drain=PATIENCE) as (url, stop), connect(url) as client:
        lines = lines_of_first(client, call)
        stop.number = signal.SIGTERM
        health = url.replace("ws://", "http://") + "/health"
        wait(lambda: httpx.get(health).json()["status"] == "stopping")
        assert httpx.get(health).status_code == 503
        yield url, client, lines


def test_a_server_that_drains_refuses_new_calls_while_one_under_way_goes_on_to_its_end(draining, small, call):
    url, client, lines = draining
    with pytest.raises(InvalidStatus, match="503"):
        connect(url)
    send_rest(client, call)
    assert windows(lines + rest(client)) == expected(small, call[0])
    assert client.close_code == 1000


def test_a_call_that_lasts_longer_than_the_server_drains_gets_its_last_lines(judge, small, call):
    with serving(judge(keep="all"), drain=0.3) as (url, stop), connect(url) as client:
        lines = lines_of_first(client, call)
        stop.number = signal.SIGTERM
        lines += rest_or_closed(client)
        assert windows(lines) == expected(small, call[0, :FIRST])
        assert lines[-1]["event"] == "end"
        assert client.close_code == 1001


@pytest.mark.slow
def test_a_server_drains_after_a_sigterm_and_logs_lines_of_json(listen_folder, small, call):
    options = ["--window", WINDOW, "--hop", HOP, "--keep", "all", "--device", "cpu"]
    options += ["--drain", PATIENCE, "--log", "json"]
    command = [
        sys.executable,
        "-m",
        "nes2net",
        "listen",
        "--serve",
        0,
        "--model",
        listen_folder / "small.pth",
        *options,
    ]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as server:
        url = json.loads(server.stderr.readline())["url"]
        with connect(url) as client:
            lines = lines_of_first(client, call)
            server.send_signal(signal.SIGTERM)
            send_rest(client, call)
            assert windows(lines + rest(client)) == expected(small, call[0])
        _, log = server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["begin", "end"]


def together(clients, token):
    """Let clients come back with one session at once; return the first line of each, or that it was cut."""
    lines = [None] * len(clients)
    barrier = threading.Barrier(len(clients))

    def come(number):
        barrier.wait()
        say(clients[number], **START, session=token)
        try:
            lines[number] = json.loads(clients[number].recv(PATIENCE))
        except ConnectionClosed:  # a later one continues the call
            lines[number] = {"event": "cut"}

    threads = [threading.Thread(target=come, args=[number]) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return lines


@pytest.fixture
def held(monkeypatch):
    """An event; the thread of a lost connection ends only when it is set."""
    may_end = threading.Event()
    ends = Listening.wait

    def wait_longer(listening, *arguments):
        may_end.wait(PATIENCE)
        ends(listening, *arguments)

    monkeypatch.setattr(Listening, "wait", wait_longer)
    yield may_end
    may_end.set()


def test_a_reconnection_waits_for_a_lost_connection_that_does_not_end_only_as_long_as_sessions_are_kept(
    serve, call, held, monkeypatch
):
    monkeypatch.setattr(server_module, "MEMORY", 0.2)
    url = serve()
    with connect(url) as lost, connect(url) as client:
        token = lines_of_first(lost, call)[0]["session"]
        (line,) = together([client], token)
        assert line["event"] == "ready"
        assert not line["resumed"]
        held.set()


def test_each_of_three_clients_that_come_back_with_one_session_at_once_gets_an_answer(serve, call):
    url = serve()
    with connect(url) as lost, connect(url) as first, connect(url) as second, connect(url) as third:
        token = lines_of_first(lost, call)[0]["session"]
        lines = together([first, second, third], token)
        assert all(line["event"] in ("ready", "cut") for line in lines)
        assert any(line.get("resumed") for line in lines)


@pytest.fixture
def lost_call(judge, call, tmp_path):
    """A function that starts a server with saved calls; the first lines of a call that another server lost."""
    settings = {"state": str(tmp_path / "state")}
    with serving(judge(keep="all"), **settings) as (url, _), connect(url) as client:
        lines = lines_of_first(client, call)
        lose(client)
    return lambda: serving(judge(keep="all"), **settings), lines


def set_clock(monkeypatch, monotonic):
    """Set the clock by which calls are saved; the server itself needs the true one."""
    for module in (saved_calls, server_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))


def test_a_saved_call_is_continued_by_one_connection_only(lost_call, call, monkeypatch):
    """Here a second one comes while the first waits for the saved state; the later one continues the call."""
    begin, lines = lost_call
    restore = SavedCalls.restore
    barrier = threading.Barrier(2, timeout=PATIENCE)

    def slowly(*arguments):
        barrier.wait()
        return restore(*arguments)

    monkeypatch.setattr(SavedCalls, "restore", slowly)
    with begin() as (url, _), connect(url) as first, connect(url) as second:
        say(first, **START, session=lines[0]["session"])
        say(second, **START, session=lines[0]["session"])
        barrier.wait()
        rest_or_closed(first)
        assert json.loads(second.recv(PATIENCE))["resumed"]


def test_a_call_on_hold_whose_last_line_is_older_than_ten_minutes_continues_after_a_restart(lost_call, monkeypatch):
    """Its gap is as long as the time since that line."""
    begin, lines = lost_call
    set_clock(monkeypatch, lambda: time.monotonic() + 700)
    with begin() as (url, _):
        resumed = resume(url, lines, np.zeros(8000, np.float32).tobytes())
    assert resumed[0]["resumed"]
    (gap,) = lines_of(resumed, "gap")
    assert gap["end"] - gap["start"] >= 700


def test_the_age_of_a_saved_call_is_not_measured_by_the_clock_of_the_day(lost_call, monkeypatch, tmp_path):
    """Here this clock is set forward by a day after the call was lost."""
    begin, lines = lost_call
    monkeypatch.setattr(
        saved_calls, "time", SimpleNamespace(time=lambda: time.time() + 86400, monotonic=time.monotonic)
    )
    with begin() as (url, _):
        assert resume(url, lines)[0]["resumed"]


def test_a_saved_call_does_not_continue_after_a_restart_of_the_machine(lost_call, monkeypatch):
    """The monotonic clock then begins again."""
    begin, lines = lost_call
    set_clock(monkeypatch, lambda: 1.0)
    with begin() as (url, _):
        assert not resume(url, lines)[0]["resumed"]


def test_a_server_removes_the_state_of_a_lost_call_after_ten_minutes(lost_call, tmp_path, monkeypatch):
    begin, lines = lost_call
    (path,) = Path(tmp_path / "state").iterdir()
    with begin() as (url, _):
        set_clock(monkeypatch, lambda: time.monotonic() + 601)
        assert not resume(url, lines)[0]["resumed"]
    assert not path.exists()
