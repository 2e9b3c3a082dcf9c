"""The page, the HTTP interface and `nes2net listen` have the same guard: each is attacked once in the same ways.

After every attack, the attacked server answers as before.
"""

import gzip
import io
import json
import socket
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_serve, wait
from builders.page_requests import begun, left, send, wav

from nes2net.apps.serve.desk import Limits
from nes2net.apps.serve.guard import Guard

pytest.importorskip("websockets")
listen_server = pytest.importorskip("nes2net.apps.listen.server")
live = pytest.importorskip("builders.live")

pytestmark = needs_serve

HEADS = {"page": "GET /", "http": "POST /api/score", "listen": "GET /"}
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
FORM = "multipart/form-data; boundary=B"
PART = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TARGETS = pytest.mark.parametrize("target", HEADS)
OF_LISTEN = json.dumps({"event": "start", "rate": 16000}).encode()


@pytest.fixture(scope="module")
def ports(usual_server, small):
    """Where each target listens."""
    with live.serving(live.judge_of(small)) as (url, _):
        port = usual_server[0].base_url.port
        yield {"page": port, "http": port, "listen": int(url.rpartition(":")[2])}


def request(target, port, body=None, **headers):
    """The bytes of a request, which is answered well if ``body`` and ``headers`` change nothing."""
    fields = {"Host": f"127.0.0.1:{port}"}
    if target == "http":
        body = PART + wav() + b"\r\n--B--\r\n" if body is None else body
        fields |= {"Content-Type": FORM, "Content-Length": len(body)}
    if target == "listen":
        fields |= UPGRADE
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{HEADS[target]} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def exchange(port, *chunks):
    """The status of the answer to ``parts``; None if the connection ends without one."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        with suppress(OSError):
            for chunk in chunks:
                client.sendall(chunk)
        with suppress(OSError):
            if answer := client.recv(1 << 16):
                return int(answer.split()[1])
    return None


def well(target):
    """The status of an answer if all is well."""
    return 101 if target == "listen" else 200


def frame(content, head=0x81, length=None):
    """A frame of a WebSocket client; its length is short, or ``length``, which may be wrong."""
    size = struct.pack("!B", 0x80 | len(content)) if length is None else struct.pack("!BQ", 0xFF, length)
    return bytes([head]) + size + bytes(4) + content  # the mask is zero


def close_code(port, *frames):
    """The code with which the server of `nes2net listen` closes a connection after these frames."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(request("listen", port))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += client.recv(1)
        with suppress(OSError):
            for content in frames:
                client.sendall(content)
        with client.makefile("rb") as lines:
            while head := lines.read(2):
                size = head[1]
                if size == 126:
                    (size,) = struct.unpack("!H", lines.read(2))
                content = lines.read(size)
                if head[0] == 0x88:
                    return struct.unpack("!H", content[:2])[0]
    return None


@TARGETS
def test_requests_from_wrong_origins_are_refused(ports, target):
    port = ports[target]
    for status, headers in (
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": f"https://127.0.0.1.evil.example:{port}"}),
        (403, {"Origin": f"http://127.0.0.1:{port + 1}"}),
        (403, {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "websocket"}),
        (421, {"Host": "evil.example"}),
        (421, {"Host": f"127.0.0.1.evil.example:{port}"}),
        (421, {"Host": "[::1"}),
        (well(target), {"Origin": f"http://127.0.0.1:{port}"}),
    ):
        assert exchange(port, request(target, port, **headers)) == status, headers


@TARGETS
def test_a_slow_head_is_cut_off(ports, small, target, monkeypatch):
    """Clients that send a byte at a time are cut off."""
    monkeypatch.setattr("nes2net.apps.serve.server._HEAD_WITHIN", 1.0)
    monkeypatch.setattr(listen_server, "_HANDSHAKE", 1.0)
    with live.serving(live.judge_of(small)) as (url, _):
        port = {**ports, "listen": int(url.rpartition(":")[2])}[target]
        head = request(target, port)
        clients = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(5)]
        sent = dict.fromkeys(clients, 0)

        def all_are_cut():
            for client in list(sent):
                try:
                    client.sendall(b"x" if sent[client] else head[:1])
                    sent[client] += 1
                except OSError:
                    del sent[client]
            return not sent

        wait(all_are_cut)
        for client in clients:
            client.close()
        wait(lambda: exchange(port, request(target, port)) == well(target))


def test_a_slow_upload_is_cut_off(serving, monkeypatch):
    """Uploads of the page, and recordings over HTTP."""
    monkeypatch.setattr(Guard.__init__, "__defaults__", ((), 1.0))
    client, desk = serving()
    for path in ("/api/score", "/page/score"):
        with begun(client, 100_000, bytes(1000), path).makefile("rb") as answer:
            assert answer.readline().split()[1] == b"408"
            assert b"was not complete within 1 s" in answer.read()
    monkeypatch.undo()
    assert client.get("/health").status_code == 200
    assert left(desk) == []


@TARGETS
def test_a_huge_head_is_refused(ports, target):
    port = ports[target]
    assert exchange(port, request(target, port, X="y" * 2_000_000)) in (400, 431, None)
    assert exchange(port, request(target, port)) == well(target)


# The page needs no body and reads none; a form is refused where it goes wrong.
@pytest.mark.parametrize("target, expected", [("page", 200), ("http", 422)])
def test_a_huge_body_is_kept_nowhere(ports, target, expected):
    """A refused body is read up to 64 MiB, so that the client sees the answer."""
    port = ports[target]
    stated = request(target, port, b"", Content_Type=FORM, Content_Length=10**15)
    assert exchange(port, stated, *[bytes(1 << 20)] * 64, b"x") == 413
    unstated = request(target, port, b"", Content_Length=None, Content_Type=FORM, Transfer_Encoding="chunked")
    assert exchange(port, unstated, b"FFFFFFFFFFFFFFF\r\n", *[bytes(1 << 20)] * 70) == expected
    assert exchange(port, request(target, port)) == 200


def test_a_huge_frame_is_refused_by_its_stated_length(ports):
    """The stated length is enough to be refused."""
    port = ports["listen"]
    for length in (1 << 62, 2 << 20):
        assert close_code(port, frame(b"", 0x82, length)) == 1009
    assert exchange(port, request("listen", port)) == 101


def test_a_websocket_on_another_route_is_refused(ports, caplog):
    """Without a word in the log."""
    for path in ("/", "/api/score", "/page/score"):
        head = request("listen", ports["page"]).replace(b"GET /", b"GET " + path.encode(), 1)
        assert exchange(ports["page"], head) == (200 if path == "/" else 404)
    assert not caplog.records


def test_compressed_bombs_over_http_are_refused(serving, tmp_path):
    """Requests are not decompressed; of a recording, no more is decoded than the longest that is taken."""
    client, desk = serving(Limits(max_duration=60))
    port = client.base_url.port
    bomb = gzip.compress(PART + bytes(100 << 20))
    assert exchange(port, request("http", port, bomb, Content_Encoding="gzip")) == 422
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("a.wav", bytes(100 << 20))
    (tmp_path / "a.wav").write_bytes(archive.getvalue())
    assert send(client, tmp_path / "a.wav").json()["error"].startswith("not a recording")
    hours = tmp_path / "hours.flac"
    soundfile.write(hours, np.zeros(8000 * 3600 * 2, np.int16), 8000)
    content = bytearray(hours.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # the number of samples: unknown
    hours.write_bytes(content)
    assert len(content) < 1_000_000
    answer = send(client, hours)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("longer than 1 min")
    assert left(desk) == []
    assert client.get("/health").status_code == 200


def test_compressed_frames_to_listen_are_refused(ports):
    """A compressed frame is refused, because no compression was agreed on."""
    port = ports["listen"]
    offer = request("listen", port, Sec_WebSocket_Extensions="permessage-deflate")
    assert exchange(port, offer) == 101
    assert close_code(port, frame(OF_LISTEN), frame(bytes(100), 0x82 | 0x40)) == 1002
    assert exchange(port, request("listen", port)) == 101
