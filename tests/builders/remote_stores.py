"""Stores on this machine: an HTTP server with ranges, whose faults a test chooses, and moto's S3 server."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import pytest

from builders.http_server import Handler, in_thread
from nes2net.data.corpora import asvspoof2019_la
from nes2net.data.corpora.pack import pack
from nes2net.lib.web import remote
from nes2net.lib.web.http_files import HttpFiles

FORMATS = ("parquet", "tar")  # of shards


class Server(ThreadingHTTPServer):
    """Serves the files of ``folder`` as they are at each request; ``requests`` are method, path and range."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.fault = lambda method, path: 0  # status instead of the file, 0 for none
        self.cut = False  # break off in the middle of each answer
        self.pages = {}  # beside the files
        self.headers = {}  # in place of the right ones
        self.tail = b""  # after the right bytes
        self.ranges = True
        self.requests = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Handler(Handler):
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self):
        server = self.server
        path = unquote(self.path)
        span = self.headers.get("Range", "")
        server.requests.append((self.command, path, span))
        path = path.partition("?")[0]
        file = server.folder / path.partition("/resolve/main/")[2] if "/resolve/" in path else server.folder / path[1:]
        page = server.pages.get(path)
        status = server.fault(self.command, path) or (200 if page or file.is_file() else 404)
        content = (page or file.read_bytes()) if status == 200 else b""
        tag = hashlib.md5(content).hexdigest()
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", span)
        headers = {"ETag": f'"{tag}"'}
        if status == 200 and match and server.ranges:
            headers["Content-Range"] = f"bytes {match[1]}-{match[2]}/{len(content)}"
            content = content[int(match[1]) : int(match[2]) + 1] + server.tail
            status = 206
        self.answer(status, {"Content-Length": str(len(content)), **headers, **server.headers})
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if server.cut else content)
            self.close_connection = server.cut

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


def packed(corpus: Path, folder: Path, shard_bytes: int = 200_000, group_bytes: int = 100_000) -> Path:
    """Pack the training and the development part of a corpus in each format, in three shards each."""
    from builders.shards import as_tar  # needs pyarrow

    trials_of_splits = {split: asvspoof2019_la.CORPUS.trials(corpus, split) for split in ("train", "dev")}
    sizes = {"shard_bytes": shard_bytes, "group_bytes": group_bytes}
    pack(trials_of_splits, folder / "parquet", title="tiny", **sizes)
    as_tar(folder / "parquet", folder / "tar")
    return folder


def series(folder: Path, format: str, split: str = "train") -> str:
    """The address of the shards of a split, in braces, below a server of ``folder``."""
    names = sorted(path.relative_to(folder).as_posix() for path in (folder / format).rglob(f"{split}*.*"))
    return names[0].replace("00000", f"{{00000..{len(names) - 1:05d}}}", 1)


def http_store(folder: Path) -> AbstractContextManager[Server]:
    return in_thread(Server(folder))


@contextmanager
def hub_store(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve ``folder`` as the data set ``name`` of the Hugging Face hub does."""
    from huggingface_hub import constants

    with http_store(folder) as server:
        api = f"/api/datasets/{name}"
        facts = json.dumps({"id": name, "sha": "0" * 40}).encode()
        files = []
        for file in sorted(folder.rglob("*.parquet")):
            path = file.relative_to(folder).as_posix()
            files.append({"type": "file", "path": path, "size": file.stat().st_size, "oid": path})
        for page in ("tree/main", "tree/main/data", "paths-info/main"):
            server.pages[f"{api}/{page}"] = json.dumps(files).encode()
        server.pages |= {api: facts, f"{api}/revision/main": facts}
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server


@contextmanager
def s3_at(address: str) -> Iterator[None]:
    """Let S3 be the server at ``address``."""
    import fsspec

    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with mock.patch.dict(os.environ, variables):
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # of another server
        yield


@contextmanager
def s3_store(folder: Path) -> Iterator[str]:
    """Serve the files of ``folder`` in a bucket; yield its address."""
    import logging

    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with s3_at(f"http://127.0.0.1:{port}"):
        store = fsspec.filesystem("s3")
        bucket = f"bucket-{port}"  # moto keeps buckets as long as the process
        store.mkdir(bucket)
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                store.pipe_file(f"{bucket}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        try:
            yield f"s3://{bucket}"
        finally:
            server.stop()


def use_own_parts(monkeypatch: pytest.MonkeyPatch, folder: Path, cache_bytes: int = remote.CACHE_BYTES) -> Path:
    """Keep fetched parts in ``folder``, forget remote files, and wait hardly between requests; return the folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(folder))
    monkeypatch.setattr(remote, "_remote", remote.Remote(cache_bytes))
    monkeypatch.setitem(remote._uncounted, "bytes", cache_bytes)
    monkeypatch.setattr(remote, "_http", cache(lambda: HttpFiles(lambda seconds: None, most_tries=3)))
    return remote.cache_folder()
