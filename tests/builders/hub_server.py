"""A server that answers huggingface_hub as the hub does, and a cache folder as huggingface_hub lays it out."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def make_cache(home: Path, name: str, folder: Path) -> Path:
    """Lay the files of ``folder`` out as a downloaded data set ``name``; return its snapshot."""
    kept = home / f"datasets--{name.replace('/', '--')}"
    snapshot = kept / "snapshots" / COMMIT
    for file in (path for path in folder.rglob("*") if path.is_file()):
        blob = kept / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    return snapshot


def use_cache(monkeypatch: pytest.MonkeyPatch, home: Path, *, offline: bool) -> None:
    """Let huggingface_hub keep its files in ``home``."""
    from huggingface_hub import constants

    from nes2net.corpora import hub

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.download.cache_clear()


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, sets: dict[str, Path]) -> Iterator[list[str]]:
    """Serve the folders ``sets`` by name, and yield the list of requests; ``…/gated`` is gated."""
    from huggingface_hub import constants

    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"{self.command} {self.path}")
            parts = self.path.partition("?")[0].strip("/").split("/")
            is_api = parts[0] == "api"
            name = "/".join(parts[2:4] if is_api else parts[1:3])
            if name not in sets:
                return self.answer(404, {"X-Error-Code": "RepoNotFound"})
            if is_api:
                if parts[4:] == ["tree", COMMIT]:
                    listed = [
                        {
                            "type": "file",
                            "path": p.relative_to(sets[name]).as_posix(),
                            "size": p.stat().st_size,
                            "oid": "0",
                        }
                        for p in sorted(sets[name].rglob("*"))
                        if p.is_file()
                    ]
                    return self.answer(200, {}, json.dumps(listed).encode())
                if parts[4:] not in ([], ["revision", "main"], ["revision", COMMIT]):
                    return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
                files = [p.relative_to(sets[name]).as_posix() for p in sets[name].rglob("*") if p.is_file()]
                siblings = [{"rfilename": file} for file in sorted(files)]
                return self.answer(200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
            if name.endswith("gated"):
                return self.answer(403, {"X-Error-Code": "GatedRepo"})
            content = (sets[name] / "/".join(parts[5:])).read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.answer(200, headers, content)

        do_HEAD = do_GET

        def answer(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    try:
        yield requests
    finally:
        server.shutdown()
        server.server_close()
