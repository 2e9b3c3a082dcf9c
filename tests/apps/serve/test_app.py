"""The API and the page's routes, over HTTP on the real server."""

import json
import logging
import socket
import time
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_gradio, wait
from builders.page_requests import ask_page, begun, given, joined, left, messages, send, shown, upload, wav
from builders.voices import voice

from nes2net import __version__
from nes2net.apps.serve.desk import Limits
from nes2net.data.audio.packed import ChannelOf
from nes2net.scoring.decisions import Decider

pytestmark = needs_gradio


def test_info_and_scores_are_served(server, speech):
    """A name cannot lead anywhere, and a request for nothing has a reason."""
    client, desk = server
    info = client.get("/api/info").json()
    assert (info["model"], info["version"], info["calibrated"]) == ("small.pth", __version__, False)
    assert info["parts"] == {"frontend": "lps", "aggregation": "last", "backend": "asp_mlp"}
    answer = client.post("/api/score?track=0", files={"file": ("../../x\x1b[2J.wav", wav())})
    assert answer.status_code == 200 and answer.json()["file"] == "x\\u001b[2J.wav"
    for options in ({}, {"files": {"other": ("a.wav", b"")}}, {"data": {"file": "text"}}):
        answer = client.post("/api/score", **options)
        assert answer.status_code == 422 and list(answer.json()) == ["error"], options
        assert answer.json()["error"].endswith("the recording is expected in the form field file")
    assert send(client, speech / "talk.wav", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/gradio_api/queue/join", content=bytes(3 << 20)).status_code == 413  # only files may be long
    assert left(desk) == []


def test_the_player_gets_its_file_once(server, speech):
    client, desk = server
    scored = desk.score(speech / "talk.wav", "talk.wav", look=True)
    assert len(left(desk)) == 1
    answer = client.get(f"/heard/{scored.token}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/wav"
    assert len(answer.content) == 44 + 2 * 160_000
    for token in (scored.token, "..%2f..%2fetc"):
        assert client.get(f"/heard/{token}").status_code == 404
    wait(lambda: not left(desk))  # the file is removed after it was sent


def test_the_page_takes_uploaded_files_alone(server, tmp_path):
    """Not those of this machine, and not what is at an address, which a request may name instead."""
    client, desk = server
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.zeros(16000), 16000)
    for path in (str(secret), "http://example.invalid/a.wav", f"{desk.folder}/uploads/../../secret.wav"):
        for payload in (given(path), [given(path)], [{**given(path), "url": path}]):
            answer = client.post("/gradio_api/queue/join", json=joined(payload))
            assert answer.status_code == 422 and "not a drop of the page: data " in answer.json()["error"], path
    assert left(desk) == []


def test_gradio_answers_nothing_that_the_page_does_not_need(server):
    """It could fetch what is at an address, keep files in the folder for temporary ones, and skip the queue."""
    client, desk = server
    path, foreign = upload(client, ("a.wav", wav()))[0], "http://example.invalid/"
    for name in (f"file={path}", f"file={foreign}", f"proxy={foreign}", "runs", "openapi.json"):
        assert client.get(f"/gradio_api/{name}").status_code == 404, name
    for name in ("monitoring", "monitoring/summary", "redoc", "api/score", "docs/oauth2-redirect"):
        assert client.get(f"/{name}").json()["error"].startswith("nothing is at this address"), name
    for name in ("run/x", "api/x", "call/x", "process_recording", "component_server", "queue/data"):
        assert client.post(f"/gradio_api/{name}", json=joined([given(path)])).status_code == 404, name
    assert client.put("/api/score").status_code == 404
    assert [file.name for file in left(desk)] == ["a.wav"]


def test_a_drop_that_is_none_of_the_page_is_refused(server):
    for body, error in (
        ({"fn_index": 99}, "there is no such event"),
        ({"fn_index": [0]}, "there is no such event"),
        ({"fn_index": True}, "there is no such event"),
        ({"session_hash": "x" * 101}, "session_hash is not 1 to 100 letters"),
        ({"session_hash": "\ud800"}, "session_hash is not 1 to 100 letters"),
        ({"session_hash": None}, "session_hash is not 1 to 100 letters"),
        ({"data": [1, 2, 3]}, "data is no list of files and a box"),
        ({"data": [None, 1]}, "data is no list of files and a box"),
        ({"data": {}}, "data is no list of files and a box"),
        (joined(given("/etc/passwd")), "data holds no list of files"),
        (joined([1]), "data holds what is no file"),
        (joined([given("\x1b]0;owned\x07")]), "data holds what is no file"),
        (joined([given("\ud800")]), "surrogates not allowed"),
        (joined([given(f"{server[1].folder}/uploads/0/{'a' * 256}")]), "not an uploaded one"),
        ({**joined([]), "fn_index": 1}, "data holds what is no file"),
        (b'{"fn_index": 1e400}', "there is no such event"),
        (b'{"fn_index": 1' + b"0" * 5000 + b"}", "4300 digits"),
        (b"[1, 2]", "it is no JSON object"),
        (b"", "Expecting value"),
        (b"[" * 1000, "nested more than 100 deep"),
        (b"\xff", "can't decode byte"),
    ):
        content = body if isinstance(body, bytes) else json.dumps({**joined(None), **body}).encode()
        answer = server[0].post("/gradio_api/queue/join", content=content)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("not a drop of the page: ") and error in answer.json()["error"]


def test_a_session_that_is_none_is_refused(server, caplog, capfd):
    """Without a word on the terminal."""
    client, _ = server
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.addHandler(caplog.handler)
    for name, status in (("unknown", 404), ("%1b]0;owned", 422), ("%ff", 422), ("", 422)):
        assert client.get(f"/gradio_api/queue/data?session_hash={name}").status_code == status
    assert client.get("/gradio_api/queue/data").status_code == 422
    for name in ("%1b]0;owned", "a/b", ""):
        assert client.get(f"/gradio_api/heartbeat/{name}").status_code == 422
    for body in ([], {}, {"session_hash": "\ud800", "fn_index": 0, "event_id": "\ud800"}):
        for name in ("cancel", "reset"):
            assert client.post(f"/gradio_api/{name}", content=json.dumps(body)).status_code == 422
    assert client.get("/static/" + "a" * 300).status_code == 404  # no file of any system is called so
    uvicorn.removeHandler(caplog.handler)
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_only_what_the_page_needs_of_a_drop_reaches_gradio(server):
    """Its other fields, which Gradio would fetch or compute with, are left out."""
    client, _ = server
    (path,) = upload(client, ("a.wav", wav()))
    file = {**given(path), "url": "http://example.invalid/", "size": "\x1b", "is_stream": 3}
    drop = {**joined([file]), "event_data": 1, "batched": "x", "trigger_id": []}
    assert client.post("/gradio_api/queue/join", json=drop).status_code == 200
    assert shown(ask_page(client, None)) == ([], ["a.wav"])
    assert next(message for message in messages(client, None) if message["msg"] == "process_completed")["success"]


@pytest.mark.parametrize("address", ["/api/score", "/gradio_api/upload", "/gradio_api/upload?upload_id=one"])
def test_a_form_holds_files_alone(server, address):
    """Text in a form would be kept in memory, and Gradio fails on it."""
    client, desk = server
    file = {"file": ("a.wav", wav())}
    for options, status, error in (
        ({"data": {"text": "x" * 500_000}, "files": file}, 422, "a form field is no file"),
        ({"files": {"files": (None, "text")}}, 422, "a form field is no file"),
        ({"content": b"text", "headers": {"content-type": "multipart/form-data; boundary=B"}}, 422, "not a form"),
        ({"content": b"", "headers": {"content-type": f"multipart/form-data; boundary={'B' * 300}"}}, 422, "boundary"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 422, "boundary"),
        ({"data": {"text": "x" * 5_000_000}}, 413, "too large: 1.0 MB are taken here at once"),  # not multipart
    ):
        answer = client.post(address, **options)
        assert answer.status_code == status and error in answer.json()["error"], options.keys()
    assert left(desk) == []


@pytest.mark.parametrize(
    "query", ["chanel=1", "track=0&%1b%5B2J=1", "channel=1&channel=0", "&".join(["track=0"] * 2000)]
)
def test_a_parameter_that_has_no_effect_is_refused(server, query):
    client, desk = server
    answer = client.post(f"/api/score?{query}", files={"file": ("a.wav", wav())})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(
        f"?{query[:100]} is not understood: expected track, channel, judgement here"
    )
    assert left(desk) == []


@pytest.mark.parametrize("path", ["/health", "/metrics", "/api/info", "/docs", "/openapi.json"])
def test_routes_without_parameters_take_none_and_have_a_head(server, path):
    client, _ = server
    assert client.get(f"{path}?verbose=1").status_code == 422
    head = client.head(path)
    assert head.status_code == 200
    assert head.headers["content-type"] == client.get(path).headers["content-type"]
    assert head.content == b""


def test_the_head_of_what_is_sent_once_is_not_asked_for(server, speech):
    client, desk = server
    scored = desk.score(speech / "talk.wav", "talk.wav", look=True)
    assert client.head(f"/heard/{scored.token}").status_code == 404
    assert client.get(f"/heard/{scored.token}").status_code == 200


def test_the_page_is_shown_whatever_its_address_says(server):
    assert server[0].get("/?utm_source=mail&deep_link=x").status_code == 200


@pytest.mark.parametrize("second", ["file", "other"])
def test_one_recording_is_scored_at_a_time(server, second):
    client, desk = server
    answer = client.post("/api/score", files=[("file", ("a.wav", wav())), (second, ("b.wav", wav()))])
    assert answer.status_code == 422
    assert answer.json()["error"] == "one recording is scored at a time: send one form field, file"
    assert left(desk) == []


@pytest.mark.parametrize("path", ["/api/score", "/gradio_api/upload"])
@pytest.mark.parametrize("charset", ["undefined", "x" * 2000, "idna"])
def test_the_charset_of_a_form_is_of_no_account(server, path, charset):
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    headers = {"content-type": f"multipart/form-data; boundary=B; charset={charset}"}
    answer = server[0].post(path, content=head + wav() + b"\r\n--B--\r\n", headers=headers)
    assert answer.status_code == 200


def test_gradio_remembers_only_the_latest_uploads_and_drops(serving, monkeypatch):
    """And only the latest messages for a page that does not fetch them."""
    from nes2net.apps.serve import page

    pages = []

    def forget(blocks):
        pages.append(blocks)
        page.forget_requests(blocks)

    monkeypatch.setattr("nes2net.apps.serve.app.forget_requests", forget)
    monkeypatch.setattr("nes2net.apps.serve.app._TIDY_EVERY", 0.05)
    monkeypatch.setattr(page, "_MOST_REMEMBERED", 3)
    monkeypatch.setattr(page, "_MOST_MESSAGES", 2)
    client, _ = serving()
    for number in range(6):
        client.post(f"/gradio_api/upload?upload_id=id{number}", files={"files": (f"{number}.wav", wav())})
        client.post("/gradio_api/queue/join", json={**joined([]), "session_hash": f"session{number}"})
        client.post("/gradio_api/queue/join", json={**joined([]), "session_hash": "one"})
    queue = pages[0]._queue
    wait(lambda: len(page.file_upload_statuses._statuses) <= 3)
    wait(lambda: len(page.file_upload_statuses._signals) <= 3)
    wait(lambda: len(queue.event_ids_to_events) <= 3)
    wait(lambda: len(queue.pending_event_ids_session) <= 3)
    wait(lambda: max(messages.qsize() for messages in queue.pending_messages_per_session.values()) <= 2)
    assert not pages[0].upload_file_set


def test_connections_that_ask_for_nothing_keep_nobody_out(server, caplog):
    """Neither before their first request nor after it."""
    client, _ = server
    address = ("127.0.0.1", client.base_url.port)
    with ExitStack() as strangers:
        for number in range(700):
            stranger = strangers.enter_context(socket.create_connection(address, PATIENCE))
            if number % 100 == 0:
                stranger.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(3):
            with httpx.Client(base_url=client.base_url, timeout=PATIENCE) as second_client:
                assert second_client.get("/health").status_code == 200
    assert len(caplog.messages) == 1
    assert "those that ask for nothing are closed" in caplog.messages[0]


def test_a_client_that_is_slow_with_the_head_of_a_request_is_cut_off(server, monkeypatch):
    """From the first byte on, and again after an answer; a body may take longer."""
    monkeypatch.setattr("nes2net.apps.serve.server._HEAD_WITHIN", 0.5)
    address, head = ("127.0.0.1", server[0].base_url.port), b"GET /api/info HTTP/1.1\r\nHost: localhost\r\n"
    for before in (b"", head + b"\r\n"):
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(before)
            if before:
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
            begin, sent = time.monotonic(), 0
            with pytest.raises(OSError):
                for sent in range(600):
                    connection.sendall(head[sent % 20 : sent % 20 + 1].replace(b"\r", b"x"))
                    time.sleep(0.05)
            assert 0.3 < time.monotonic() - begin < 20
    connection = begun(server[0], 1_000_000, bytes(1000))
    connection.settimeout(1.0)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.close()


def test_uploads_are_scored_by_the_page_and_removed(server, small, speech):
    """Gradio keeps what has the same content in one folder, and with the same name too as one file."""
    client, desk = server
    (path,) = upload(client, ("<b>talk</b> ${alert(1)} {{1}}.wav", (speech / "talk.wav").read_bytes()))
    assert path.startswith(str(desk.folder))
    html, cleared = ask_page(client, [given(path)])["output"]["data"]
    score = f"{small.score(speech / 'talk.wav'):.4f}".replace("-", "−")
    assert score in html and cleared is None and "<b>talk" not in html
    assert [file.suffix for file in left(desk)] == [".wav"] and left(desk)[0].stem in desk.player_files
    paths = upload(client, ("a.wav", wav()), ("copy.wav", wav()))
    found = ask_page(client, [given(path) for path in [*paths, paths[0]]])
    assert shown(found) == ([], ["a.wav", "copy.wav", "a.wav"])
    (path,), _ = upload(client, ("a.wav", wav())), upload(client, ("a.wav", wav()))
    assert shown(ask_page(client, [given(path)])) == ([], ["a.wav"])
    assert shown(ask_page(client, [given(path)])) == (["was removed already: drop it again"], [])
    assert {file.stem for file in left(desk)} == set(desk.player_files) and len(desk.player_files) == 5


def test_the_box_of_the_page_scores_each_channel_by_itself(server, small, tmp_path):
    """What the remark on a call of two speakers advises: the page by its box, HTTP by its parameter."""
    client, _ = server
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([voice(1, 4.0), voice(2, 4.0)], 1), 16000)
    uploaded = given(upload(client, ("call.wav", path.read_bytes()))[0])
    (mixed,) = ask_page(client, [uploaded])["output"]["data"][:1]
    assert "score each by itself, with `score each channel by itself`" in mixed
    assert "score each by itself, with `channel`" in send(client, path).json()["remark"]
    uploaded = given(upload(client, ("call.wav", path.read_bytes()))[0])
    (mono,) = upload(client, ("a.wav", wav()))
    message = ask_page(client, [uploaded, given(mono)], each_channel=True)
    assert shown(message) == ([], ["call.wav, channel 0", "call.wav, channel 1", "a.wav, channel 0"])
    for number in range(2):
        score = small.score(ChannelOf(path, number))
        assert f"{score:.4f}".replace("-", "−") in message["output"]["data"][0]
        answer = send(client, path, params={"channel": number}).json()
        assert answer["score"] == pytest.approx(score, abs=1e-4)
        assert "remark" not in answer


def test_a_file_that_cannot_be_scored_has_one_row_for_all_its_channels(server):
    client, _ = server
    removed = given(upload(client, ("a.wav", wav()))[0])
    ask_page(client, [removed])
    message = ask_page(client, [removed], each_channel=True)
    assert shown(message) == (["was removed already: drop it again"], [])


def test_players_have_their_minutes_from_the_answer_on(server, speech):
    client, desk = server
    paths = upload(client, ("a.wav", wav()), ("b.wav", wav(pitch=300)))
    ask_page(client, [given(path) for path in paths])
    assert client.get(f"/heard/{next(iter(desk.player_files))}", headers={"Range": "bytes=abc"}).status_code == 400
    for seconds, files in ((200, 2), (400, 0)):
        desk.tidy(seconds)
        assert len(left(desk)) == files
    assert desk.player_files == {}
    desk.score(speech / "talk.wav", "c.wav", look=True)
    desk.tidy(4000)
    assert len(desk.player_files) == 1  # of a drop that is still being scored


def test_a_page_that_is_closed_ends_its_drop(server):
    client, desk = server
    paths = upload(client, *((f"{n}.wav", wav(pitch=100 + n)) for n in range(40)))
    told = messages(client, [given(path) for path in paths])
    assert next(message for message in told if message["msg"] == "process_starts")
    told.close()
    most = wait(lambda: not left(desk), lambda: len(desk.player_files))
    assert most < 40 and desk.player_files == {}


def test_a_failure_of_the_server_is_an_error_of_the_file(server, monkeypatch, caplog):
    client, desk = server
    monkeypatch.setattr("nes2net.apps.serve.desk.draw", lambda *_: 1 / 0)
    answer = ask_page(client, [given(path) for path in upload(client, ("a.wav", wav()))])
    assert shown(answer) == (["not scored: the server failed (ZeroDivisionError)"], [])
    assert left(desk) == [] and desk.player_files == {} and "ZeroDivisionError" in caplog.text


# Other limits, and decisions


def test_another_judgement_is_asked_for_by_its_name(server, small, speech):
    """Options are not taken: they may name files of the server."""
    client, _ = server
    embedded = send(client, speech / "talk.wav", params={"judgement": "embeddings"}).json()
    assert embedded["judgement"] == "embeddings"
    assert embedded["embedding"] == pytest.approx(small.embed(speech / "talk.wav").tolist(), abs=1e-5)
    assert "score" not in embedded
    for judgement, message in (("embedings", "did you mean 'embeddings'"), ("{name: frames}", "unknown judgement")):
        refused = send(client, speech / "talk.wav", params={"judgement": judgement})
        assert refused.status_code == 422
        assert message in refused.json()["error"]


def test_a_recording_is_scored_and_not_kept(serving, small, speech, calibration):
    client, desk = serving(decider=Decider(calibration, prior=0.2))
    answer, file = send(client, speech / "talk.m4a"), speech / "talk.m4a"
    row, track = answer.json(), small.score_track(file, hop=64600 / 32000)
    assert (answer.status_code, row["file"]) == (200, "talk.m4a")
    assert (row["score"], row["duration"], row["scores"]) == (small.score(file), track.duration, track.scores.tolist())
    assert row["llr"] == pytest.approx(20 * row["score"] + calibration.offset)
    assert row["decision"] == ("bonafide" if row["llr"] > np.log(4) else "spoof")
    assert row["basis"] == desk.decider.basis() and row["basis"]["prior"] == 0.2
    info = client.get("/api/info").json()
    assert info["calibrated"] and info["basis"] == row["basis"] and "does not say which detector" in info["notes"][0]
    short = send(client, speech / "talk.m4a", params={"track": "0"}).json()
    assert short == {key: row[key] for key in row if key not in ("times", "scores", "llrs", "probabilities")}
    assert left(desk) == []


def test_errors_have_one_line_and_nothing_is_kept(serving, speech, tmp_path):
    client, desk = serving(Limits(max_size=1, max_duration=5))
    assert client.get("/api/info").json()["limits"]["max_size_mb"] == 1
    answer = send(client, speech / "notes.txt")
    assert answer.status_code == 422
    assert answer.json() == {"file": "notes.txt", "error": "not a recording: neither libsndfile nor FFmpeg reads it"}
    assert send(client, speech / "talk.wav").json()["error"].startswith("longer than 5 s")
    (tmp_path / "big.wav").write_bytes(wav(40)[:1_000_001])  # just above the limit
    answer = send(client, tmp_path / "big.wav")
    assert answer.status_code == 413 and answer.json()["error"] == "too large: 1.0 MB are taken here at once"
    assert left(desk) == []


def test_the_server_tidies_up_by_itself(serving, monkeypatch):
    monkeypatch.setattr("nes2net.apps.serve.app._TIDY_EVERY", 0.05)
    monkeypatch.setattr("nes2net.apps.serve.desk._OFFERED_FOR", 0.0)
    client, desk = serving()
    paths = upload(client, ("a.wav", wav()), ("never asked for.wav", wav()))
    assert shown(ask_page(client, [given(paths[0])])) == ([], ["a.wav"])
    # Not before the answer, because a.wav would be removed if the page asked late.
    monkeypatch.setattr("nes2net.apps.serve.uploads._FORGOTTEN_AFTER", 0.0)
    wait(lambda: not left(desk))


def test_no_more_files_come_over_http_than_can_wait(serving):
    client, _ = serving(Limits(max_size=2, waiting=1))
    connections = [begun(client, 1_000_000, bytes(1000)) for _ in range(2)]

    def answer():
        return client.post("/api/score", files={"file": ("a.wav", wav())})

    wait(lambda: answer().status_code == 503)
    assert "busy" in answer().json()["error"] and answer().headers["retry-after"]
    for connection in connections:
        connection.close()
    wait(lambda: answer().status_code == 200)
