"""`listen --serve --state FOLDER`: a call continues after a restart of the server."""

import json
import os
import pickle
import signal
import time
from contextlib import ExitStack

import pytest
from builders.live import serving

pytest.importorskip("websockets")

from builders.websocket_calls import (
    FIRST,
    START,
    call_of,
    gap_in,
    lose,
    rest,
    resume,
    say,
    send_first,
    send_rest,
    server_process,
)
from websockets.sync.client import connect

from nes2net.apps.listen import saved_calls
from nes2net.scoring.decisions import load

LATER = 1600  # further samples that no window holds before the restart


@pytest.fixture
def restart(judge, listen_folder, tmp_path):
    """A function that begins a server of a saved folder, beside those that ran before; gives its address."""
    with ExitStack() as servers:

        def start(calibration="spoof.json", **settings):
            live_judge = judge(load(listen_folder / calibration), keep="all", **settings)
            return servers.enter_context(serving(live_judge, state=str(tmp_path / "state")))[0]

        yield start


def begun(client, call):
    """Send the beginning of a call; return the lines up to its fourth window."""
    say(client, **START)
    client.send(call[0, : FIRST + LATER].tobytes())
    lines = []
    while [line["event"] for line in lines].count("score") < 4:
        lines.append(json.loads(client.recv()))
    return lines


def interrupted(url, call):
    """The first lines of a call whose connection is lost."""
    with connect(url) as client:
        lines = begun(client, call)
        lose(client)
    return lines


def uninterrupted(url, call, gap):
    """All lines of the same call with a gap of some seconds, which nothing interrupts."""
    with connect(url) as client:
        send_first(client, call)
        say(client, event="gap", seconds=gap)
        send_rest(client, call)
        return rest(client)


def state_files(tmp_path):
    return sorted((tmp_path / "state").iterdir())


@pytest.fixture
def saved(restart, call, tmp_path):
    """The first lines of a call whose connection is lost, and the file of its state."""
    first_lines = interrupted(restart(), call)
    (path,) = state_files(tmp_path)
    return first_lines, path


@pytest.mark.slow
def test_a_call_resumed_after_a_sigkill_of_the_server_has_the_evidence_of_an_uninterrupted_one(
    listen_folder, call, tmp_path
):
    options = ["--calibration", listen_folder / "spoof.json", "--state", tmp_path / "state"]
    with server_process(listen_folder, *options) as (server, url), connect(url) as client:
        first_lines = begun(client, call)
        server.send_signal(signal.SIGKILL)
        server.wait()
    with server_process(listen_folder, *options) as (_, url):
        resumed_lines = resume(url, first_lines, call[0, FIRST:].tobytes())
        gap = gap_in(resumed_lines)
        uninterrupted_lines = uninterrupted(url, call, gap["end"] - gap["start"])
    keys = ("windows", "skipped", "failed", "probability", "mean", "against", "alarm", "alarm_share", "seconds")
    assert {key: resumed_lines[-1][key] for key in keys} == pytest.approx(
        {key: uninterrupted_lines[-1][key] for key in keys}
    )
    assert resumed_lines[-1]["lowest"] == pytest.approx(uninterrupted_lines[-1]["lowest"])


def test_a_latched_alarm_of_a_call_lasts_over_a_restart_of_the_server(restart, call):
    first_lines = interrupted(restart(latch=True), call)
    assert "alarm" in [line["event"] for line in first_lines]
    resumed_lines = resume(restart(latch=True), first_lines, call[0, :FIRST].tobytes())
    assert "alarm" not in [line["event"] for line in resumed_lines]
    assert resumed_lines[-1]["alarm"]


def test_a_call_is_resumed_after_an_orderly_stop_and_a_restart(judge, listen_folder, call, tmp_path):
    live_judge = judge(load(listen_folder / "spoof.json"), keep="all")
    with serving(live_judge, state=str(tmp_path / "state")) as (url, stop), connect(url) as client:
        first_lines = begun(client, call)
        stop.number = signal.SIGTERM
        list(client)
    with serving(live_judge, state=str(tmp_path / "state")) as (url, _):
        assert resume(url, first_lines)[0]["resumed"]


@pytest.mark.parametrize(
    "settings, start",
    [({"calibration": "bonafide.json"}, {}), ({"hop": 0.5}, {}), ({}, {"rate": 8000})],
    ids=["calibration", "hop", "sample rate"],
)
def test_a_call_is_not_resumed_after_a_restart_with_another_calibration_hop_or_sample_rate(
    restart, call, settings, start
):
    first_lines = interrupted(restart(), call)
    assert not resume(restart(**settings), first_lines, **start)[0]["resumed"]


def test_a_server_that_starts_removes_the_oldest_saved_states_above_their_largest_number(
    restart, call, tmp_path, monkeypatch
):
    monkeypatch.setattr(saved_calls, "_MAX_FILES", 1)
    url = restart()
    interrupted(url, call)
    (oldest,) = state_files(tmp_path)
    os.utime(oldest, (0, time.time() - 10))
    interrupted(url, call)
    restart()
    (remaining_file,) = state_files(tmp_path)
    assert remaining_file != oldest


class Evil:
    def __reduce__(self):
        return os.mkdir, ("state/evil",)


def forged(state: bytes, **facts) -> bytes:
    """A state with other facts of its only channel."""
    content = json.loads(state)
    content["channels"][0] |= facts
    return json.dumps(content).encode()


DAMAGED = {
    "half of it": lambda state: state[: len(state) // 2],
    "a negative number": lambda state: forged(state, num_scored=-1),
    "no channel": lambda state: json.dumps({**json.loads(state), "channels": []}).encode(),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_call_with_a_damaged_saved_state_is_not_resumed(saved, restart, kind):
    first_lines, path = saved
    path.write_bytes(DAMAGED[kind](path.read_bytes()))
    assert not resume(restart(), first_lines)[0]["resumed"]


def test_a_pickle_in_place_of_a_saved_state_of_a_call_is_not_executed(saved, restart, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first_lines, path = saved
    path.write_bytes(pickle.dumps(Evil()))
    resume(restart(), first_lines)
    assert not (tmp_path / "state" / "evil").exists()


def test_a_saved_state_has_only_counts_of_each_channel(saved):
    _, path = saved
    content = json.loads(path.read_bytes())
    assert set(content["channels"][0]) == set(saved_calls.Tally.model_fields)


def test_a_saved_state_does_not_have_the_name_of_the_session(saved):
    first_lines, path = saved
    assert first_lines[0]["session"] not in str(path) + path.read_text()


def test_only_the_owner_may_look_into_the_folder_of_saved_states(restart, tmp_path):
    restart()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_files_that_are_no_saved_states_are_not_removed_from_the_folder(restart, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "call-notes.json").write_text("{}")
    os.utime(tmp_path / "state" / "call-notes.json", (0, 0))
    restart()
    assert len(state_files(tmp_path)) == 1


@pytest.fixture
def on_a_full_disk(restart, call, monkeypatch, caplog):
    """The lines of a call whose state cannot be saved, and the log."""

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_calls, "replacing", full)
    return call_of(restart(), call[0].tobytes()), caplog.text


def test_the_reason_why_the_state_of_a_call_cannot_be_saved_is_logged(on_a_full_disk):
    assert "No space left on device" in on_a_full_disk[1]


def test_a_call_whose_state_cannot_be_saved_goes_on_to_its_end(on_a_full_disk):
    lines, _ = on_a_full_disk
    assert lines[-1]["event"] == "end"
