"""The API and the page's routes, over HTTP on the real server."""

import io
import json
import os
import re
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from builders import PATIENCE

from nes2net import __version__
from nes2net.decisions import Decider
from nes2net.serve.desk import Closed, Limits

pytest.importorskip("gradio")


def left(desk):
    # os.walk passes over folders that the server removes meanwhile; Path.rglob fails.
    return [Path(folder, name) for folder, _, names in os.walk(desk.folder) for name in names]


def send(address, path, **options):
    with path.open("rb") as file:
        return httpx.post(f"{address}/api/score", files={"file": (path.name, file)}, timeout=PATIENCE, **options)


def test_a_recording_is_scored_and_not_kept(serving, small, speech, calibration):
    address, desk = serving(decider=Decider(calibration, prior=0.2))
    answer = send(address, speech / "talk.m4a")
    row = answer.json()
    track = small.score_track(speech / "talk.m4a")
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
    answer = send(address, speech / "notes.txt")
    assert answer.status_code == 422
    assert answer.json() == {"file": "notes.txt", "error": "not a recording: neither libsndfile nor FFmpeg reads it"}
    assert send(address, speech / "talk.wav").json()["error"].startswith("longer than 5 s")
    (tmp_path / "big.wav").write_bytes(bytes(3 << 20))
    answer = send(address, tmp_path / "big.wav")
    assert answer.status_code == 413 and answer.json() == {"error": "too large: 1.0 MB are taken here at once"}
    just_above = wav(40)[:1_000_001]
    answer = httpx.post(f"{address}/api/score", files={"file": ("a.wav", just_above)}, timeout=PATIENCE)
    assert answer.status_code == 413 and answer.json()["error"] == "too large: 1.0 MB are taken here at once"
    for options in ({}, {"files": {"other": ("a.wav", b"")}}, {"data": {"file": "text"}}):
        answer = httpx.post(f"{address}/api/score", **options, timeout=PATIENCE)
        assert answer.status_code == 422 and list(answer.json()) == ["error"], options
        assert answer.json()["error"].endswith("the recording is expected in the form field file")
    foreign = send(address, speech / "talk.wav", headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert left(desk) == []


def test_a_name_cannot_lead_anywhere(serving, speech, tmp_path):
    address, desk = serving()
    content = (speech / "talk.wav").read_bytes()
    for name, shown in (("../../x\x1b[2J.wav", "x\\u001b[2J.wav"), ("<img src=x>", "<img src=x>"), ("a/b/..", "..")):
        answer = httpx.post(f"{address}/api/score?track=0", files={"file": (name, content)}, timeout=PATIENCE)
        assert answer.status_code == 200 and answer.json()["file"] == shown
    assert left(desk) == []


def test_a_full_desk_says_so(serving, speech):
    address, desk = serving(Limits(waiting=1))
    started, go_on = threading.Event(), threading.Event()

    def hold(share, what):
        started.set()
        go_on.wait(PATIENCE)

    first = threading.Thread(target=desk.score, args=(speech / "talk.wav", "first"), kwargs={"progress": hold})
    first.start()
    assert started.wait(PATIENCE)
    answers = []
    second = threading.Thread(target=lambda: answers.append(send(address, speech / "talk.wav")))
    second.start()
    while not desk.is_full:
        second.join(0.01)
    answer = send(address, speech / "talk.wav")
    assert answer.status_code == 503 and "busy" in answer.json()["error"] and answer.headers["retry-after"]
    go_on.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert answers[0].status_code == 200


def test_what_is_served(serving):
    address, _ = serving(Limits(max_size=7))
    info = httpx.get(f"{address}/api/info", timeout=PATIENCE).json()
    assert (info["model"], info["version"], info["calibrated"]) == ("small.pth", __version__, False)
    assert info["parts"] == {"frontend": "lps", "aggregation": "last", "backend": "asp_mlp"}
    assert info["limits"]["max_size_mb"] == 7


def test_the_player_gets_its_file_once(serving, speech):
    address, desk = serving()
    scored = desk.score(speech / "talk.wav", "talk.wav", look=True)
    assert len(left(desk)) == 1
    answer = httpx.get(f"{address}/heard/{scored.token}", timeout=PATIENCE)
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/wav"
    assert len(answer.content) == 44 + 2 * 160_000
    assert httpx.get(f"{address}/heard/{scored.token}", timeout=PATIENCE).status_code == 404
    assert httpx.get(f"{address}/heard/..%2f..%2fetc", timeout=PATIENCE).status_code == 404
    assert left(desk) == []


def upload(address, *files):
    return httpx.post(
        f"{address}/gradio_api/upload", files=[("files", file) for file in files], timeout=PATIENCE
    ).json()


def given(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def joined(payload, session="one"):
    return {"data": [payload], "fn_index": 0, "session_hash": session}


def messages(client, payload, session="one"):
    """What the page's own event tells about ``payload``."""
    client.post("/gradio_api/queue/join", json=joined(payload, session)).raise_for_status()
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


def ask_page(address, payload):
    """What the page's own event answers to ``payload``."""
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        return next(message for message in messages(client, payload) if message["msg"] == "process_completed")


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
    assert left(desk) == []


def test_gradio_answers_nothing_that_the_page_does_not_need(serving, speech):
    """It could fetch what is at an address, keep files in the folder for temporary ones, and skip the queue."""
    address, desk = serving()
    path = upload(address, ("a.wav", (speech / "talk.wav").read_bytes()))[0]
    for name in (
        f"file={path}",
        "file=http://example.invalid/",
        "proxy=http://example.invalid/",
        "runs",
        "openapi.json",
    ):
        assert httpx.get(f"{address}/gradio_api/{name}", timeout=PATIENCE).status_code == 404, name
    for name in ("monitoring", "monitoring/summary", "openapi.json", "api/score", "docs"):
        assert (
            httpx.get(f"{address}/{name}", timeout=PATIENCE).json()["error"].startswith("nothing is at this address")
        ), name
    for name in ("run/x", "api/x", "call/x", "process_recording", "component_server", "queue/data"):
        assert (
            httpx.post(f"{address}/gradio_api/{name}", json=joined([given(path)]), timeout=PATIENCE).status_code == 404
        ), name
    assert httpx.put(f"{address}/api/score", timeout=PATIENCE).status_code == 404
    assert [file.name for file in left(desk)] == ["a.wav"]


@pytest.mark.parametrize(
    "body, error",
    [
        ({"fn_index": 99}, "there is no such event"),
        ({"fn_index": -1}, "there is no such event"),
        ({"fn_index": [0]}, "there is no such event"),
        ({"session_hash": ""}, "it names no session"),
        ({"session_hash": "x" * 101}, "it names no session"),
        (b'{"fn_index": 1e400}', "not JSON compliant"),
        (b"[1, 2]", "there is no such event"),
        (b"[" * 1000, "nested more than 100 deep"),
        (b"\xff", "can't decode byte"),
    ],
)
def test_a_drop_that_is_none_of_the_page_is_refused(serving, body, error):
    address, _ = serving()
    content = body if isinstance(body, bytes) else json.dumps({**joined(None), **body}).encode()
    answer = httpx.post(f"{address}/gradio_api/queue/join", content=content)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("not a drop of the page: ") and error in answer.json()["error"]


def test_only_files_may_be_long(serving):
    address, _ = serving()
    answer = httpx.post(f"{address}/gradio_api/queue/join", content=bytes(3 << 20), timeout=PATIENCE)
    assert answer.status_code == 413


def test_an_upload_is_scored_by_the_page_and_removed(serving, small, speech):
    address, desk = serving()
    hostile = "<b>talk</b> ${alert(1)} {{1}}.wav"
    with (speech / "talk.wav").open("rb") as file:
        (path,) = httpx.post(f"{address}/gradio_api/upload", files={"files": (hostile, file)}, timeout=PATIENCE).json()
    assert desk.folder in Path(path).parents
    message = ask_page(address, [{"path": path, "meta": {"_type": "gradio.FileData"}}])
    html, cleared = message["output"]["data"]
    assert f"{small.score(speech / 'talk.wav'):.4f}" in html and cleared is None
    assert "<b>talk" not in html
    assert [file.suffix for file in left(desk)] == [".wav"] and left(desk)[0].stem in desk.heard


def shown(message):
    """Errors and titles of the files in an answer of the page."""
    html = message["output"]["data"][0]
    return re.findall(r'n2-error">(.*?)<', html), re.findall(r"<h2>(.*?)</h2>", html)


def wav(seconds=1.0, pitch=200):
    content = io.BytesIO()
    soundfile.write(content, 0.1 * np.sin(pitch * np.arange(int(16000 * seconds)) / 2500), 16000, format="WAV")
    return content.getvalue()


def test_copies_of_one_recording(serving):
    """Gradio keeps what has the same content in one folder, and with the same name too as one file."""
    address, desk = serving()
    paths = upload(address, ("a.wav", wav()), ("copy.wav", wav()))
    assert shown(ask_page(address, [given(path) for path in [*paths, paths[0]]])) == (
        [],
        ["a.wav", "copy.wav", "a.wav"],
    )
    (path,), _ = upload(address, ("a.wav", wav())), upload(address, ("a.wav", wav()))
    assert shown(ask_page(address, [given(path)])) == ([], ["a.wav"])
    assert shown(ask_page(address, [given(path)])) == (["was removed already: drop it again"], [])
    assert {file.stem for file in left(desk)} == set(desk.heard) and len(desk.heard) == 4


def test_players_have_their_minutes_from_the_answer_on(serving):
    address, desk = serving()
    paths = upload(address, ("a.wav", wav()), ("b.wav", wav(pitch=300)))
    ask_page(address, [given(path) for path in paths])
    one = next(iter(desk.heard))
    assert httpx.get(f"{address}/heard/{one}", headers={"Range": "bytes=abc"}, timeout=PATIENCE).status_code == 400
    desk.tidy(200)
    assert len(left(desk)) == 2
    desk.tidy(400)
    assert left(desk) == [] and desk.heard == {}
    desk.score(io_file(desk, wav()), "c.wav", look=True)
    desk.tidy(4000)
    assert len(desk.heard) == 1  # of a drop that is still being scored


def test_the_server_tidies_up_by_itself(serving, monkeypatch):
    monkeypatch.setattr("nes2net.serve.app._TIDYING", 0.05)
    monkeypatch.setattr("nes2net.serve.desk._OFFERED", 0.0)
    monkeypatch.setattr("nes2net.serve.uploads._FORGOTTEN", 0.5)
    address, desk = serving()
    paths = upload(address, ("a.wav", wav()), ("never asked for.wav", wav()))
    assert shown(ask_page(address, [given(paths[0])])) == ([], ["a.wav"])
    wait(lambda: not left(desk))


def io_file(desk, content):
    path = desk.folder / "sent.wav"
    path.write_bytes(content)
    return path


def test_a_page_that_is_closed_ends_its_drop(serving):
    address, desk = serving()
    paths = upload(address, *((f"{n}.wav", wav(pitch=100 + n)) for n in range(40)))
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        told = messages(client, [given(path) for path in paths])
        assert next(message for message in told if message["msg"] == "process_starts")
        told.close()
    most = wait(lambda: not left(desk), lambda: len(desk.heard))
    assert most < 40 and desk.heard == {}


def wait(for_what, largest=lambda: 0):
    """Wait until ``for_what()``; return the largest ``largest()`` seen."""
    end, seen = time.monotonic() + PATIENCE, 0
    while not for_what():
        assert time.monotonic() < end
        seen = max(seen, largest())
        time.sleep(0.05)
    return seen


def test_a_failure_of_the_server_is_an_error_of_the_file(serving, monkeypatch, capfd):
    address, desk = serving()
    monkeypatch.setattr("nes2net.serve.desk.draw", lambda *_: 1 / 0)
    answer = ask_page(address, [given(path) for path in upload(address, ("a.wav", wav()))])
    assert shown(answer) == (["not scored: the server failed (ZeroDivisionError)"], [])
    assert left(desk) == [] and desk.heard == {} and "ZeroDivisionError" in capfd.readouterr().err


def begun(address, path, length, content=b""):
    """A connection on which a request that sends a file has begun."""
    port = int(address.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    part = '--B\r\nContent-Disposition: form-data; name="FIELD"; filename="a.wav"\r\n\r\n'
    part = part.replace("FIELD", "files" if path.endswith("upload") else "file")
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n{part}".encode() + content)
    return connection


def test_no_more_is_uploaded_than_can_wait(serving):
    address, desk = serving(Limits(max_size=1, waiting=1))
    route = f"{address}/gradio_api/upload"
    assert httpx.post(route, files={"files": ("a.wav", bytes(4_000_000))}, timeout=PATIENCE).status_code == 413
    one, two = (begun(address, "/gradio_api/upload", 1_000_000, bytes(300_000)) for _ in range(2))
    wait(lambda: len(left(desk)) == 2 and all(file.stat().st_size > 200_000 for file in left(desk)))
    answer = httpx.post(
        route, files={"files": ("a.wav", bytes(100_000))}, timeout=PATIENCE
    )  # there is no room for it beside them
    assert answer.status_code == 503 and answer.json()["error"].startswith("busy") and answer.headers["retry-after"]
    one.close()
    two.close()
    wait(lambda: not left(desk))  # what was not sent to its end
    assert (
        httpx.post(
            route, files={"files": ("a.wav", np.random.default_rng().bytes(990_000))}, timeout=PATIENCE
        ).status_code
        == 200
    )
    assert (
        httpx.post(
            route, files={"files": ("a.wav", np.random.default_rng().bytes(990_000))}, timeout=PATIENCE
        ).status_code
        == 200
    )
    assert httpx.post(route, files={"files": ("a.wav", bytes(500_000))}, timeout=PATIENCE).status_code == 503
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


def test_as_many_as_may_wait_leave_the_server_awake(serving):
    address, desk = serving(Limits(waiting=30))
    started, go_on = threading.Event(), threading.Event()

    def hold(share, what):
        started.set()
        go_on.wait(PATIENCE)

    def score():
        with pytest.raises(Closed):
            desk.score(io_file(desk, wav()), "first", progress=hold)

    first = threading.Thread(target=score)
    first.start()
    assert started.wait(PATIENCE)
    content = wav(0.1) + b"\r\n--B--\r\n"
    head = len('--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
    connections = [begun(address, "/api/score", head + len(content), content) for _ in range(31)]
    wait(lambda: desk.is_full)
    for path in ("/api/info", "/config"):
        assert httpx.get(f"{address}{path}", timeout=PATIENCE).status_code == 200
    desk.close()
    go_on.set()
    first.join(PATIENCE)
    for connection in connections:
        connection.close()
