"""Calls of clients of `nes2net listen --serve`, and a server in a process of its own."""

import json
import re
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from builders import PATIENCE
from builders.live import HOP, WINDOW, expected, lines_of

START = {"event": "start", "rate": 16000, "encoding": "f32le"}
FIRST = 20000  # samples of a call before something happens, up to the end of its fourth window


def say(client, **message):
    client.send(json.dumps(message))


def rest(client):
    """All lines until the server closes."""
    return [json.loads(line) for line in client]


def rest_or_closed(client):
    """All lines until the server closes, or breaks off."""
    lines = []
    with suppress(ConnectionClosed):
        while True:
            lines.append(json.loads(client.recv(PATIENCE)))
    return lines


def send_first(client, call):
    """Start a session, and send the first samples of a call."""
    say(client, **START)
    client.send(call[0, :FIRST].tobytes())


def lines_of_first(client, call):
    """Send the first samples of a call; return the five lines about them."""
    send_first(client, call)
    return [json.loads(client.recv()) for _ in range(5)]


def send_rest(client, call):
    client.send(call[0, FIRST:].tobytes())
    say(client, event="stop")


def lose(client):
    """End a connection without the handshake that ends a call."""
    client.socket.shutdown(socket.SHUT_RDWR)


def resume(url, lines, content=b"", **start):
    """The lines of a client that comes back to the session of ``lines``."""
    return call_of(url, content, session=lines[0]["session"], **start)


def gap_in(lines):
    (gap,) = lines_of(lines, "gap")
    return gap


def windows_around(detector, call, gap):
    """The windows of the first samples of a call, and of the rest behind a gap."""
    windows = expected(detector, call[0, :FIRST])
    for start, end, score in expected(detector, call[0, FIRST:]):
        windows.append(pytest.approx((start + gap["end"], end + gap["end"], score)))
    return windows


def call_of(url, content, step=640, **start):
    """The lines that a well-behaved client gets."""
    with connect(url, compression=None) as client:
        say(client, **{**START, **start})
        for first in range(0, len(content), step):
            client.send(content[first : first + step])
        say(client, event="stop")
        return rest(client)


@contextmanager
def server_process(listen_folder, *options, before=()):
    """A server in a process of its own, started by the words ``before``; gives the process and its address."""
    settings = ["--window", WINDOW, "--hop", HOP, "--keep", "all", "--device", "cpu"]
    command = [sys.executable, "-m", "nes2net", "listen", "--serve", 0, "--model", listen_folder / "small.pth"]
    words = [*before, *command, *settings, *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(list(map(str, words)), **output) as process:
        try:
            yield process, re.search(r"ws://[\d.:]+", process.stdout.readline()).group()
        finally:
            process.kill()
