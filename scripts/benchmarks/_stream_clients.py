"""Five calls to `nes2net listen --serve` in real time, beside clients that vanish, send garbage, never read or never ask."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from nes2net.data.audio.pcm import RawAudio
from nes2net.detector import Detector

RATE = 8000
FRAME = 160  # bytes of mu-law, 20 ms
NUM_CALLS = 5
MOST_CLIENTS = 12  # calls and hostile clients, also those whose end the server has not yet noticed
MOST_FILES = 200  # files and connections that the server may have open
NUM_SILENT = 300  # connections that ask for nothing, at once
START = {"event": "start", "rate": RATE, "encoding": "mulaw"}
LOST = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError)


def own_memory(pid: int | str = "self") -> float:
    """Read the MiB of a process without mapped files, from Linux."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("RssAnon"))


def noise(seconds: float, seed: int) -> bytes:
    """Make mu-law noise whose loudness changes ten times a second, so that windows have different scores."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.01, 0.3, round(10 * seconds) + 1), RATE // 10)
    with tempfile.NamedTemporaryFile(suffix=".raw") as file:
        soundfile.write(file.name, loudness * rng.standard_normal(len(loudness)), RATE, "ULAW", "LITTLE", "RAW")
        return Path(file.name).read_bytes()[: round(seconds * RATE)]


def call(url: str, content: bytes, lines: list[dict[str, Any]]) -> None:
    """Send a call in real time, and collect all ``lines`` of the server."""

    def send(server: ClientConnection) -> None:
        """Send frames of 20 ms, each when it has been spoken."""
        began = time.monotonic()
        for first in range(0, len(content), FRAME):
            time.sleep(max(0.0, began + (first + FRAME) / RATE - time.monotonic()))
            server.send(content[first : first + FRAME])
        server.send(json.dumps({"event": "stop"}))

    with connect(url, compression=None) as server:
        server.send(json.dumps(START))
        sender = threading.Thread(target=send, args=[server], daemon=True)
        sender.start()
        for line in server:
            lines.append(json.loads(line))
        sender.join()


def vanish(url: str, rng: random.Random) -> None:
    """Send some seconds of audio at once, and cut the connection."""
    with connect(url) as server:
        server.send(json.dumps(START))
        server.send(rng.randbytes(RATE * rng.randint(1, 6)))
        time.sleep(rng.random())
        server.socket.shutdown(socket.SHUT_RDWR)


def send_garbage(url: str, rng: random.Random) -> None:
    """Send what no server expects, and wait until the server closes."""
    contents = ["garbage", "[" * 60000, rng.randbytes(1000), bytes(64 << 20), json.dumps({**START, "rate": -1})]
    content = rng.choice(contents)
    with connect(url, compression=None) as server:
        if rng.random() < 0.5:
            server.send(json.dumps({**START, "encoding": "f32le"}))
        with suppress(*LOST):
            server.send(content)
            server.send(content)
        for _ in server:
            pass


def never_read(url: str, rng: random.Random) -> None:
    """Send audio faster than it is spoken, and read nothing, until the server cuts the connection."""
    host, _, port = url.removeprefix("ws://").partition(":")
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect((host, int(port)))
        with connect(url, sock=plain, max_queue=1, compression=None) as server:
            server.send(json.dumps(START))
            while True:
                server.send(rng.randbytes(RATE // 10))
                time.sleep(0.01)


def ask_nothing(url: str, rng: random.Random) -> None:
    """Open more connections than the server has file descriptors, and send nothing."""
    host, _, port = url.removeprefix("ws://").partition(":")
    connections = []
    try:
        for _ in range(NUM_SILENT):
            with suppress(*LOST):
                connections.append(socket.create_connection((host, int(port)), 1))
        time.sleep(5 * rng.random())
    finally:
        for connection in connections:
            connection.close()


def repeat(act: Callable[[str, random.Random], None], url: str, until: threading.Event, counts: dict[str, int]) -> None:
    """Call ``act`` again and again until the end, and count the calls."""
    rng = random.Random(act.__name__)
    while not until.is_set():
        with suppress(*LOST):
            act(url, rng)
        counts[act.__name__] = counts.get(act.__name__, 0) + 1
        until.wait(0.2)


def windows(lines: list[dict[str, Any]]) -> list[tuple[float, float, float]]:
    """Choose start, end and score of the windows."""
    return [(line["start"], line["end"], line["score"]) for line in lines if line["event"] == "score"]


def measure(seconds: float, config: dict[str, Any]) -> None:
    """Serve the calls for ``seconds``, and print what each got, and the memory of the server, which has few files.

    Args:
        config: the configuration of the detector, which gets random weights.
    """
    logging.getLogger("websockets.client").setLevel(logging.CRITICAL)  # who never reads answers no ping
    detector = Detector.from_config(config).eval()
    contents = [noise(seconds, seed) for seed in range(NUM_CALLS)]
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "random.pth")
        words = ["listen", "--serve", "0", "--clients", str(MOST_CLIENTS), "--device", "cpu"]
        program = [sys.executable, "-m", "nes2net", *words, "--model", f"{folder}/random.pth"]
        command = ["bash", "-c", f'ulimit -n {MOST_FILES}; exec "$@"', "bash", *program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            first_line = server.stdout.readline()
            address = re.search(r"ws://[\d.:]+", first_line)
            assert address is not None, first_line
            url = address.group()
            until = threading.Event()
            counts: dict[str, int] = {}
            hostile = [
                threading.Thread(target=repeat, args=[act, url, until, counts], daemon=True)
                for act in (vanish, send_garbage, never_read, ask_nothing)
            ]
            lines: list[list[dict[str, Any]]] = [[] for _ in contents]
            calls = [threading.Thread(target=call, args=[url, *pair], daemon=True) for pair in zip(contents, lines)]
            for thread in calls:
                thread.start()
            time.sleep(1)  # until the calls are accepted
            for thread in hostile:
                thread.start()
            memory = []
            while any(thread.is_alive() for thread in calls):
                memory.append(own_memory(server.pid))
                calls[0].join(seconds / 60)
            until.set()
            server.terminate()
            server.wait()
    for number, (of_client, content) in enumerate(zip(lines, contents)):
        name = chr(ord("A") + number)
        stream = detector.stream(RATE, hop=1.0)
        expected = []
        for samples, _ in RawAudio(content, RATE, "mulaw").blocks():
            expected += [tuple(window) for window in stream.push(samples)]
        expected += [tuple(window) for window in stream.finish()]
        last = of_client[-1]
        if last["event"] != "end":
            print(f"client {name}: ENDED EARLY, after {len(windows(of_client))} windows: {last}")
            continue
        verdict = "those of the decoded call" if windows(of_client) == expected else "OTHERS than those of the call"
        print(
            f"client {name}: {len(windows(of_client))} windows, {verdict}; {last['skipped']} skipped; lag in s {last['lag']}"
        )
    print("load:", " ".join(f"{number:.1f}" for number in os.getloadavg()))
    print("hostile:", ", ".join(f"{name} {count} times" for name, count in sorted(counts.items())))
    tenths = [memory[(number + 1) * len(memory) // 10 - 1] for number in range(10)]
    print("memory of the server in MiB after each tenth of the time:", ", ".join(f"{tenth:.1f}" for tenth in tenths))
