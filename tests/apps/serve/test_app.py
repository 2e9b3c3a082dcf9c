"""The API and the page's routes, over HTTP on the real server."""

import os
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPConnection

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_serve, wait
from builders.page_requests import answers, begun, left, lines, send, wav
from builders.voices import voice

from nes2net import __version__
from nes2net.apps.serve.desk import Limits
from nes2net.data.audio.parts import RecordingPart
from nes2net.scoring.decisions import Decider

pytestmark = needs_serve


def test_the_service_tells_its_model_its_parts_its_version_and_that_it_has_no_calibration(client):
    info = client.get("/api/info").json()
    assert info["model"] == "small.pth"
    assert info["version"] == __version__
    assert info["calibrated"] is False
    assert info["parts"] == {"frontend": "lps", "aggregation": "last", "backend": "asp_mlp"}


def test_the_answer_names_an_upload_without_folders_and_with_escaped_control_characters(client):
    answer = client.post("/api/score?track=0", files={"file": ("../../x\x1b[2J.wav", wav())})
    assert answer.json()["file"] == "x\\u001b[2J.wav"


def test_a_request_without_a_recording_is_refused_with_a_reason(client):
    for options in ({}, {"files": {"other": ("a.wav", b"")}}, {"data": {"file": "text"}}):
        answer = client.post("/api/score", **options)
        assert answer.status_code == 422, options
        assert answer.json()["error"].endswith("the recording is expected in the form field file")


def test_the_player_of_the_page_gets_its_file_once_after_which_the_file_is_removed(client, desk, speech):
    scored = desk.score(speech / "talk.wav", "talk.wav", for_page=True)
    answer = client.get(f"/heard/{scored.token}")
    assert len(answer.content) == 44 + 2 * 160_000
    assert client.get(f"/heard/{scored.token}").status_code == 404
    wait(lambda: not left(desk))


def test_a_folder_path_in_place_of_the_token_in_the_address_of_a_player_file_is_not_found(client):
    assert client.get("/heard/..%2f..%2fetc").status_code == 404


def test_the_three_files_of_the_page_tell_browsers_not_to_cache_them(client):
    for name in ("", "page.css", "page.js"):
        assert client.get(f"/{name}").headers["cache-control"] == "no-store"


EACH_ADDRESS = pytest.mark.parametrize("address", ["/api/score", "/page/score", "/page/score?each=true"])


@EACH_ADDRESS
def test_a_form_field_with_text_is_refused_and_not_stored(client, desk, address):
    file = {"file": ("a.wav", wav())}
    for options in ({"data": {"text": "x" * 500_000}, "files": file}, {"files": {"files": (None, "text")}}):
        answer = client.post(address, **options)
        assert answer.status_code == 422, options.keys()
        assert "a form field is not a file" in answer.json()["error"], options.keys()
    assert left(desk) == []


@EACH_ADDRESS
def test_a_form_of_text_alone_is_refused_above_1_mb(client, address):
    """Files have a higher limit."""
    answer = client.post(address, data={"text": "x" * 5_000_000})
    assert answer.status_code == 413
    assert "too large: send at most 1.0 MB at once" in answer.json()["error"]


@pytest.mark.parametrize("query", ["chanel=1", "track=0&%1b%5B2J=1", "channel=1&channel=0"])
def test_a_parameter_that_would_have_no_effect_is_refused(client, query):
    answer = client.post(f"/api/score?{query}", files={"file": ("a.wav", wav())})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(
        f"?{query[:100]} is not understood: expected track, channel, judgement, marks here"
    )


@pytest.mark.parametrize("path", ["/api/score", "/page/score"])
@pytest.mark.parametrize("second", ["file", "other"])
def test_a_request_with_two_recordings_is_refused(client, second, path):
    answer = client.post(path, files=[("file", ("a.wav", wav())), (second, ("b.wav", wav()))])
    assert answer.status_code == 422
    assert answer.json()["error"] == "only one recording is scored at a time: send only one form field, named file"


def test_700_connections_that_wait_after_an_answer_keep_nobody_out(client):
    with ExitStack() as strangers:
        for _ in range(700):
            stranger = strangers.enter_context(socket.create_connection(("127.0.0.1", client.base_url.port), PATIENCE))
            stranger.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stranger.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_client_that_is_slow_with_the_head_of_a_second_request_is_cut_off(client, monkeypatch):
    monkeypatch.setattr("nes2net.lib.web.server._HEAD_WITHIN", 0.5)
    connection = HTTPConnection("127.0.0.1", client.base_url.port, timeout=PATIENCE)
    connection.request("GET", "/health")
    assert connection.getresponse().read()
    connection.sock.sendall(b"GET /health HTTP/1.1\r\n")
    assert connection.sock.recv(1) == b""  # the end of the connection
    connection.close()


def test_the_body_of_a_request_may_take_longer_than_its_head_may(client, monkeypatch):
    monkeypatch.setattr("nes2net.lib.web.server._HEAD_WITHIN", 0.5)
    connection = begun(client, 1_000_000, bytes(1000))
    connection.settimeout(1.0)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.close()


def test_the_page_gets_its_progress_and_the_same_row_as_a_request_to_api_score(client, speech):
    *steps, answer = lines(client, "talk.wav", (speech / "talk.wav").read_bytes())
    assert steps[0] == {"share": 0, "step": "decoding"}
    assert steps[-1] == {"share": 1, "step": "scored 0:10 of 0:10"}
    assert answer["row"] == send(client, speech / "talk.wav").json()


def test_each_channel_is_scored_by_itself_for_the_page_and_over_http(client, small, tmp_path):
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([voice(1, 4.0), voice(2, 4.0)], 1), 16000)
    by_channel = answers(client, "call.wav", path.read_bytes(), each=True)
    assert [answer["row"]["file"] for answer in by_channel] == ["call.wav, channel 0", "call.wav, channel 1"]
    for number, answer in enumerate(by_channel):
        assert answer["row"]["score"] == small.score(RecordingPart(channel=number).of(path))
        assert send(client, path, params={"channel": number}).json()["score"] == answer["row"]["score"]


def test_a_file_that_cannot_be_scored_has_one_row_for_all_its_channels(client):
    (answer,) = answers(client, "notes.txt", b"no samples" * 100, each=True)
    error = "not a recording: neither libsndfile nor FFmpeg reads it"
    assert answer["row"] == {"file": "notes.txt, channel 0", "error": error}


def test_the_answer_to_the_page_quotes_a_file_name_that_a_spreadsheet_would_read_as_a_formula(client):
    (answer,) = answers(client, "=1+1.txt", b"no samples")
    assert answer["columns"]["file"] == "'=1+1.txt"


def test_files_for_the_player_are_removed_after_five_minutes(client, desk):
    for pitch in (200, 300):
        answers(client, "a.wav", wav(pitch=pitch))
    for seconds, files in ((200, 2), (400, 0)):
        desk.tidy(seconds)
        assert len(left(desk)) == files
    assert desk.player_files == {}


def test_the_scoring_for_a_page_ends_when_the_page_is_closed(client, desk):
    told = lines(client, "a.wav", wav(300))
    assert next(told)["step"] == "decoding"
    assert desk.num_present == 1
    told.close()
    wait(lambda: not desk.num_present and not left(desk))


def test_files_for_the_player_are_removed_in_time_although_the_clock_is_set_back(client, desk):
    """As if they had been made tomorrow."""
    answers(client, "a.wav", wav())
    tomorrow = time.time() + 86400
    for path in left(desk):
        os.utime(path, (tomorrow, tomorrow))
    desk.tidy(400)
    assert left(desk) == []


def test_a_failure_of_the_server_is_told_as_an_error_of_the_file(client, monkeypatch):
    monkeypatch.setattr("nes2net.apps.serve.desk.draw", lambda *_: 1 / 0)
    (answer,) = answers(client, "a.wav", wav())
    assert answer["row"] == {"file": "a.wav", "error": "not scored: the server failed (ZeroDivisionError)"}


def test_a_judgement_with_options_is_refused(client, speech):
    refused = send(client, speech / "talk.wav", params={"judgement": "{name: frames}"})
    assert refused.status_code == 422
    assert "unknown judgement" in refused.json()["error"]


@pytest.fixture
def calibrated(serving, calibration):
    """Client and desk of a service with a calibration, and with a prior of 0.2."""
    return serving(decider=Decider(calibration, prior=0.2))


def test_a_service_with_a_calibration_tells_its_prior_and_what_the_calibration_lacks(calibrated):
    info = calibrated[0].get("/api/info").json()
    assert info["calibrated"]
    assert info["basis"]["prior"] == 0.2
    assert "does not say which detector" in info["notes"][0]


def test_a_service_with_a_calibration_of_genuine_recordings_answers_without_ratios(serving, calibration, speech):
    genuine = {"scores": [float(number) for number in range(19)], "alpha": "5%", "groups": None, "assured": False}
    learned = replace(calibration, weights=(1.0,), offset=0.0, llrs=None, resamples=None, genuine=genuine)
    client, _ = serving(decider=Decider(learned))
    row = send(client, speech / "talk.m4a").json()
    assert row["decision"] == ("usual" if row["score"] >= 0 else "unusual") + " for your genuine recordings"
    assert row["llr"] is None
    assert "llrs" not in row
    assert client.get("/api/info").json()["basis"]["threshold"] == 0.0


def test_with_track_0_an_answer_lacks_only_the_figures_along_the_recording(calibrated, speech):
    client, _ = calibrated
    row = send(client, speech / "talk.m4a").json()
    short = send(client, speech / "talk.m4a", params={"track": "0"}).json()
    assert short == {key: row[key] for key in row if key not in ("times", "scores", "llrs", "probabilities")}


def test_a_recording_above_the_largest_size_is_refused_and_not_stored(serving, tmp_path):
    client, desk = serving(Limits(max_size=1))
    (tmp_path / "big.wav").write_bytes(wav(40)[:1_000_001])  # just above the limit
    answer = send(client, tmp_path / "big.wav")
    assert answer.status_code == 413
    assert answer.json()["error"] == "too large: send at most 1.0 MB at once"
    assert left(desk) == []


def test_the_server_removes_files_for_the_player_by_itself(serving, monkeypatch):
    monkeypatch.setattr("nes2net.apps.serve.desk._OFFERED_FOR", 0.0)
    client, desk = serving()
    assert answers(client, "a.wav", wav())[0]["player"]
    wait(lambda: not left(desk))


@pytest.mark.parametrize("path", ["/api/score", "/page/score"])
def test_further_uploads_are_refused_only_while_as_many_arrive_as_may_be_scored_or_wait(serving, path):
    client, _ = serving(Limits(max_size=2, waiting=1))
    connections = [begun(client, 1_000_000, bytes(1000), path) for _ in range(2)]

    def answer():
        return client.post(path, files={"file": ("a.wav", wav())})

    wait(lambda: answer().status_code == 503)
    assert "busy" in answer().json()["error"]
    assert answer().headers["retry-after"]
    for connection in connections:
        connection.close()
    wait(lambda: answer().status_code == 200)
