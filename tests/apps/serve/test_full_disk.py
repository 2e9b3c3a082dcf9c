"""An upload while the disk of the server is full: here, the process may write only short files."""

import multiprocessing

import numpy as np
import pytest
import soundfile
from builders import needs_serve
from builders.metrics_page import samples
from builders.page_requests import answers, left, send, wav
from builders.small_disk import small_disk

from nes2net.apps.serve import decoding
from nes2net.apps.serve.decoding import decode

MOST = 200_000  # bytes of a file


@pytest.fixture(params=[10, 60], ids=["held in memory", "stored by FastAPI"])
def long_wav(request, tmp_path):
    """A recording that is too long for the disk."""
    path = tmp_path / "long.wav"
    path.write_bytes(wav(request.param))
    return path


@needs_serve
def test_an_upload_while_the_disk_is_full_is_answered_507_and_counted(serving, long_wav):
    client, desk = serving()
    with small_disk(MOST):
        answer = send(client, long_wav)
        assert answer.status_code == 507
        assert "the disk of the server is full" in answer.json()["error"]
        assert client.get("/health").json()["status"] == "full"
    assert samples(client.get("/metrics").text)["nes2net_requests_total", "/api/score", "507"] == 1
    assert left(desk) == []


@needs_serve
def test_the_page_is_told_that_the_disk_is_full(serving):
    client, _ = serving()
    with small_disk(MOST):
        (answer,) = answers(client, "long.wav", wav(10))
    assert "the disk of the server is full" in answer["row"]["error"]


@pytest.mark.slow
def test_a_disk_that_is_full_while_a_file_is_decoded_is_no_fault_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "multiprocessing", multiprocessing)  # a new process, which has the limit
    soundfile.write(tmp_path / "long.flac", np.zeros(16000 * 30), 16000)
    with small_disk(MOST), pytest.raises(OSError, match="cannot be written"):
        decode(tmp_path / "long.flac", tmp_path / "whole.wav", None, longest=60, check=lambda: None)


@needs_serve
def test_a_failure_of_the_server_is_answered_500_over_http(client, monkeypatch):
    monkeypatch.setattr("nes2net.apps.serve.desk.decode", lambda *_, **__: 1 / 0)
    answer = client.post("/api/score", files={"file": ("a.wav", wav())})
    assert answer.status_code == 500
    assert answer.json() == {"file": "a.wav", "error": "not scored: the server failed (ZeroDivisionError)"}
