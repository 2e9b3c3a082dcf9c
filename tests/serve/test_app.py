"""The API and the page's routes, over HTTP on the real server."""

import json
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from nes2net import __version__
from nes2net.serve.desk import Limits, Operation

pytest.importorskip("gradio")


def left(desk):
    return [path for path in desk.folder.rglob("*") if path.is_file()]


def send(address, path, **options):
    with path.open("rb") as file:
        return httpx.post(f"{address}/api/score", files={"file": (path.name, file)}, timeout=60, **options)


def test_a_recording_is_scored_and_not_kept(serving, small, speech, calibration):
    address, desk = serving(operation=Operation(calibration, prior=0.2))
    answer = send(address, speech / "talk.m4a")
    row = answer.json()
    track = small.score_track(speech / "talk.m4a")
    assert answer.status_code == 200 and row["file"] == "talk.m4a"
    assert row["score"] == small.score(speech / "talk.m4a") and row["duration"] == track.duration
    np.testing.assert_array_equal(row["scores"], track.scores)
    assert row["llr"] == pytest.approx(20 * row["score"] + calibration.offset)
    assert row["decision"] == ("bonafide" if row["llr"] > np.log(4) else "spoof") and row["prior"] == 0.2
    short = send(address, speech / "talk.m4a", params={"track": "0"}).json()
    assert short == {key: row[key] for key in row if key not in ("times", "scores")}
    assert left(desk) == []


def test_errors_have_one_line_and_nothing_is_kept(serving, speech, tmp_path):
    address, desk = serving(Limits(max_size=1, max_duration=5))
    answer = send(address, speech / "notes.txt")
    assert answer.status_code == 422
    assert answer.json() == {"file": "notes.txt", "error": "not a recording: neither libsndfile nor FFmpeg reads it"}
    assert send(address, speech / "talk.wav").json()["error"].startswith("longer than 5 s")
    (tmp_path / "big.wav").write_bytes(bytes(3 << 20))
    answer = send(address, tmp_path / "big.wav")
    assert answer.status_code == 413 and answer.json() == {"error": "too large: 1.0 MB are taken here at once"}
    assert httpx.post(f"{address}/api/score").status_code == 422
    foreign = send(address, speech / "talk.wav", headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert left(desk) == []


def test_a_name_cannot_lead_anywhere(serving, speech, tmp_path):
    address, desk = serving()
    content = (speech / "talk.wav").read_bytes()
    for name, shown in (("../../x\x1b[2J.wav", "x\\u001b[2J.wav"), ("<img src=x>", "<img src=x>"), ("a/b/..", "..")):
        answer = httpx.post(f"{address}/api/score?track=0", files={"file": (name, content)}, timeout=60)
        assert answer.status_code == 200 and answer.json()["file"] == shown
    assert left(desk) == []


def test_a_full_desk_says_so(serving, speech):
    address, desk = serving(Limits(waiting=1))
    started, go_on = threading.Event(), threading.Event()

    def hold(share, what):
        started.set()
        go_on.wait(60)

    first = threading.Thread(target=desk.score, args=(speech / "talk.wav", "first"), kwargs={"progress": hold})
    first.start()
    assert started.wait(60)
    answers = []
    second = threading.Thread(target=lambda: answers.append(send(address, speech / "talk.wav")))
    second.start()
    while not desk.is_full:
        second.join(0.01)
    answer = send(address, speech / "talk.wav")
    assert answer.status_code == 503 and "busy" in answer.json()["error"] and answer.headers["retry-after"]
    go_on.set()
    first.join(60)
    second.join(60)
    assert answers[0].status_code == 200


def test_what_is_served(serving):
    address, _ = serving(Limits(max_size=7))
    info = httpx.get(f"{address}/api/info").json()
    assert (info["model"], info["version"], info["calibrated"]) == ("small.pth", __version__, False)
    assert info["parts"] == {"frontend": "lps", "aggregation": "last", "backend": "asp_mlp"}
    assert info["limits"]["max_size_mb"] == 7


def test_the_player_gets_its_file_once(serving, speech):
    address, desk = serving()
    scored = desk.score(speech / "talk.wav", "talk.wav", look=True)
    assert len(left(desk)) == 1
    answer = httpx.get(f"{address}/heard/{scored.token}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/wav"
    assert len(answer.content) == 44 + 2 * 160_000
    assert httpx.get(f"{address}/heard/{scored.token}").status_code == 404
    assert httpx.get(f"{address}/heard/..%2f..%2fetc").status_code == 404
    assert left(desk) == []


def ask_page(address, payload):
    """What the page's own event answers to ``payload``."""
    with httpx.Client(base_url=address, timeout=60) as client:
        joined = {"data": [payload], "fn_index": 0, "session_hash": "one"}
        client.post("/gradio_api/queue/join", json=joined).raise_for_status()
        with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "one"}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:") and (message := json.loads(line[5:]))["msg"] == "process_completed":
                    return message
    raise AssertionError("no answer")


def test_the_page_takes_uploaded_files_alone(serving, tmp_path):
    """Not those of this machine, and not what is at an address, which a request may name instead."""
    address, desk = serving()
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.zeros(16000), 16000)
    file = {"meta": {"_type": "gradio.FileData"}}
    for path in (str(secret), "http://example.invalid/a.wav", f"{desk.folder}/uploads/../../secret.wav"):
        for payload in ({**file, "path": path}, [{**file, "path": path}], [{**file, "path": path, "url": path}]):
            message = ask_page(address, payload)
            assert not message["success"] and "n2-" not in json.dumps(message), path
    assert httpx.get(f"{address}/gradio_api/file={secret}").status_code == 403
    assert left(desk) == []


def test_an_upload_is_scored_by_the_page_and_removed(serving, small, speech):
    address, desk = serving()
    hostile = "<b>talk</b> ${alert(1)} {{1}}.wav"
    with (speech / "talk.wav").open("rb") as file:
        (path,) = httpx.post(f"{address}/gradio_api/upload", files={"files": (hostile, file)}).json()
    assert desk.folder in Path(path).parents
    message = ask_page(address, [{"path": path, "meta": {"_type": "gradio.FileData"}}])
    html, cleared = message["output"]["data"]
    assert f"{small.score(speech / 'talk.wav'):.4f}" in html and cleared is None
    assert "<b>talk" not in html
    assert [file.suffix for file in left(desk)] == [".wav"] and left(desk)[0].stem in desk.heard


def test_no_more_is_uploaded_than_can_wait(serving):
    address, desk = serving(Limits(max_size=1, waiting=1))
    upload = f"{address}/gradio_api/upload"
    for _ in range(2):
        answer = httpx.post(upload, files={"files": ("a.wav", np.random.default_rng().bytes(990_000))})
        assert answer.status_code == 200
    assert httpx.post(upload, files={"files": ("a.wav", bytes(3_000_000))}).status_code == 413
    assert sum(path.stat().st_size for path in left(desk)) < 2_000_000
