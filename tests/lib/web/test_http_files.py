"""Fetching from a real local server that breaks off, changes its file, is busy, or lies."""

import hashlib
import random
import socket
from types import SimpleNamespace

import httpx
import pytest
from builders import input_error
from builders.http_server import running

from nes2net.lib.errors import Unfinished
from nes2net.lib.web import http_files
from nes2net.lib.web.http_files import HttpFiles, RemoteFile

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


@pytest.fixture
def fetch(server, client, tmp_path):
    """A function that fetches the server's file, of which something is published."""
    return lambda size=None, url=server.url, **digests: client.fetch(
        RemoteFile(url, size, digests), tmp_path / "a.bin", "downloading"
    )


@pytest.fixture
def no_names(monkeypatch):
    """No host has an address, as if all were misspelt."""

    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


def ranges(server):
    return [headers.get("range") for method, _, headers in server.requests if method == "GET"]


def only_file(folder):
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


def test_fetch_returns_the_published_digest_of_the_file_in_lower_case(fetch):
    assert fetch(len(CONTENT), md5=MD5.upper()) == {"md5": MD5}


def test_fetch_returns_the_sha256_of_a_file_without_a_published_digest(fetch):
    assert fetch() == {"sha256": hashlib.sha256(CONTENT).hexdigest()}


def test_a_download_is_resumed_when_its_connection_breaks(server, fetch, tmp_path):
    """The rest is asked for on condition that the file is the same."""
    server.broken_after = [2_200_000, 300_000]
    fetch()
    assert only_file(tmp_path) == ("a.bin", CONTENT)
    begun = ranges(server)
    assert begun[0] is None
    assert all(begun[1:])
    assert len(begun) == 3
    assert {headers.get("if-range") for *_, headers in server.requests[1:]} == {'"one"'}


def test_pauses_between_tries_that_each_bring_a_part_do_not_grow(server, fetch, pauses):
    server.broken_after = [2_200_000, 300_000]
    fetch()
    assert pauses == [1.0, 1.0]


def test_a_download_is_not_written_through_a_link(fetch, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"old")
    (tmp_path / "a.bin.part").symlink_to("elsewhere")
    with input_error(r"a\.bin\.part: is a link"):
        fetch()
    assert (tmp_path / "elsewhere").read_bytes() == b"old"


@pytest.fixture
def interrupted(server, client, fetch, tmp_path, monkeypatch):
    """The size of what a download that Ctrl-C ended has received of the file."""

    def interrupt(seconds):
        raise KeyboardInterrupt

    server.broken_after = [2_500_000]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(client, "sleep", interrupt)
        fetch(len(CONTENT))
    num_received = (tmp_path / "a.bin.part").stat().st_size
    assert 1_000_000 < num_received < len(CONTENT)
    return num_received


def test_after_an_interrupted_download_no_file_has_the_final_name(interrupted, tmp_path):
    assert not (tmp_path / "a.bin").exists()


def test_the_call_after_an_interrupted_download_fetches_only_the_rest(interrupted, server, fetch, tmp_path):
    fetch(len(CONTENT))
    assert only_file(tmp_path) == ("a.bin", CONTENT)
    assert ranges(server) == [None, f"bytes={interrupted}-"]


def test_a_download_is_resumed_if_the_server_names_the_tag_only_with_the_whole_file(interrupted, server, fetch):
    server.tag = None
    server.trusting = True
    server.extra_headers = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    fetch(len(CONTENT))
    assert ranges(server) == [None, f"bytes={interrupted}-"]


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, {"content": CONTENT[::-1][:2_000_000], "tag": '"two"'}),
        ({}, {"content": CONTENT[::-1][:2_000_000], "tag": '"two"', "trusting": True}),  # it ignores If-Range
        ({}, {"ranges": False}),
        ({"tag": None}, {}),  # nothing tells whether it is the same file
    ],
)
def test_a_download_that_cannot_be_resumed_starts_again(server, fetch, tmp_path, before, after):
    vars(server).update(broken_after=[1_500_000] * 6, ranges=False, **before)  # each try begins anew, so none gets on
    with pytest.raises(Unfinished, match="6 times"):
        fetch()
    vars(server).update({"ranges": True, **after})
    fetch()
    assert only_file(tmp_path) == ("a.bin", server.content)


def test_a_partial_file_that_holds_the_whole_download_is_not_fetched_again(server, fetch, tmp_path):
    """If no size is published, the server is asked for what follows the last byte, and answers 416."""
    for size in (None, len(CONTENT)):
        (tmp_path / "a.bin.part").write_bytes(CONTENT)
        fetch(size, md5=MD5)
        assert only_file(tmp_path) == ("a.bin", CONTENT)
    assert ranges(server) == [f"bytes={len(CONTENT)}-"]


def test_a_partial_file_longer_than_the_remote_file_is_fetched_again(fetch, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(bytes(4_000_000))
    fetch(md5=MD5)
    assert only_file(tmp_path) == ("a.bin", CONTENT)


def test_a_file_that_differs_from_its_published_checksum_is_removed(fetch, tmp_path):
    with input_error(rf"the MD5 of what came is {MD5}, not 0000.*is removed: run the same command"):
        fetch(md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_of_published_size_is_fetched(server, fetch, tmp_path):
    server.content = b""
    fetch(0)
    assert only_file(tmp_path) == ("a.bin", b"")


def test_a_damaged_partial_file_is_refused_and_fetched_again_by_the_next_call(fetch, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    with input_error("was damaged on its way"):
        fetch(md5=MD5)
    fetch(md5=MD5)
    assert only_file(tmp_path) == ("a.bin", CONTENT)


@pytest.mark.parametrize(
    "fault, size, message",
    [
        ({"statuses": [404]}, None, r"answers 404 Not Found; look on its publisher's page"),
        ({"statuses": [403]}, None, r"refuses it \(403 Forbidden\); it may ask for a login"),
        ({}, 2_000_000, r"announces 3,000,000 bytes, but 2,000,000 were published"),
        ({"announced": 10**17}, None, r"needs 100000\.0 TB, and .* are free; make room"),
        ({"extra_headers": {"Content-Encoding": "gzip"}}, None, "the server compresses the file"),
    ],
)
def test_errors_that_another_try_cannot_mend_are_raised_at_once(server, fetch, pauses, tmp_path, fault, size, message):
    """Without another try, and before a part of the file is written."""
    vars(server).update(fault)
    with input_error(message):
        fetch(size)
    assert pauses == []
    assert {path.name for path in tmp_path.iterdir()} <= {"a.bin.part.txt"}


def test_a_file_that_is_sent_without_end_is_refused_and_removed(server, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(http_files.shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    server.extra_headers = {"Content-Length": ""}
    with input_error("sends more than the 2,000,000 bytes announced or possible"):
        fetch()
    assert not (tmp_path / "a.bin.part").exists()


def test_a_busy_server_is_asked_again_after_the_delay_that_it_states(server, fetch, pauses):
    server.statuses = [500, 503, 429]
    fetch()
    assert pauses == [7, 7, 7]


def test_a_redirection_to_another_address_is_followed(server, fetch, tmp_path):
    server.redirect = "/elsewhere.bin"
    fetch()
    assert only_file(tmp_path) == ("a.bin", CONTENT)


def test_a_server_that_does_not_answer_is_named_after_six_tries(fetch):
    with pytest.raises(
        Unfinished,
        match=r"127.0.0.1:9/a cannot be read .*6 times\); check the network connection, .*; what has come is kept",
    ):
        fetch(url="http://127.0.0.1:9/a")


def test_pauses_double_between_tries_that_bring_no_data(fetch, pauses):
    with pytest.raises(Unfinished):
        fetch(url="http://127.0.0.1:9/a")
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_redirections_from_https_to_http_are_refused(server, client, monkeypatch):
    """The first answer cannot come over TLS here, so the address only claims to be one of HTTPS."""
    server.redirect = server.url
    monkeypatch.setattr(httpx, "URL", type("Https", (httpx.URL,), {"scheme": "https"}))
    with input_error("redirects to 'http://127.0.0.1"):
        client.read(server.url, 100)


def test_another_host_to_which_a_server_redirects_gets_no_credentials(server, client):
    with running(b"0123456789") as store:
        server.redirect = f"{store.address}/a.bin"
        assert client.read_range(server.url, 5, 5, {"Authorization": "Bearer secret"}) == b"56789"
        ((_, _, headers),) = store.requests
    assert server.requests[0][2]["authorization"] == "Bearer secret"
    assert "authorization" not in headers


def test_the_size_comes_from_a_get_request_if_the_server_refuses_head(server, client):
    server.statuses = [405]
    assert client.ask_facts(server.url)["size"] == len(CONTENT)


def test_the_length_of_a_redirection_is_not_taken_for_the_size_of_a_file_of_unknown_size(server, client):
    with running(CONTENT) as store:
        store.extra_headers = {"Content-Length": ""}
        server.redirect = f"{store.address}/a.bin"
        assert client.ask_facts(server.url)["size"] is None


def test_a_host_without_an_address_ends_a_download_at_once(fetch, pauses, no_names):
    with input_error(r"Name or service not known\); running the same command again will not help: correct the host"):
        fetch(url="http://nowhere.invalid/a")
    assert pauses == []


def test_the_size_of_a_remote_file_is_that_of_the_server(server, client):
    assert client.ask_size_and_digest(RemoteFile(server.url)) == RemoteFile(server.url, len(CONTENT))


def test_the_size_and_the_digest_of_a_file_of_the_hugging_face_hub_come_from_its_redirection(server, client):
    server.redirect = "/store"
    server.extra_headers = {"X-Linked-Etag": f'"{"a" * 64}"', "X-Linked-Size": "123"}
    assert client.ask_size_and_digest(RemoteFile(server.url)) == RemoteFile(server.url, 123, {"sha256": "a" * 64})


def test_asking_for_the_size_of_a_missing_remote_file_is_an_error(server, client):
    server.statuses = [404]
    with input_error("404"):
        client.ask_size_and_digest(RemoteFile(server.url))


def test_an_answer_longer_than_its_limit_is_refused(server, client):
    assert client.read(server.url, len(CONTENT)) == CONTENT
    with input_error("sends more than the 1,000,000 bytes"):
        client.read(server.url, 1_000_000)


def test_an_address_that_is_not_of_a_web_server_is_refused(client):
    for url in ("ftp://a/b", "file:///etc/passwd", "a.bin", "http://[::1", "https://"):
        with input_error("not an address"):
            client.read(url, 100)
