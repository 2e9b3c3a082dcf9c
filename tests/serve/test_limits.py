"""Limits, decisions and waiting of the page's server, over HTTP."""

import numpy as np
import pytest
from builders import needs_gradio
from builders.page_requests import ask_page, begun, given, left, send, shown, upload, wait, wav

from nes2net.decisions import Decider
from nes2net.serve.desk import Limits

pytestmark = needs_gradio


def test_a_recording_is_scored_and_not_kept(serving, small, speech, calibration):
    client, desk = serving(decider=Decider(calibration, prior=0.2))
    answer = send(client, speech / "talk.m4a")
    row, track = answer.json(), small.score_track(speech / "talk.m4a")
    assert answer.status_code == 200 and row["file"] == "talk.m4a"
    assert row["score"] == small.score(speech / "talk.m4a") and row["duration"] == track.duration
    np.testing.assert_array_equal(row["scores"], track.scores)
    assert row["llr"] == pytest.approx(20 * row["score"] + calibration.offset)
    assert row["decision"] == ("bonafide" if row["llr"] > np.log(4) else "spoof")
    assert row["basis"] == desk.decider.basis() and row["basis"]["prior"] == 0.2
    info = client.get("/api/info").json()
    assert info["calibrated"] and info["basis"] == row["basis"] and "does not say which detector" in info["notes"][0]
    short = send(client, speech / "talk.m4a", params={"track": "0"}).json()
    assert short == {key: row[key] for key in row if key not in ("times", "scores")}
    assert left(desk) == []


def test_errors_have_one_line_and_nothing_is_kept(serving, speech, tmp_path):
    client, desk = serving(Limits(max_size=1, max_duration=5))
    assert client.get("/api/info").json()["limits"]["max_size_mb"] == 1
    answer = send(client, speech / "notes.txt")
    assert answer.status_code == 422
    assert answer.json() == {"file": "notes.txt", "error": "not a recording: neither libsndfile nor FFmpeg reads it"}
    assert send(client, speech / "talk.wav").json()["error"].startswith("longer than 5 s")
    for content in (bytes(3 << 20), wav(40)[:1_000_001]):  # the second is just above the limit
        (tmp_path / "big.wav").write_bytes(content)
        answer = send(client, tmp_path / "big.wav")
        assert answer.status_code == 413 and answer.json()["error"] == "too large: 1.0 MB are taken here at once"
    assert left(desk) == []


def test_the_server_tidies_up_by_itself(serving, monkeypatch):
    for name, seconds in {"app._TIDYING": 0.05, "desk._OFFERED": 0.0, "uploads._FORGOTTEN": 0.5}.items():
        monkeypatch.setattr(f"nes2net.serve.{name}", seconds)
    client, desk = serving()
    paths = upload(client, ("a.wav", wav()), ("never asked for.wav", wav()))
    assert shown(ask_page(client, [given(paths[0])])) == ([], ["a.wav"])
    wait(lambda: not left(desk))


def test_no_more_files_come_over_http_than_can_wait(serving):
    client, _ = serving(Limits(max_size=2, waiting=1))
    connections = [begun(client, "/api/score", 1_000_000, bytes(1000)) for _ in range(2)]

    def answer():
        return client.post("/api/score", files={"file": ("a.wav", wav())})

    wait(lambda: answer().status_code == 503)
    assert "busy" in answer().json()["error"] and answer().headers["retry-after"]
    for connection in connections:
        connection.close()
    wait(lambda: answer().status_code == 200)
