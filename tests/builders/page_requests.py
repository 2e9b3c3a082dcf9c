"""Requests as a browser and as programs send them to the server of the page."""

from __future__ import annotations

import io
import json
import os
import re
import socket
from pathlib import Path

import httpx
import numpy as np
import soundfile

from nes2net.apps.serve.desk import Desk


def left(desk: Desk) -> list[Path]:
    """The files that a server holds."""
    # os.walk passes over folders that the server removes meanwhile; Path.rglob fails.
    return [Path(folder, name) for folder, _, names in os.walk(desk.folder) for name in names]


def wav(seconds=1.0, pitch=200):
    content = io.BytesIO()
    soundfile.write(content, 0.1 * np.sin(pitch * np.arange(int(16000 * seconds)) / 2500), 16000, format="WAV")
    return content.getvalue()


def send(client, path, **options):
    return client.post("/api/score", files={"file": (path.name, path.read_bytes())}, **options)


def upload(client, *files):
    return client.post("/gradio_api/upload", files=[("files", file) for file in files]).json()


def given(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def joined(payload, each_channel=False):
    return {"data": [payload, each_channel], "fn_index": 0, "session_hash": "one"}


def messages(client, payload, each_channel=False):
    """What the page's own event tells about ``payload``."""
    client.post("/gradio_api/queue/join", json=joined(payload, each_channel)).raise_for_status()
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "one"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


def ask_page(client, payload, each_channel=False):
    """What the page's own event answers to ``payload``."""
    told = messages(client, payload, each_channel)
    return next(message for message in told if message["msg"] == "process_completed")


def shown(message):
    """Errors and titles of the files in an answer of the page."""
    html = message["output"]["data"][0]
    return re.findall(r'n2-error">(.*?)<', html), re.findall(r"<h2>(.*?)</h2>", html)


def begun(client: httpx.Client, length, content=b""):
    """A connection on which a request that sends a file has begun."""
    connection = socket.create_connection(("127.0.0.1", client.base_url.port))
    head = "POST /api/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    part = '--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n{part}".encode() + content)
    return connection
