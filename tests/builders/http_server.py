"""A local HTTP server whose faults a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Server(ThreadingHTTPServer):
    """Serves ``pages``, or ``content`` at any path; ``requests`` are method, path and headers."""

    daemon_threads = True

    def __init__(self, content: bytes | None = None):
        super().__init__(("127.0.0.1", 0), _FaultyHandler)
        self.content, self.pages = content, dict[str, bytes]()
        self.tag = '"one"'
        self.tags = {}  # of pages that have another one
        self.missing = lambda path: (404, {})  # answer to other paths
        self.ranges = True
        self.trusting = False  # send ranges of whatever is there now, other file or not
        self.broken_after = []  # bytes after which the next answers break off
        self.statuses = []  # of the next answers, instead of the file
        self.redirect = None  # of the next answer
        self.announced = None  # bytes, instead of the real number
        self.extra_headers = {}
        self.requests = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> list[str]:
        """The paths of all GET requests."""
        return [path for method, path, _ in self.requests if method == "GET"]


@contextmanager
def in_thread(server: HTTPServer) -> Iterator[HTTPServer]:
    with server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def running(content: bytes | None = None):
    return in_thread(Server(content))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


class _FaultyHandler(Handler):
    server: Server

    def do_GET(self):
        server = self.server
        path = unquote(urlsplit(self.path).path)
        server.requests.append((self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        if server.statuses:
            return self.answer(
                server.statuses.pop(0), {"Content-Length": "0", "Retry-After": "7", **server.extra_headers}
            )
        if server.redirect:
            target = server.redirect
            server.redirect = None
            return self.answer(302, {"Location": target, "Content-Length": "0", **server.extra_headers})
        content = server.pages.get(path, server.content)
        start = 0
        if content is None:
            status, headers = server.missing(path)
            return self.answer(status, {"Content-Length": "0", **headers})
        requested_range = self.headers.get("Range")
        is_same_file = server.trusting or self.headers.get("If-Range", server.tag) == server.tag
        if requested_range and server.ranges and is_same_file:
            start = int(requested_range.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                return self.answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
        headers = {"Content-Length": str((server.announced or len(content)) - start), **server.extra_headers}
        if server.tag:
            headers["ETag"] = server.tags.get(path, server.tag)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET":
            headers["Connection"] = "close"  # or a client may send its next request while this end closes
        self.answer(206 if start else 200, {name: value for name, value in headers.items() if value})
        if self.command == "GET":
            end = start + server.broken_after.pop(0) if server.broken_after else len(content)
            self.wfile.write(content[start:end])
            self.close_connection = True
