"""A server that answers huggingface_hub as the hub does, and a cache folder as huggingface_hub lays it out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from builders.http_server import Server, running

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Kind = Literal["dataset", "model"]


def make_cache(home: Path, name: str, folder: Path, kind: Kind = "dataset") -> Path:
    """Lay the files of ``folder`` out as a downloaded data set or model ``name``; return its snapshot."""
    repository = home / f"{kind}s--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for file in (path for path in folder.rglob("*") if path.is_file()):
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def use_cache(monkeypatch: pytest.MonkeyPatch, home: Path, *, offline: bool):
    """Let huggingface_hub keep its files in ``home``, and those of other servers in ``home/assets``."""
    from huggingface_hub import constants

    from nes2net.data.corpora import hub

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(home / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.download.cache_clear()


def spoil(server: Server, name: str):
    """Reverse the bytes of the file, whose SHA-256 the server still states."""
    for path in [path for path in server.pages if "/resolve/" in path and path.endswith(name)]:
        server.pages[path] = server.pages[path][::-1]


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, sets: dict[str, Path], kind: Kind = "dataset") -> Iterator[Server]:
    """Serve the folders ``sets`` by name; ``…/gated`` is gated."""
    below = "/datasets" if kind == "dataset" else ""
    constants = pytest.importorskip("huggingface_hub.constants")

    def missing(path):
        name = next((name for name in sets if f"/{name}/" in path), None)
        if name is None:
            return 404, {"X-Error-Code": "RepoNotFound"}
        is_gated = name.endswith("gated") and not path.startswith("/api")
        return (403, {"X-Error-Code": "GatedRepo"}) if is_gated else (404, {"X-Error-Code": "RevisionNotFound"})

    with running() as server:
        server.missing = missing
        server.extra_headers = {"X-Repo-Commit": COMMIT}
        for name, folder in sets.items():
            paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
            files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
            facts = {"id": name, "sha": COMMIT, "cardData": {"license": "mit"}}
            digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
            siblings = []
            for file, content in files.items():
                facts_of_lfs = {"size": len(content), "sha256": digests[file], "pointerSize": 130}
                siblings.append({"rfilename": file, "size": len(content), "lfs": facts_of_lfs})
            for revision in ("", "/revision/main", f"/revision/{COMMIT}"):
                server.pages[f"/api/{kind}s/{name}{revision}"] = json.dumps(facts | {"siblings": siblings}).encode()
            tree = [
                {"type": "file", "path": sibling["rfilename"], "size": sibling["size"], "oid": "0"}
                for sibling in siblings
            ]
            server.pages[f"/api/{kind}s/{name}/tree/{COMMIT}"] = json.dumps(tree).encode()
            for file, content in files.items() if not name.endswith("gated") else ():
                for revision in ("main", COMMIT):
                    path = f"{below}/{name}/resolve/{revision}/{file}"
                    server.pages[path] = content
                    server.tags[path] = f'"{digests[file]}"'
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
