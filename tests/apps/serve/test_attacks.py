"""The page, the HTTP interface and `nes2net listen` have the same guard: each is attacked once in the same ways.

After every attack, the attacked server answers as before.
"""

import gzip
import socket
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_serve, wait
from builders.page_requests import begun, left, send, wav

from nes2net.apps.serve.desk import Limits
from nes2net.lib.web import guard

pytest.importorskip("websockets")
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


@TARGETS
def test_of_requests_by_pages_only_those_of_this_site_are_answered(ports, target):
    port = ports[target]
    for status, headers in (
        (403, {"Origin": "null"}),
        (403, {"Origin": f"https://127.0.0.1.evil.example:{port}"}),
        (403, {"Origin": f"http://127.0.0.1:{port + 1}"}),
        (403, {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "websocket"}),
        (well(target), {"Origin": f"http://127.0.0.1:{port}"}),
    ):
        assert exchange(port, request(target, port, **headers)) == status, headers


@TARGETS
@pytest.mark.parametrize("host", ["evil.example", "[::1"])
def test_requests_to_a_foreign_or_malformed_host_name_are_refused(ports, target, host):
    port = ports[target]
    assert exchange(port, request(target, port, Host=host)) == 421


@TARGETS
def test_after_a_request_whose_head_comes_slowly_is_cut_off_the_next_one_is_answered(ports, target, monkeypatch):
    monkeypatch.setattr("nes2net.lib.web.server._HEAD_WITHIN", 1.0)
    port = ports[target]
    head = request(target, port)
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(head[:1])

        def is_cut():
            try:
                client.sendall(b"x")
            except OSError:
                return True
            return False

        wait(is_cut)
    wait(lambda: exchange(port, request(target, port)) == well(target))


def test_a_slow_upload_is_cut_off_and_not_stored(serving, monkeypatch):
    """By the page, and over HTTP."""
    monkeypatch.setattr(guard, "PATIENCE", 1.0)
    client, desk = serving()
    for path in ("/api/score", "/page/score"):
        with begun(client, 100_000, bytes(1000), path).makefile("rb") as answer:
            assert answer.readline().split()[1] == b"408"
            assert b"was not complete within 1 s" in answer.read()
    wait(lambda: not left(desk))


@TARGETS
def test_after_a_request_with_a_huge_head_is_refused_the_next_one_is_answered(ports, target):
    port = ports[target]
    assert exchange(port, request(target, port, X="y" * 2_000_000)) in (400, 431, None)
    assert exchange(port, request(target, port)) == well(target)


def test_a_compressed_request_is_not_decompressed(ports):
    port = ports["http"]
    body = gzip.compress(PART + wav() + b"\r\n--B--\r\n")
    assert exchange(port, request("http", port, body, Content_Encoding="gzip")) == 422


def test_a_recording_that_hides_its_length_is_refused_as_too_long_and_not_stored(serving, tmp_path):
    client, desk = serving(Limits(max_duration=60))
    minutes = tmp_path / "minutes.flac"
    soundfile.write(minutes, np.zeros(8000 * 600, np.int16), 8000)
    content = bytearray(minutes.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # the number of samples: unknown
    minutes.write_bytes(content)
    answer = send(client, minutes)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("longer than 1 min")
    assert left(desk) == []
