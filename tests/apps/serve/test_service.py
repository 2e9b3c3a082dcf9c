"""What whoever runs the server sees: health, metrics, the log and the description; and how the server begins and ends."""

import json
import logging
import os
import signal
import subprocess
import threading

import httpx
import jsonschema
import pytest
from builders import PATIENCE, dockerfile, input_error, needs_serve, wait
from builders.metrics_page import samples
from builders.page_requests import send, wav
from conftest import REPOSITORY, repository_text

from nes2net.apps.serve.desk import Desk, Limits
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.web.http_server import address_of, listening_socket
from nes2net.lib.web.service_health import Metrics, PresentWork
from nes2net.lib.web.service_log import logging_as, tell
from nes2net.scoring.decisions import Decider

pytestmark = needs_serve


@pytest.fixture
def paused_scoring(monkeypatch):
    """Two events: one says that a recording is being scored, and the scoring waits for the other."""
    from nes2net.scoring import judging

    begun = threading.Event()
    may_go_on = threading.Event()
    score_track = judging.score_track

    def hold(*arguments, **options):
        begun.set()
        assert may_go_on.wait(PATIENCE)
        return score_track(*arguments, **options)

    monkeypatch.setattr(judging, "score_track", hold)
    yield begun, may_go_on
    may_go_on.set()


def test_while_the_detector_is_loaded_health_and_scoring_are_answered_with_503():
    from nes2net.apps.serve.server import DRAIN
    from nes2net.lib.web.guard import Guard
    from nes2net.lib.web.server import serve

    listener = listening_socket("127.0.0.1", range(0, 1))
    url = address_of(listener, "127.0.0.1")
    stop = StopSignals()

    def load():
        health = httpx.get(f"{url}/health", timeout=PATIENCE)
        assert (health.status_code, health.json()) == (503, {"status": "loading", "model": "small.pth"})
        answer = httpx.post(f"{url}/api/score", files={"file": wav()}, timeout=PATIENCE)
        assert answer.status_code == 503
        stop.number = signal.SIGINT
        return PresentWork()

    with pytest.raises(KeyboardInterrupt):
        serve(Guard(Metrics("small.pth"), []), listener, load, lambda: None, stop, DRAIN)


def test_the_health_check_of_the_image_passes(client):
    """The check in the Dockerfile, for a service that is ready."""
    dockerfile_text = repository_text("Dockerfile")
    subprocess.run(dockerfile.health_check(dockerfile_text, client.base_url.port), check=True)


@pytest.fixture
def stopping(serving, speech, paused_scoring):
    """A client of a service that is stopped while it scores, and a function that lets it finish; gives the row."""
    begun, may_go_on = paused_scoring
    stop = StopSignals()
    client, _ = serving(stop=stop)
    answers = []
    running = threading.Thread(target=lambda: answers.append(send(client, speech / "talk.wav")))
    running.start()
    assert begun.wait(PATIENCE)
    stop.number = signal.SIGTERM
    wait(lambda: client.get("/health").json()["status"] == "stopping")

    def scored():
        may_go_on.set()
        running.join(PATIENCE)
        return answers[0].json()

    yield client, scored
    scored()


def test_a_stopping_service_says_so_when_it_is_asked_for_its_health_and_refuses_recordings(stopping, speech):
    health = stopping[0].get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "stopping")
    refused = send(stopping[0], speech / "talk.wav")
    assert refused.status_code == 503
    assert "being stopped" in refused.json()["error"]


def test_a_stopping_service_ends_after_the_recording_that_it_scores(stopping, small, speech):
    client, scored = stopping
    assert scored()["score"] == small.score(speech / "talk.wav")

    def is_gone():
        try:
            return client.get("/health") is None
        except httpx.TransportError:
            return True

    wait(is_gone)


def test_a_service_that_finishes_its_recordings_after_a_sigterm_ends_at_a_second_one(small, tmp_path, speech):
    from nes2net.apps.serve.server import DRAIN
    from nes2net.lib.web.guard import Guard
    from nes2net.lib.web.server import serve

    desk = Desk(small, tmp_path)
    desk.num_present = 1  # as if a recording was being scored
    listener = listening_socket("127.0.0.1", range(0, 1))
    second = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM])
    with StopSignals() as stop, pytest.raises(SystemExit):
        stop.action = second.start
        serve(
            Guard(desk.observer, []), listener, lambda: desk, lambda: signal.raise_signal(signal.SIGTERM), stop, DRAIN
        )
    desk.observer.state = "ready"
    with input_error("the server is being stopped"):
        desk.score(speech / "talk.wav", "talk.wav")


def test_metrics_count_present_and_finished_recordings_their_seconds_and_requests(serving, speech, paused_scoring):
    """While a recording is scored, and after it, one that cannot be scored and a page that is not found."""
    begun, may_go_on = paused_scoring
    client, _ = serving(Limits(waiting=1))
    running = threading.Thread(target=send, args=[client, speech / "talk.wav"])
    running.start()
    assert begun.wait(PATIENCE)
    assert samples(client.get("/metrics").text)["nes2net_recordings_present", "running"] == 1
    may_go_on.set()
    running.join(PATIENCE)
    send(client, speech / "notes.txt")
    client.get("/heard/secret")
    after = samples(client.get("/metrics").text)
    assert after["nes2net_recordings_present", "running"] == 0
    assert after["nes2net_recordings_total", "scored"] == after["nes2net_recordings_total", "NotDecoded"] == 1
    assert after["nes2net_audio_seconds_total",] == 10
    assert after["nes2net_waiting_seconds_count",] == after["nes2net_scoring_seconds_count",] == 2
    assert after["nes2net_requests_total", "/api/score", "200"] == 1
    assert after["nes2net_requests_total", "/api/score", "422"] == 1
    assert after["nes2net_requests_total", "/heard/", "404"] == 1


def test_the_log_has_a_line_of_json_for_each_event_without_names_of_recordings(small, speech, tmp_path, capsys):
    """Of a recording, of one that fails, of an event, and of a message with control characters."""
    desk = Desk(small, tmp_path)
    with logging_as("json"):
        desk.score(speech / "talk.wav", "secret.wav")
        with input_error():
            desk.score(speech / "notes.txt", "secret.txt")
        tell("ready", "text", url="http://localhost")
        logging.getLogger("library").warning("two\nlines \x1b[2J")
    log = capsys.readouterr().err
    assert "secret" not in log
    assert "\x1b" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines] == ["recording", "recording", "ready", "message"]
    assert (lines[0]["outcome"], lines[0]["duration"], lines[0]["level"]) == ("scored", 10, "info")
    assert lines[1]["outcome"] == "NotDecoded"
    assert "not a recording" in lines[1]["error"]
    assert lines[2]["url"] == "http://localhost"
    assert lines[3]["message"] == "two\nlines \x1b[2J"


def answers_of(client, path, **options):
    """The answers that the description of a route allows, by status."""
    description = client.get("/openapi.json").json()
    (operation,) = description["paths"][path].values()
    schemas = {}
    for status, answer in operation["responses"].items():
        schemas[int(status)] = {**description, **answer["content"].get("application/json", {}).get("schema", {})}
    return schemas


def test_the_openapi_description_has_the_routes_for_programs_alone(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {path: list(methods) for path, methods in paths.items()} == {
        "/health": ["get"],
        "/metrics": ["get"],
        "/api/info": ["get"],
        "/api/score": ["post"],
    }


def test_answers_have_exactly_what_the_openapi_description_says(serving, tmp_path, speech, calibration):
    client, _ = serving(Limits(max_size=1), Decider(calibration, prior=0.2))
    for path in ("/health", "/api/info"):
        jsonschema.validate(client.get(path).json(), answers_of(client, path)[200])
    of_score = answers_of(client, "/api/score")
    (tmp_path / "silence.wav").write_bytes(wav(pitch=0))
    for path, options in (
        (speech / "talk.wav", {}),
        (speech / "talk.wav", {"params": {"track": 0, "channel": 0}}),
        (tmp_path / "silence.wav", {}),
        (speech / "notes.txt", {}),
        (speech / "talk.wav", {"params": {"judgement": "embeddings"}}),
        (speech / "talk.wav", {"params": {"judgement": "frames"}}),
        (speech / "talk.wav", {"params": {"channel": "x"}}),
        (speech / "talk.wav", {"headers": {"origin": "http://evil.example"}}),
        (speech / "talk.wav", {"headers": {"host": "evil.example"}}),
        (REPOSITORY / "docs" / "images" / "serve.png", {}),
    ):
        answer = send(client, path, **options)
        jsonschema.validate(answer.json(), of_score[answer.status_code])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**answer.json(), "other": 1}, of_score[answer.status_code])
