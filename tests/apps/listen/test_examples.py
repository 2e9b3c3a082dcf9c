"""The bridges and the client of docs/listen.md: conversations of frames have the scores of the decoded audio."""

import ast
import base64
import json
import re
import runpy
import subprocess
import sys
import threading
from types import SimpleNamespace

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


@pytest.fixture
def tracks(call, tmp_path):
    """Two seconds of the tracks of a call: bytes, and what they are decoded to."""
    return {name: mulaw(channel, tmp_path) for name, channel in zip(("inbound", "outbound"), call[:, :16000])}


@pytest.fixture
def twilio_lines(bridge, tracks, capsys):
    """A function that sends the tracks through the bridge as Twilio does, in turn and with numbers as strings.

    From the second second on, the inbound track comes some ms later. Gives what the bridge prints.
    """

    def converse(late=0):
        url, ended = bridge("twilio")
        numbers = map(str, range(1, 10_000))
        with connect(url) as twilio:

            def send(event, **message):
                twilio.send(
                    json.dumps({"event": event, "sequenceNumber": next(numbers), "streamSid": "MZ0", **message})
                )

            twilio.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
            form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
            facts = {"accountSid": "AC0", "callSid": "CA0", "tracks": list(tracks), "customParameters": {}}
            send("start", start={**facts, "streamSid": "MZ0", "mediaFormat": form})
            for number, first in enumerate(range(0, 16000, FRAME)):
                for name, (content, _) in tracks.items():
                    is_late = name == "inbound" and first >= 8000
                    payload = base64.b64encode(content[first : first + FRAME]).decode()
                    media = {
                        "track": name,
                        "chunk": str(number + 1),
                        "timestamp": str(20 * number + late * is_late),
                        "payload": payload,
                    }
                    send("media", media=media)
            send("mark", mark={"name": "greeting"})
            send("stop", stop={"accountSid": "AC0", "callSid": "CA0"})
            assert ended.wait(PATIENCE)
        return said(capsys)

    return converse


@pytest.mark.parametrize("track", ["inbound", "outbound"])
def test_each_track_of_a_call_through_the_twilio_bridge_has_the_scores_of_its_samples(
    twilio_lines, tracks, small, track
):
    assert windows(twilio_lines(), track) == expected(small, tracks[track][1], 8000)


def test_no_window_of_the_twilio_bridge_spans_a_gap_in_the_timestamps_of_a_track(twilio_lines, tracks, small):
    lines = twilio_lines(late=500)
    inbound = tracks["inbound"][1]
    later = [(start + 1.5, end + 1.5, score) for start, end, score in expected(small, inbound[8000:], 8000)]
    assert windows(lines, "inbound") == expected(small, inbound[:8000], 8000) + later
    assert [(line["start"], line["end"]) for line in lines if line["event"] == "gap"] == [(1.0, 1.5)]


@pytest.mark.parametrize("rate", [8000, 16000])
def test_audio_of_16_bit_through_the_vonage_bridge_has_the_scores_of_its_samples(bridge, small, call, capsys, rate):
    url, ended = bridge("vonage")
    samples = (call[0, :24000] * 32767).astype("<i2")
    with connect(url) as vonage:
        connected = {"event": "websocket:connected", "content-type": f"audio/l16;rate={rate}", "caller": "447700900000"}
        vonage.send(json.dumps(connected))
        for first in range(0, len(samples), rate // 50):
            vonage.send(samples[first : first + rate // 50].tobytes())
    assert ended.wait(PATIENCE)
    assert windows(said(capsys)) == expected(small, samples / np.float32(32768), rate)


def manual_client(url):
    """The program in docs/listen.md, with another address."""
    page = repository_text("docs/listen.md")
    return re.search(r"```python\n([^`]*connect\([^`]*)```", page)[1].replace("ws://127.0.0.1:7861", url)


def test_the_client_of_the_manual_prints_every_window(serve, small, call, tmp_path):
    content, decoded = mulaw(call[0, :16000], tmp_path)
    (tmp_path / "call.ulaw").write_bytes(content)
    program = manual_client(serve())
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True, timeout=PATIENCE)
    lines = [ast.literal_eval(line) for line in printed.splitlines()]
    assert windows(lines) == expected(small, decoded, 8000)


def test_the_client_of_the_manual_sends_by_the_clock(serve, tmp_path, monkeypatch):
    """Each of its pauses lasts longer than it asks for; the delays do not add up."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds):
        clock.now += seconds + 0.005

    monkeypatch.chdir(tmp_path)
    (tmp_path / "call.ulaw").write_bytes(bytes(8000))
    program = manual_client(serve()).replace("import time\n", "")
    exec(program, {"time": SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)})
    assert clock.now == pytest.approx(1.0, abs=0.006)
