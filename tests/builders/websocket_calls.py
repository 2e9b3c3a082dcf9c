"""Calls of clients of `nes2net listen --serve`, and a server in a process of its own."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager

from websockets.sync.client import connect

from builders.live import HOP, WINDOW

START = {"event": "start", "rate": 16000, "encoding": "f32le"}


def say(client, **message):
    client.send(json.dumps(message))


def rest(client):
    """All lines until the server closes."""
    return [json.loads(line) for line in client]


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
    """A server in a process of its own; gives the process and its address."""
    settings = ["--window", WINDOW, "--hop", HOP, "--keep", "all", "--device", "cpu"]
    command = [sys.executable, "-m", "nes2net", "listen", "--serve", 0, "--model", listen_folder / "small.pth"]
    words = [*before, *command, *settings, *options]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(list(map(str, words)), **output) as process:
        try:
            yield process, re.search(r"ws://[\d.:]+", process.stdout.readline()).group()
        finally:
            process.kill()
