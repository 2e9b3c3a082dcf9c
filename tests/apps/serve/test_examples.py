"""The requests and the queue worker of docs/serve.md."""

import json
import re
import runpy
import shlex
import shutil
import threading

import pytest
from builders import needs_serve, wait
from builders.files import read_json
from conftest import REPOSITORY, repository_text

SCRIPT = REPOSITORY / "docs" / "examples" / "spool_worker.py"


@pytest.fixture(scope="module")
def Worker():
    return runpy.run_path(str(SCRIPT))["Worker"]


@needs_serve
def test_the_requests_of_the_manual_have_answers_with_the_fields_that_it_shows(client, speech):
    page = repository_text("docs/serve.md")
    [session] = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    paths = []
    for command, shown in re.findall(r"\$ curl (.*)\n(.*)\n", session):
        *form, url = shlex.split(command)
        path = url.removeprefix("http://127.0.0.1:7860")
        if form:
            _, _, name = form[1].partition("=@")
            answer = client.post(path, files={"file": (name, (speech / name).read_bytes())}).json()
        else:
            answer = client.get(path).json()
        assert list(answer) == list(json.loads(shown.replace("…", "0")))
        paths.append(path)
    assert paths == ["/api/score?track=0", "/health"]


def answers(folder):
    return {path.name: read_json(path) for path in folder.glob("[!.]*.json")}


NAMES = [f"{number}.wav" for number in range(6)]


@pytest.fixture
def spool(Worker, small, speech, tmp_path):
    """The folder of two workers after they have answered six recordings and a text."""
    workers = [Worker(tmp_path, small, name) for name in "ab"]
    for name in NAMES:
        shutil.copy(speech / "talk.wav", tmp_path / name)
        (tmp_path / name).rename(tmp_path / "in" / name)
    shutil.copy(speech / "notes.txt", tmp_path / "in" / "notes.txt")
    threads = [threading.Thread(target=worker.run, args=[0.01]) for worker in workers]
    for thread in threads:
        thread.start()
    wait(lambda: len(answers(tmp_path / "done")) + len(answers(tmp_path / "failed")) == 7)
    for worker, thread in zip(workers, threads):
        worker.stop()
        thread.join()
    return tmp_path


def test_two_workers_score_each_recording_of_a_folder_once(spool, small, speech):
    score = small.score(speech / "talk.wav")
    assert answers(spool / "done") == {f"{name}.json": {"file": name, "score": score} for name in NAMES}


def test_a_worker_puts_each_scored_recording_beside_its_answer_in_the_folder_done(spool):
    assert {path.name for path in (spool / "done").iterdir()} == {*NAMES, *(f"{name}.json" for name in NAMES)}


def test_the_answer_of_a_worker_on_a_file_that_cannot_be_scored_is_in_the_folder_failed(spool):
    assert [answer["file"] for answer in answers(spool / "failed").values()] == ["notes.txt"]


def test_a_recording_whose_worker_ended_is_put_among_the_failed_unless_its_answer_was_written(
    Worker, small, speech, tmp_path
):
    Worker(tmp_path, small, "a")
    for name in ("bad.wav", "good.wav"):
        shutil.copy(speech / "talk.wav", tmp_path / "claimed" / "a" / name)
    (tmp_path / "done" / "good.wav.json").write_text('{"file": "good.wav", "score": 1.5}')
    Worker(tmp_path, small, "a")
    assert "the worker ended" in answers(tmp_path / "failed")["bad.wav.json"]["error"]
    assert answers(tmp_path / "done")["good.wav.json"]["score"] == 1.5
    assert (tmp_path / "done" / "good.wav").exists()
    assert len(answers(tmp_path / "failed")) == 1


def test_a_worker_that_starts_leaves_the_recordings_that_another_scores(Worker, small, tmp_path):
    Worker(tmp_path, small, "a")
    recording = tmp_path / "claimed" / "a" / "a.wav"
    recording.touch()
    Worker(tmp_path, small, "b")
    assert recording.exists()
