"""Fetching from a real local server that breaks off, changes its file, is busy, or lies."""

import hashlib
import random
from types import SimpleNamespace

import httpx
import pytest
from builders.http_server import running

from nes2net.errors import InputError, Unfinished
from nes2net.machine import http_files
from nes2net.machine.http_files import HttpFiles, RemoteFile

CONTENT = random.Random(1).randbytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    with running(CONTENT) as server:
        server.url = f"{server.address}/a.bin"
        yield server


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(pauses):
    with HttpFiles(pauses.append) as client:
        yield client


def ranges(server):
    return [headers.get("range") for method, _, headers in server.requests if method == "GET"]


def only_file(folder):
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


@pytest.mark.parametrize("published", [{}, {"md5": MD5.upper()}])
def test_a_whole_file(server, client, tmp_path, published):
    found = client.fetch(RemoteFile(server.url, len(CONTENT), published), tmp_path / "a.bin", "downloading")
    assert found == ({"md5": MD5} if published else {"sha256": hashlib.sha256(CONTENT).hexdigest()})
    assert only_file(tmp_path) == ("a.bin", CONTENT)


def test_a_connection_that_breaks_is_resumed(server, client, pauses, tmp_path):
    server.broken_after = [2_200_000, 300_000]
    client.fetch(RemoteFile(server.url), tmp_path / "a.bin", "downloading")
    assert only_file(tmp_path) == ("a.bin", CONTENT)
    begun = ranges(server)
    assert begun[0] is None and all(begun[1:]) and len(begun) == 3
    assert {headers.get("if-range") for *_, headers in server.requests[1:]} == {'"one"'} and pauses == [1.0, 1.0]


def test_an_interrupted_call_goes_on(server, client, tmp_path, monkeypatch):
    """Ctrl-C in the middle; the next call fetches the rest only."""

    def interrupt(seconds):
        raise KeyboardInterrupt

    server.broken_after = [2_500_000]
    file, path = RemoteFile(server.url, len(CONTENT)), tmp_path / "a.bin"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(client, "sleep", interrupt)
        client.fetch(file, path, "downloading")
    part = tmp_path / "a.bin.part"
    there = part.stat().st_size
    assert 1_000_000 < there < len(CONTENT) and not path.exists()
    client.fetch(file, path, "downloading")
    assert only_file(tmp_path) == ("a.bin", CONTENT) and ranges(server) == [None, f"bytes={there}-"]


@pytest.mark.parametrize(
    "change",
    ["another tag", "another file in parts", "no ranges", "no validator", "another address", "longer than the file"],
)
def test_what_cannot_go_on_is_begun_anew(server, client, tmp_path, change):
    server.broken_after = [1_500_000] * 6
    path = tmp_path / "a.bin"
    server.tag = None if change == "no validator" else server.tag
    url = server.url.replace("a.bin", "b.bin") if change == "another address" else server.url
    server.ranges = False  # each try begins anew, so none gets on
    with pytest.raises(Unfinished, match=r"6 times; what has come is kept, and the same command goes on from there"):
        client.fetch(RemoteFile(url), path, "downloading")
    server.ranges = change != "no ranges"
    another = change in ("another tag", "another file in parts")
    server.content = CONTENT[::-1][:2_000_000] if another else CONTENT
    server.tag = '"two"' if another else None if change == "no validator" else server.tag
    server.trusting = change == "another file in parts"  # it ignores If-Range
    if change == "longer than the file":
        (tmp_path / "a.bin.part").write_bytes(b"x" * 4_000_000)
    client.fetch(RemoteFile(server.url), path, "downloading")
    assert only_file(tmp_path) == ("a.bin", server.content)


def test_all_had_come_already(server, client, tmp_path):
    """An interruption after the last byte: 416 with the size, or no request at all."""
    for size in (None, len(CONTENT)):
        (tmp_path / "a.bin.part").write_bytes(CONTENT)
        client.fetch(RemoteFile(server.url, size, {"md5": MD5}), tmp_path / "a.bin", "downloading")
        assert only_file(tmp_path) == ("a.bin", CONTENT)
    assert ranges(server) == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_is_named_and_the_file_removed(server, client, tmp_path):
    with pytest.raises(InputError, match=rf"the MD5 of what came is {MD5}, not 0000.*is removed: run the same command"):
        client.fetch(RemoteFile(server.url, None, {"md5": "0" * 32}), tmp_path / "a.bin", "downloading")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)  # damaged in another way than on its way
    with pytest.raises(InputError, match="was damaged on its way"):
        client.fetch(RemoteFile(server.url, None, {"md5": MD5}), tmp_path / "a.bin", "downloading")
    client.fetch(RemoteFile(server.url, None, {"md5": MD5}), tmp_path / "a.bin", "downloading")
    assert only_file(tmp_path) == ("a.bin", CONTENT)


@pytest.mark.parametrize(
    "fault, size, message",
    [
        ({"statuses": [404]}, None, r"answers 404 Not Found; look on its publisher's page"),
        ({"statuses": [403]}, None, r"refuses it \(403 Forbidden\); it may ask for a login"),
        ({"statuses": [401]}, None, r"refuses it \(401 Unauthorized\)"),
        ({"redirect": "ftp://127.0.0.1/a.bin"}, None, "which is not HTTPS: refused"),
        ({}, 2_000_000, r"announces 3,000,000 bytes, but 2,000,000 were published"),
        ({"announced": 10**17}, None, r"needs 100000\.0 TB, and .* are free; make room"),
        ({"extra_headers": {"Content-Encoding": "gzip"}}, None, "the server compresses the file"),
        # A file without end.
        ({"extra_headers": {"Content-Length": ""}}, None, "sends more than the 2,000,000 bytes announced or possible"),
    ],
)
def test_refused_at_once(server, client, pauses, tmp_path, monkeypatch, fault, size, message):
    if message.startswith("sends"):  # and leaves room on the disk
        monkeypatch.setattr(http_files.shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    for name, value in fault.items():
        setattr(server, name, value)
    with pytest.raises(InputError, match=message):
        client.fetch(RemoteFile(server.url, size), tmp_path / "a.bin", "downloading")
    assert pauses == [] and {path.name for path in tmp_path.iterdir()} <= {"a.bin.part.json"}


def test_a_busy_server_is_asked_again_as_late_as_it_says_and_redirections_are_followed(
    server, client, pauses, tmp_path
):
    server.statuses, server.redirect = [500, 503, 429], "/elsewhere.bin"
    client.fetch(RemoteFile(server.url), tmp_path / "a.bin", "downloading")
    assert only_file(tmp_path) == ("a.bin", CONTENT) and pauses == [7, 7, 7]


def test_a_server_that_does_not_answer(client, pauses, tmp_path):
    with pytest.raises(Unfinished, match=r"127.0.0.1:9/a: .*6 times; check the network connection; what"):
        client.fetch(RemoteFile("http://127.0.0.1:9/a"), tmp_path / "a.bin", "downloading")
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_https_does_not_lead_to_http(server, client, monkeypatch):
    """The first answer cannot come over TLS here, so the rule is asked by its parts."""
    server.redirect = server.url
    checked = httpx.URL
    monkeypatch.setattr(httpx, "URL", lambda url: _claims_https(checked(url)))
    with pytest.raises(InputError, match="redirects to 'http://127.0.0.1"):
        client.read(server.url, 100)


def _claims_https(url):
    class Https(type(url)):
        scheme = "https"

    return Https(url)


@pytest.mark.parametrize("few", [{"broken_after": [10] * 6}, {"pause": 0.01}])
def test_a_server_that_sends_hardly_anything(server, client, tmp_path, monkeypatch, few):
    """Byte by byte in new connections, or in one that stalls."""
    monkeypatch.setattr(http_files, "_SLOWEST", 0.02)
    for name, value in few.items():
        setattr(server, name, value)
    with pytest.raises(Unfinished, match="6 times; what has come is kept"):
        client.fetch(RemoteFile(server.url), tmp_path / "a.bin", "downloading")


def test_what_a_server_says_of_a_file(server, client):
    assert client.described(RemoteFile(server.url)) == RemoteFile(server.url, len(CONTENT))
    server.redirect, server.extra_headers = "/store", {"X-Linked-Etag": f'"{"a" * 64}"', "X-Linked-Size": "123"}
    assert client.described(RemoteFile(server.url)) == RemoteFile(server.url, 123, {"sha256": "a" * 64})
    server.statuses, server.extra_headers = [405], {}
    assert client.described(RemoteFile(server.url, 5)) == RemoteFile(server.url, 5)
    server.statuses = [404]
    with pytest.raises(InputError, match="404"):
        client.described(RemoteFile(server.url))


def test_short_answers_are_limited(server, client):
    assert client.read(server.url, len(CONTENT)) == CONTENT
    with pytest.raises(InputError, match="longer than 1.0 MB"):
        client.read(server.url, 1_000_000)


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "a.bin", "http://[::1", "https://"])
def test_other_addresses_are_refused(client, url):
    with pytest.raises(InputError, match="not an address"):
        client.read(url, 100)
