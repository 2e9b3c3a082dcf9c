"""WebSocket clients: each gets the lines of its audio, whatever the others do."""

import json
import socket
import threading
import time
from contextlib import ExitStack, suppress

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, input_error
from builders.live import expected, serving, windows

pytest.importorskip("websockets")

from builders.websocket_calls import (
    FIRST,
    START,
    call_of,
    gap_in,
    lines_of_first,
    lose,
    rest,
    rest_or_closed,
    resume,
    say,
    send_first,
    send_rest,
    server_process,
    windows_around,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from nes2net.apps.listen import server as server_module
from nes2net.data.audio.pcm import RawAudio
from nes2net.lib.web import websockets


def lines_until_lost(url, call):
    """The lines about the first samples of a call whose connection is lost then."""
    with connect(url) as client:
        lines = lines_of_first(client, call)
        lose(client)
    time.sleep(0.3)
    return lines


def started(client, **start):
    """Start a session; return the line ``ready`` as a list."""
    say(client, **START, **start)
    return [json.loads(client.recv())]


def assert_served(url, small, call):
    """A client that behaves well gets the windows of its call."""
    assert windows(call_of(url, call[0].tobytes())) == expected(small, call[0])


def test_a_call_of_two_channels_in_mu_law_has_the_scores_of_its_decoded_samples(serve, small, call, tmp_path):
    """At 8 kHz, in messages that end within a sample of the two channels."""
    soundfile.write(tmp_path / "call.ulaw", call.T, 8000, "ULAW", "LITTLE", "RAW")
    content = (tmp_path / "call.ulaw").read_bytes()
    samples = np.concatenate([block for block, _ in RawAudio(content, 8000, "mulaw", 2).blocks()], axis=1)
    names = ["agent", "caller"]
    lines = call_of(serve(), content, 321, rate=8000, encoding="mulaw", channels=2, names=names)
    for name, channel in zip(names, samples):
        assert windows(lines, name) == expected(small, channel, 8000)


def test_no_window_spans_a_gap_that_the_client_reports(serve, small, call):
    with connect(serve()) as client:
        send_first(client, call)
        client.send(b"\1\2")  # a part of a sample
        say(client, event="gap", seconds=2.25)
        send_rest(client, call)
        lines = rest(client)
    gap = gap_in(lines)
    assert (gap["start"], gap["end"]) == (1.25, 3.5)
    later = [(start + 3.5, end + 3.5, score) for start, end, score in expected(small, call[0, FIRST:])]
    assert windows(lines) == expected(small, call[0, :FIRST]) + later


def test_the_pause_of_a_muted_caller_is_a_gap(judge, small, call):
    """The client of the call sends keepalive messages and no audio."""
    with serving(judge(keep="all")) as (url, _), connect(url) as client:
        send_first(client, call)
        for _ in range(3):
            time.sleep(0.1)
            say(client, event="keepalive")
        send_rest(client, call)
        lines = rest(client)
    gap = gap_in(lines)
    assert gap["start"] == 1.25
    assert 0.1 <= gap["end"] - 1.25 < PATIENCE
    assert windows(lines) == windows_around(small, call, gap)


def test_a_client_that_sends_nothing_gets_an_error_after_the_idle_time(judge):
    with serving(judge(), idle=0.3) as (url, _), connect(url) as client:
        line = json.loads(client.recv())
    assert line["event"] == "error"
    assert "nothing came for 0.3 s" in line["message"]


def test_of_pages_of_other_sites_only_those_of_an_allowed_one_may_connect(judge):
    with serving(judge(), allow_origin=["https://App.example/"]) as (url, _):
        with connect(url, origin="https://app.example") as client:
            assert started(client)[0]["event"] == "ready"
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, origin="https://other.example")


def test_a_lost_call_is_resumed_after_a_gap(serve, small, call):
    url = serve()
    lines = lines_until_lost(url, call)
    resumed = resume(url, lines, call[0, FIRST:].tobytes())
    assert resumed[0]["resumed"]
    assert resumed[0]["session"] == lines[0]["session"]
    gap = gap_in(resumed)
    assert gap["start"] == 1.25
    assert 0 < gap["end"] - 1.25 < PATIENCE
    assert windows(lines + resumed) == windows_around(small, call, gap)


def test_a_client_that_asks_for_a_call_that_has_ended_gets_a_new_session(serve):
    url = serve()
    lines = call_of(url, b"")
    again = resume(url, lines)
    assert not again[0]["resumed"]
    assert again[0]["session"] != lines[0]["session"]


def test_a_lost_call_that_comes_back_with_another_sample_rate_is_refused(serve):
    url = serve()
    with connect(url) as client:
        lines = started(client)
        lose(client)
    time.sleep(0.3)
    with connect(url) as client:
        say(client, **{**START, "rate": 8000}, session=lines[0]["session"])
        assert "had another rate" in rest_or_closed(client)[0]["message"]


def test_a_client_that_has_lost_its_call_can_resume_it_before_the_server_notices_the_loss(serve, small, call):
    url = serve()
    with connect(url) as lost:
        lines = lines_of_first(lost, call)
        resumed = resume(url, lines, call[0, FIRST:].tobytes())
        assert resumed[0]["resumed"]
        assert rest_or_closed(lost) == []
    assert windows(lines + resumed)[:4] == expected(small, call[0, :FIRST])[:4]


def test_a_lost_call_is_not_resumed_after_the_time_for_which_the_server_remembers_it(serve, monkeypatch):
    monkeypatch.setattr(server_module, "MEMORY", 0.0)
    url = serve()
    with connect(url) as client:
        lines = started(client)
        lose(client)
    assert not resume(url, lines)[0]["resumed"]


def send_file(client):
    """Send the header of a WAV file as audio."""
    say(client, **START)
    client.send(b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes(640))


GARBAGE = {
    "no start": (lambda client: client.send(b"\0" * 640), "the first message must be text such as"),
    "no JSON": (lambda client: client.send("hello"), "is not understood"),
    "deep JSON": (lambda client: client.send("[" * 60000), "nested more than"),
    "long text": (lambda client: say(client, **START, session="x" * 70000), "at most 65536 characters"),
    "a file": (send_file, "the header of an audio file (WAV)"),
    "NaN": (lambda client: (say(client, **START), client.send(np.full(4000, np.nan, "<f4").tobytes())), "NaN"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_message_that_cannot_be_used_ends_the_call_with_a_reason(serve, kind):
    act, message = GARBAGE[kind]
    with connect(serve()) as client:
        act(client)
        lines = rest_or_closed(client)
        assert lines[-1]["event"] == "error"
        assert message in lines[-1]["message"]
        assert client.close_code == 1008


def test_an_exception_in_the_scoring_of_a_call_is_told_to_its_client_and_does_not_end_the_server(
    serve, small, call, monkeypatch
):
    """The next call is scored."""
    url = serve()
    with connect(url) as client:
        started(client)
        with monkeypatch.context() as patch:
            patch.setattr(small, "scores", lambda *_: 1 / 0)
            send_rest(client, call)
            message = rest_or_closed(client)[-1]["message"]
        assert message == "not scored: the server failed (ZeroDivisionError)"
        assert client.close_code == 1011
    assert_served(url, small, call)


def test_the_server_of_listen_does_not_offer_compression(serve):
    with connect(serve(), compression="deflate") as client:
        assert client.response.headers.get("Sec-WebSocket-Extensions") is None


def test_a_huge_websocket_frame_is_refused_by_its_stated_length(serve):
    with connect(serve(), compression=None) as client:
        client.socket.sendall(b"\x82\xff" + (1 << 62).to_bytes(8) + bytes(4))
        rest_or_closed(client)
        assert client.close_code == 1009


def address_of(url):
    host, port = url.removeprefix("ws://").split(":")
    return host, int(port)


def test_200_silent_connections_neither_keep_a_client_out_nor_cut_off_a_call_under_way(serve, small, call):
    url = serve()
    with connect(url) as client, ExitStack() as strangers:
        lines = lines_of_first(client, call)
        for _ in range(200):
            strangers.enter_context(socket.create_connection(address_of(url), PATIENCE))
        assert_served(url, small, call)
        send_rest(client, call)
        assert windows(lines + rest(client)) == expected(small, call[0])


@pytest.mark.slow
def test_a_server_with_few_descriptors_serves_clients_during_and_after_many_silent_connections(
    listen_folder, small, call
):
    limited = ["bash", "-c", 'ulimit -n 128; exec "$@"', "limited"]
    with server_process(listen_folder, before=limited) as (_, url), ExitStack() as strangers:
        for _ in range(300):
            strangers.enter_context(socket.create_connection(address_of(url), PATIENCE))
        assert_served(url, small, call)
        strangers.close()
        assert_served(url, small, call)


def test_a_limit_of_clients_for_which_the_process_has_too_few_descriptors_is_refused(monkeypatch):
    monkeypatch.setattr(server_module, "most_connections", lambda: 32)
    with input_error("`clients` must be at most 32, not 33, because this process may open only"):
        server_module.Calls("small.pth", server_module.ServerSettings(clients=33))


def never_reads(url):
    """A client that sends all the time and reads nothing, until it is cut."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(address_of(url))
        with connect(url, sock=sock, max_queue=1, compression=None) as client, suppress(ConnectionClosed, OSError):
            say(client, **{**START, "rate": 1000, "encoding": "mulaw"})
            while True:
                client.send(bytes(1 << 13))


def sends_garbage(url, until):
    while not until.is_set():
        with suppress(ConnectionClosed, OSError, TimeoutError), connect(url) as client:
            say(client, **{**START, "encoding": "s16le"})
            client.send(np.random.default_rng(0).bytes(100_000))
            client.send("garbage")
            rest_or_closed(client)


def test_a_client_that_never_reads_is_closed_and_neither_it_nor_garbage_changes_the_lines_of_another(
    serve, small, call, monkeypatch
):
    monkeypatch.setattr(websockets, "MAX_SEND_SECONDS", 0.1)
    url = serve()
    until = threading.Event()
    reader = threading.Thread(target=never_reads, args=[url])
    sender = threading.Thread(target=sends_garbage, args=[url, until])
    reader.start()
    sender.start()
    try:
        assert windows(call_of(url, call[0].tobytes(), 6400)) == expected(small, call[0])
    finally:
        until.set()
        reader.join(PATIENCE)
        sender.join(PATIENCE)
    assert not reader.is_alive()
