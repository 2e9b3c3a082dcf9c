"""Requests as a browser and as programs send them to the server of the page."""

from __future__ import annotations

import io
import json
import os
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


def lines(client, name, content, each=False):
    """What the server tells the page about a recording: lines with progress, and answers."""
    files = {"file": (name, content)}
    with client.stream("POST", "/page/score", params={"each": each}, files=files) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            yield json.loads(line)


def answers(client, name, content, each=False):
    """What the server answers to the page about a recording, or about each of its channels."""
    return [line for line in lines(client, name, content, each) if "row" in line]


def begun(client: httpx.Client, length, content=b"", path="/api/score"):
    """A connection on which a request that sends a file has begun."""
    connection = socket.create_connection(("127.0.0.1", client.base_url.port))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    head_of_file = '--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n{head_of_file}".encode() + content)
    return connection
