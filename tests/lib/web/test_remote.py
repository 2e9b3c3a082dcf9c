"""Remote files: addresses, repeated requests, files that change, and the folder of fetched parts."""

import multiprocessing
import os
import pickle
import signal
import socket
from pathlib import Path

import pytest
from builders import PATIENCE, input_error
from builders.remote_stores import http_store, s3_at, use_own_parts

from nes2net.lib.errors import Unreachable
from nes2net.lib.web import http_files, remote
from nes2net.lib.web.remote import (
    ChangedFile,
    RemotePath,
    address_of,
    fetch,
    is_address,
    is_remote,
    list_folder,
    open_remote,
    status_of,
)

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A server of ``a.bin`` and ``b.bin``, and a folder of parts of its own."""
    use_own_parts(monkeypatch, tmp_path / "parts")
    files = tmp_path / "files"
    files.mkdir()
    for name in ("a.bin", "b.bin"):
        (files / name).write_bytes(CONTENT)
    with http_store(files) as server:
        yield server


@pytest.fixture
def address(store):
    return f"{store.address}/a.bin"


def gets(store):
    return [span for method, _, span in store.requests if method == "GET"]


def test_a_block_of_a_remote_file_is_fetched_once(store, address):
    """Also if the file is opened again."""
    file = open_remote(address, 1000)
    assert [file.read(100), file.read(950)] == [CONTENT[:100], CONTENT[100:1050]]
    file.seek(-50, 2)
    assert file.read() == CONTENT[-50:]
    file.seek(10)
    assert file.read(2000) == CONTENT[10:2010]
    assert gets(store) == ["bytes=0-999", "bytes=1000-1999", "bytes=10000-10239", "bytes=2000-2999"]
    assert open_remote(address, 1000).read(100) == CONTENT[:100]
    assert len(gets(store)) == 4  # from the folder


def test_byte_ranges_that_a_remote_file_is_told_to_hold_are_fetched_once(store, address):
    """A large part comes by one request, a small one with its block."""
    file = open_remote(address, 1000)
    file.hold([(10, 4000), (5100, 20), (5200, 30)])
    assert gets(store) == ["bytes=10-4009", "bytes=5000-5999"]
    file.seek(0)
    file.read(1)  # another block
    for start, size in ((5105, 5), (10, 4000), (4000, 10), (4010, 1)):  # the last is behind the part
        file.seek(start)
        assert file.read(size) == CONTENT[start : start + size]
    assert gets(store)[2:] == ["bytes=0-999", "bytes=4000-4999"]


@pytest.mark.parametrize(
    "address",
    ["https://user:secret@h/a.parquet", "https://h/a.parquet?X-Amz-Signature=secret", "s3://id:secret@b/a.tar"],
)
def test_credentials_in_an_address_are_refused_without_printing_them(address):
    with input_error("neither a password nor a query") as caught:
        address_of(address)
    assert "secret" not in str(caught.value)


def test_a_path_made_of_an_address_becomes_the_address_again():
    """A path has one slash after the scheme."""
    assert address_of(Path("s3://bucket/a.parquet")) == "s3://bucket/a.parquet"


def test_addresses_of_remote_files_are_told_from_local_paths():
    assert all(map(is_address, ("s3://b/a.tar", Path("https://h/a.tar"), "hub:OWNER/NAME")))
    assert not is_address("data/a.parquet")
    assert not is_address(Path("C:/a.parquet"))


def test_the_path_of_a_remote_file_keeps_its_class_and_both_slashes():
    path = pickle.loads(pickle.dumps(RemotePath("s3://bucket/a.tar"))) / "b.wav"
    assert is_remote(path)
    assert str(path) == "s3://bucket/a.tar/b.wav"
    assert not is_remote(Path("s3://bucket/a.tar"))


OTHER_SCHEMES = ("ftp://h/a.tar", "file:///a.tar", "memory://a.tar", "hf://datasets/a/b", "reference::http://h/a.tar")
MALFORMED = ("https://", "http://h:x/a.tar", "http://h:1:2/a.tar", "hub:OWNER", "hub:/a/b", "hub:O W/NAME", "s3:///")


@pytest.mark.parametrize("address", [*OTHER_SCHEMES, *MALFORMED])
def test_a_malformed_address_and_one_of_another_scheme_are_refused_in_one_line(address):
    with input_error("is not an address: write SCHEME://HOST/PATH"):
        address_of(address)


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_a_busy_server_refuses_is_tried_again(store, address, status):
    status_of(address)
    failures = iter([status, status])
    store.fault = lambda method, path: next(failures, 0)
    assert fetch(address, 5, 100) == CONTENT[5:105]
    assert len(gets(store)) in (2, 3)


def test_a_request_whose_answer_breaks_off_is_tried_again(store, address):
    status_of(address)
    breaks = iter([True, True])

    def fault(method, path):
        store.cut = method == "GET" and next(breaks, False)
        return 0

    store.fault = fault
    assert fetch(address, 5, 100) == CONTENT[5:105]
    assert len(gets(store)) in (2, 3)


def test_a_file_that_the_server_cannot_give_is_unreachable_after_three_requests(store, address):
    status_of(address)
    store.fault = lambda method, path: 503
    with pytest.raises(Unreachable, match=rf"{address} cannot be read at present \(.*answers 503.*tried 3 times"):
        fetch(address, 0, 10)
    assert len(gets(store)) == 3


def test_a_remote_file_that_is_removed_after_it_was_listed_is_unreachable(store, address):
    status_of(address)
    (store.folder / "a.bin").unlink()
    with pytest.raises(Unreachable, match=address):
        fetch(address, 0, 10)


def test_a_file_that_the_server_refuses_to_give_is_an_error_of_the_input(store, address):
    store.fault = lambda method, path: 403
    with input_error(rf"{address}: the server refuses it \(403 Forbidden\); it may ask for a login"):
        status_of(address)


@pytest.mark.parametrize("content", [CONTENT[::-1], CONTENT + b"x"])
def test_a_remote_file_that_was_replaced_is_an_error_until_it_is_listed_again(store, address, content):
    assert fetch(address, 0, 10) == CONTENT[:10]
    (store.folder / "a.bin").write_bytes(content)
    with pytest.raises(ChangedFile, match=rf"{address} has changed since it was listed \(size and tag 10240:"):
        fetch(address, 10, 10)
    remote.forget(address)
    assert fetch(address, 0, 10) == content[:10]


def test_the_cache_folder_holds_the_latest_parts_of_remote_files_within_its_limit_of_bytes(
    store, address, tmp_path, monkeypatch
):
    folder = use_own_parts(monkeypatch, tmp_path / "bounded", cache_bytes=3000)
    for start in range(0, 10_000, 500):
        assert fetch(address, start, 500) == CONTENT[start : start + 500]
        assert sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) <= 3000
    number = len(gets(store))
    fetch(address, 9500, 500)
    assert len(gets(store)) == number
    fetch(address, 0, 500)
    assert len(gets(store)) == number + 1


@pytest.mark.parametrize("fault", [os.symlink, lambda target, entry: os.mkfifo(entry)], ids=["link", "pipe"])
def test_a_link_or_a_pipe_in_place_of_a_part_in_the_cache_is_refused(address, tmp_path, fault):
    folder = remote.cache_folder()
    fetch(address, 0, 10)
    (entry,) = folder.iterdir()
    entry.unlink()
    (tmp_path / "precious").write_bytes(b"precious")
    fault(tmp_path / "precious", entry)
    with input_error(entry.name):
        fetch(address, 0, 10)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_part_in_the_cache_that_is_longer_than_was_asked_for_is_not_read_to_its_end(address):
    fetch(address, 0, 10)
    (entry,) = remote.cache_folder().iterdir()
    with open(entry, "wb") as file:
        file.truncate(1 << 40)  # more than any memory
    assert fetch(address, 0, 10) == CONTENT[:10]


def test_a_cache_folder_that_is_a_link_is_refused(address, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    remote.cache_folder().parent.mkdir(parents=True)
    remote.cache_folder().symlink_to(tmp_path / "elsewhere")
    with input_error("shards: is a link"):
        fetch(address, 0, 10)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_forked_process_leaves_the_connections_of_its_parent_usable(address):
    fetch(address, 0, 10)
    process = multiprocessing.get_context("fork").Process(target=fetch, args=(address, 10, 10))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    signal.alarm(60)
    assert fetch(address, 20, 10) == CONTENT[20:30]
    signal.alarm(0)


def test_a_reader_whose_result_is_cached_may_itself_fetch_cached_parts_of_the_file(address):
    """It does not wait for its own lock: the list of members of a tar file is read from many blocks."""

    def read():
        return b"".join(fetch(address, start, 512) for start in range(0, len(CONTENT), 512))

    signal.alarm(60)
    assert remote.read_cached(address, "all", read) == CONTENT
    signal.alarm(0)


def test_a_damaged_part_in_the_cache_is_fetched_again(address):
    folder = remote.cache_folder()
    fetch(address, 0, 10)
    (entry,) = (file for file in folder.iterdir() if file.is_file())
    entry.write_bytes(entry.read_bytes()[:-6])
    assert fetch(address, 0, 10) == CONTENT[:10]


def test_remote_files_are_read_without_a_usable_cache_folder(address, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    use_own_parts(monkeypatch, tmp_path / "file")
    assert fetch(address, 0, 10) == CONTENT[:10]


def test_a_cache_that_may_hold_no_bytes_has_no_folder(address, tmp_path, monkeypatch):
    use_own_parts(monkeypatch, tmp_path / "none", cache_bytes=0)
    assert fetch(address, 0, 10) == CONTENT[:10]
    assert not (tmp_path / "none").exists()


FAULTS = {
    "another range": (
        {"Content-Range": "bytes 6-105/10240"},
        b"",
        "sends 'bytes 6-105/10240' instead of 'bytes 5-104/'",
    ),
    "no range": ({"Content-Range": ""}, b"", "sends '' instead of 'bytes 5-104/'"),
    "more bytes": ({}, bytes(2_000_000), "sends more than the 100 bytes"),
    "compressed": ({"Content-Encoding": "gzip"}, b"", "compresses the file"),
}


@pytest.mark.parametrize("headers, tail, message", FAULTS.values(), ids=FAULTS)
def test_another_answer_than_the_bytes_that_were_asked_for_is_refused_at_once(store, address, headers, tail, message):
    status_of(address)
    store.headers = headers
    store.tail = tail
    with input_error(f"{address}: the server {message}"):
        fetch(address, 5, 100)
    assert len(gets(store)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers, tail",
    [({"Content-Range": "bytes 6-105/10240"}, b""), ({}, b"x" * 100)],
    ids=["another range", "more bytes"],
)
def test_another_answer_of_s3_than_the_bytes_that_were_asked_for_is_refused(store, headers, tail):
    (store.folder / "bucket").symlink_to(store.folder)
    with s3_at(store.address):
        assert fetch("s3://bucket/a.bin", 0, 100) == CONTENT[:100]
        store.headers = headers
        store.tail = tail
        with input_error("s3://bucket/a.bin: the server sends ('bytes 6|more than the 100 bytes)"):
            fetch("s3://bucket/a.bin", 5, 100)


def test_a_server_that_hardly_sends_is_given_up(store, address, monkeypatch):
    status_of(address)
    monkeypatch.setattr(http_files, "_PROGRESS_INTERVAL", 0.0)
    with pytest.raises(Unreachable, match="sent only 100 bytes in 0 s; tried 3 times"):
        fetch(address, 5, 100)


def test_only_at_first_a_host_without_an_address_is_an_error_of_the_input(store, address, monkeypatch):
    """Later the network may be down."""
    name = address.replace("127.0.0.1", "localhost")
    status_of(name)

    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with input_error("http://nowhere.invalid/a.bin cannot be read .*running the same command again will not help"):
        status_of("http://nowhere.invalid/a.bin")
    remote._http.cache_clear()  # without the open connection
    with pytest.raises(Unreachable, match="Name or service not known; tried 3 times"):
        fetch(name, 0, 10)


def test_the_folder_of_an_http_server_has_the_files_to_which_its_pages_link(store):
    store.pages = {
        "/set/": b"<a href='../'>up</a> <a href=\"a.tar\">a</a> <A class=x HREF=b%20c.tar?x=1>b</A> <a href='sub/'>sub</a>",
        "/set/sub/": b'<a href="/set/sub/d.tar">d</a> <a href="http://127.0.0.1:9/e.tar">e</a> <a href="/set/">up</a>',
    }
    folder = f"{store.address}/set"
    assert list_folder(folder) == [f"{folder}/a.tar", f"{folder}/sub/d.tar"]
    assert list_folder(f"{folder}/*.tar") == [f"{folder}/a.tar"]


def test_the_listing_of_a_folder_with_a_dot_in_its_name_has_only_its_own_files(store):
    store.pages = {
        "/": b'<a href="set-1.0/">set</a> <a href="other.tar">other</a>',
        "/set-1.0/": b'<a href="a.tar">a</a>',
    }
    assert list_folder(f"{store.address}/set-1.0") == [f"{store.address}/set-1.0/a.tar"]


def test_a_file_is_asked_for_its_status_again_after_its_folder_was_listed_again(store, address):
    store.pages = {"/": b'<a href="a.bin">a</a>'}
    status_of(address)
    (store.folder / "a.bin").write_bytes(b"replaced")
    assert list_folder(store.address) == [address]
    assert status_of(address).size == len(b"replaced")


def test_folders_without_end_on_an_http_server_are_refused(store, monkeypatch):
    class Endless(dict):
        def get(self, path):
            return b'<a href="deeper/">deeper</a>'

    store.pages = Endless()
    monkeypatch.setattr(http_files, "MAX_PAGES", 10)
    with input_error("the listing of .*/set was refused to save memory and time: it grows to 11 pages"):
        list_folder(f"{store.address}/set")


def test_a_server_without_ranges_is_refused_unless_the_whole_file_was_asked_for(store, address):
    store.ranges = False
    assert fetch(address, 0, len(CONTENT)) == CONTENT
    with input_error(f"{address}: the server sends 'bytes 0-10239/' instead of 'bytes 0-9/'"):
        fetch(address, 0, 10)
