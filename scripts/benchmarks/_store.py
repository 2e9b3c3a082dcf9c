"""An HTTP server of files that answers ranges, after a latency, as an object store does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Store

    def do_GET(self) -> None:
        time.sleep(self.server.latency)
        content = (self.server.folder / self.path[1:]).read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span is not None:
            content = content[int(span[1]) : int(span[2]) + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


class _Store(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.latency = latency


@contextmanager
def http_store(folder: Path, latency: float) -> Iterator[str]:
    """Serve ``folder``, each request after ``latency`` seconds; yield the address."""
    with _Store(folder, latency) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
