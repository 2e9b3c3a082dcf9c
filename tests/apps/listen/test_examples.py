"""The bridges and the client of docs/listen.md: conversations of frames have the scores of the decoded audio."""

import ast
import base64
import json
import os
import re
import runpy
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from builders import PATIENCE
from builders.live import expected, windows
from conftest import REPOSITORY, repository_text

pytest.importorskip("websockets")

from websockets.sync.client import connect
from websockets.sync.server import serve as websocket_server

from nes2net.data.audio.pcm import RawAudio

FRAME = 160


@pytest.fixture
def bridge(serve):
    """A function that starts the bridge of a service; gives its address, and a function that ends it."""
    servers = []

    def start(name):
        program = runpy.run_path(str(REPOSITORY / "docs" / "examples" / f"{name}_bridge.py"))
        program["call"].__globals__["LISTEN"] = serve()
        ended = threading.Event()

        def call(connection):
            program["call"](connection)
            ended.set()

        server = websocket_server(call, "127.0.0.1", 0)
        servers.append(server)
        threading.Thread(target=server.serve_forever).start()
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}", ended

    yield start
    for server in servers:
        server.shutdown()


def mulaw(samples, folder) -> tuple[bytes, np.ndarray]:
    """Samples (N,) as bytes, and what they are decoded to."""
    soundfile.write(folder / "raw", samples, 8000, "ULAW", "LITTLE", "RAW")
    content = (folder / "raw").read_bytes()
    return content, np.concatenate([block[0] for block, _ in RawAudio(content, 8000, "mulaw").blocks()])


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_twilio_bridge_scores_two_tracks_with_a_hole(bridge, small, call, tmp_path, capsys):
    """Two tracks in turn, with a hole of half a second in one of them; numbers are texts."""
    url, ended = bridge("twilio")
    tracks = {name: mulaw(channel, tmp_path) for name, channel in zip(("inbound", "outbound"), call[:, :16000])}
    numbers = map(str, range(1, 10_000))
    with connect(url) as twilio:

        def send(event, **message):
            twilio.send(json.dumps({"event": event, "sequenceNumber": next(numbers), "streamSid": "MZ0", **message}))

        twilio.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        facts = {"accountSid": "AC0", "callSid": "CA0", "tracks": list(tracks), "customParameters": {}}
        send("start", start={**facts, "streamSid": "MZ0", "mediaFormat": form})
        for number, first in enumerate(range(0, 16000, FRAME)):
            for name, (content, _) in tracks.items():
                late = 500 if name == "inbound" and first >= 8000 else 0
                payload = base64.b64encode(content[first : first + FRAME]).decode()
                media = {
                    "track": name,
                    "chunk": str(number + 1),
                    "timestamp": str(20 * number + late),
                    "payload": payload,
                }
                send("media", media=media)
            if number == 10:
                send("dtmf", dtmf={"track": "inbound_track", "digit": "1"})
                send("mark", mark={"name": "greeting"})
        send("stop", stop={"accountSid": "AC0", "callSid": "CA0"})
        assert ended.wait(PATIENCE)
    lines = said(capsys)
    assert windows(lines, "outbound") == expected(small, tracks["outbound"][1], 8000)
    inbound = tracks["inbound"][1]
    later = [(start + 1.5, end + 1.5, score) for start, end, score in expected(small, inbound[8000:], 8000)]
    assert windows(lines, "inbound") == expected(small, inbound[:8000], 8000) + later
    assert [(line["start"], line["end"]) for line in lines if line["event"] == "gap"] == [(1.0, 1.5)]


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_vonage_bridge_scores_its_16_bit_audio(bridge, small, call, capsys, rate):
    url, ended = bridge("vonage")
    samples = (call[0, :24000] * 32767).astype("<i2")
    with connect(url) as vonage:
        connected = {"event": "websocket:connected", "content-type": f"audio/l16;rate={rate}", "caller": "447700900000"}
        vonage.send(json.dumps(connected))
        for first in range(0, len(samples), rate // 50):
            vonage.send(samples[first : first + rate // 50].tobytes())
            if first == 0:
                vonage.send(json.dumps({"event": "websocket:dtmf", "digit": "5", "duration": 260}))
    assert ended.wait(PATIENCE)
    assert windows(said(capsys)) == expected(small, samples / np.float32(32768), rate)


@pytest.fixture
def client_of_the_manual(serve, tmp_path):
    """A function that starts the script of docs/listen.md, with a pipe in place of the call's file."""
    page = repository_text("docs/listen.md")
    script, shown = re.search(r"```python\n([^`]*connect\([^`]*)```\n\n```text\n(.*?)```", page, re.DOTALL).groups()
    os.mkfifo(tmp_path / "call.ulaw")
    processes = []

    def start():
        program = script.replace("ws://127.0.0.1:7861", serve(keep=None, max_behind=1.5))
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path, text=True)
        processes.append(process)
        return process, tmp_path / "call.ulaw", shown

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def conversation(client_of_the_manual, small, call, tmp_path, monkeypatch):
    """The audio of a call, what the client printed, and what the manual shows; scoring is slow.

    The rest of the call is spoken only after the first score was printed.
    """
    scores = small.scores
    content, decoded = mulaw(np.tile(call[0], 3)[:32000], tmp_path)
    monkeypatch.setattr(small, "scores", lambda *waveforms: (time.sleep(0.05), scores(*waveforms))[1])
    process, pipe, shown = client_of_the_manual()
    lines = []
    with pipe.open("wb", buffering=0) as speech:
        speech.write(content[:8000])
        while not windows(lines):
            lines.append(ast.literal_eval(process.stdout.readline()))
        speech.write(content[8000:])
    for line in process.stdout:
        lines.append(ast.literal_eval(line))
    return decoded, lines, shown


def test_the_client_of_the_manual_prints_every_window_during_the_call(conversation, small):
    decoded, lines, _ = conversation
    assert windows(lines) == expected(small, decoded, 8000)
    assert lines[-1]["skipped"] == 0


def test_the_client_prints_the_keys_that_the_manual_shows(conversation):
    _, lines, shown = conversation
    events = {line["event"]: line for line in lines}
    for text in shown.splitlines():
        if text != "…":
            event = re.search(r"'event': '(\w+)'", text)[1]
            keys = re.findall(r"'(\w+)': ", text)
            assert set(keys) <= set(events[event])
