"""Limits, decisions and waiting of the page's server, over HTTP."""

import threading

import httpx
import numpy as np
import pytest
from builders import PATIENCE, needs_gradio
from builders.page_requests import ask_page, begun, given, left, send, shown, upload, wait, wav

from nes2net.decisions import Decider
from nes2net.serve.desk import Closed, Limits

pytestmark = needs_gradio


def test_a_recording_is_scored_and_not_kept(serving, small, speech, calibration):
    address, desk = serving(decider=Decider(calibration, prior=0.2))
    answer = send(address, speech / "talk.m4a")
    row, track = answer.json(), small.score_track(speech / "talk.m4a")
    assert answer.status_code == 200 and row["file"] == "talk.m4a"
    assert row["score"] == small.score(speech / "talk.m4a") and row["duration"] == track.duration
    np.testing.assert_array_equal(row["scores"], track.scores)
    assert row["llr"] == pytest.approx(20 * row["score"] + calibration.offset)
    assert row["decision"] == ("bonafide" if row["llr"] > np.log(4) else "spoof")
    assert row["basis"] == desk.decider.basis() and row["basis"]["prior"] == 0.2
    info = httpx.get(f"{address}/api/info", timeout=PATIENCE).json()
    assert info["calibrated"] and info["basis"] == row["basis"] and "does not say which detector" in info["notes"][0]
    short = send(address, speech / "talk.m4a", params={"track": "0"}).json()
    assert short == {key: row[key] for key in row if key not in ("times", "scores")}
    assert left(desk) == []


def test_errors_have_one_line_and_nothing_is_kept(serving, speech, tmp_path):
    address, desk = serving(Limits(max_size=1, max_duration=5))
    assert httpx.get(f"{address}/api/info", timeout=PATIENCE).json()["limits"]["max_size_mb"] == 1
    answer = send(address, speech / "notes.txt")
    assert answer.status_code == 422
    assert answer.json() == {"file": "notes.txt", "error": "not a recording: neither libsndfile nor FFmpeg reads it"}
    assert send(address, speech / "talk.wav").json()["error"].startswith("longer than 5 s")
    for content in (bytes(3 << 20), wav(40)[:1_000_001]):  # the second is just above the limit
        (tmp_path / "big.wav").write_bytes(content)
        answer = send(address, tmp_path / "big.wav")
        assert answer.status_code == 413 and answer.json()["error"] == "too large: 1.0 MB are taken here at once"
    assert left(desk) == []


def test_the_server_tidies_up_by_itself(serving, monkeypatch):
    monkeypatch.setattr("nes2net.serve.app._TIDYING", 0.05)
    monkeypatch.setattr("nes2net.serve.desk._OFFERED", 0.0)
    monkeypatch.setattr("nes2net.serve.uploads._FORGOTTEN", 0.5)
    address, desk = serving()
    paths = upload(address, ("a.wav", wav()), ("never asked for.wav", wav()))
    assert shown(ask_page(address, [given(paths[0])])) == ([], ["a.wav"])
    wait(lambda: not left(desk))


def test_no_more_is_uploaded_than_can_wait(serving):
    address, desk = serving(Limits(max_size=1, waiting=1))

    def answer(content):
        return httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.wav", content)}, timeout=PATIENCE)

    assert answer(bytes(4_000_000)).status_code == 413
    one, two = (begun(address, "/gradio_api/upload", 1_000_000, bytes(300_000)) for _ in range(2))
    wait(lambda: len(left(desk)) == 2 and all(file.stat().st_size > 200_000 for file in left(desk)))
    busy = answer(bytes(100_000))  # there is no room for it beside them
    assert busy.status_code == 503 and busy.json()["error"].startswith("busy") and busy.headers["retry-after"]
    one.close()
    two.close()
    wait(lambda: not left(desk))  # what was not sent to its end
    assert [answer(np.random.default_rng(n).bytes(990_000)).status_code for n in range(2)] == [200, 200]
    assert answer(bytes(500_000)).status_code == 503
    assert sum(path.stat().st_size for path in left(desk)) < 2_000_000


def test_no_more_files_come_over_http_than_can_wait(serving):
    address, _ = serving(Limits(max_size=2, waiting=1))
    connections = [begun(address, "/api/score", 1_000_000, bytes(1000)) for _ in range(2)]

    def answer():
        return httpx.post(f"{address}/api/score", files={"file": ("a.wav", wav())}, timeout=PATIENCE)

    wait(lambda: answer().status_code == 503)
    assert "busy" in answer().json()["error"] and answer().headers["retry-after"]
    for connection in connections:
        connection.close()
    wait(lambda: answer().status_code == 200)


def test_as_many_as_may_wait_leave_the_server_awake(serving, speech, tmp_path):
    """One more is told that the server is busy."""
    address, desk = serving(Limits(waiting=30))
    started, go_on = threading.Event(), threading.Event()
    (tmp_path / "first.wav").write_bytes(wav())

    def hold(share, what):
        started.set()
        go_on.wait(PATIENCE)

    def score():
        with pytest.raises(Closed):
            desk.score(tmp_path / "first.wav", "first", progress=hold)

    first = threading.Thread(target=score)
    first.start()
    assert started.wait(PATIENCE)
    content = wav(0.1) + b"\r\n--B--\r\n"
    head = len('--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
    connections = [begun(address, "/api/score", head + len(content), content) for _ in range(31)]
    wait(lambda: desk.is_full)
    for path in ("/api/info", "/config"):
        assert httpx.get(f"{address}{path}", timeout=PATIENCE).status_code == 200
    answer = send(address, speech / "talk.wav")
    assert answer.status_code == 503 and "busy" in answer.json()["error"] and answer.headers["retry-after"]
    desk.close()
    go_on.set()
    first.join(PATIENCE)
    for connection in connections:
        connection.close()
