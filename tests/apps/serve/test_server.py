"""The command: from a checkpoint to a page on an address, until it is stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import httpx
import pytest
import torch
from builders import PATIENCE, needs_serve
from builders.page_requests import lines, send, wav

from nes2net.apps.export.formats import export
from nes2net.apps.serve import server
from nes2net.apps.serve.desk import Desk
from nes2net.scoring.decisions.calibration import LinearCalibration

POSIX = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX")


@pytest.fixture
def started(model, tmp_path):
    """A function that starts the command with more words, and returns the process and its address."""
    processes = []

    def start(*words, model=model):
        serve = f"{sys.executable} -m nes2net.cli.main serve --model {model} --device cpu"
        environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": str(torch.get_num_threads())}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([*serve.split(), *words], env=environment, **output))
        return processes[-1], re.search(r"http://\S+", processes[-1].stdout.readline())[0]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
@needs_serve
@POSIX
@pytest.mark.parametrize("number, ended", [(signal.SIGINT, (0, "stopped", "")), (signal.SIGHUP, (143, "", ""))])
def test_ctrl_c_or_the_end_of_the_terminal_ends_a_server_that_scores_without_leaving_files(
    started, tmp_path, number, ended
):
    process, address = started()
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        with suppress(httpx.RemoteProtocolError):
            for line in lines(client, "long.wav", wav(1000)):
                if line.get("step") == "decoding":
                    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out.strip(), err) == ended
    assert not list(tmp_path.iterdir())


class SendsSigterm:
    """Python drops the errors that a signal raises while an object is destroyed."""

    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@needs_serve
def test_a_signal_that_comes_while_the_server_starts_ends_it(command, model, monkeypatch):
    def interrupted(*arguments):
        SendsSigterm()
        return Desk(*arguments)

    monkeypatch.setattr(server, "Desk", interrupted)
    monkeypatch.setattr(server, "announce", lambda *_: pytest.fail("the server was started"))
    status, _, _ = command(["serve", "--model", model, "--device", "cpu"])
    assert status == 143


@pytest.mark.slow
@needs_serve
@POSIX
def test_a_server_on_all_addresses_answers_only_to_its_own_and_the_allowed_host_name(started):
    _, address = started("--host", "0.0.0.0", "--allow-name", "lab.example")
    url = f"http://127.0.0.1:{address.rpartition(':')[2]}/health"
    for host, status in (("lab.example", 200), (socket.gethostname(), 200), ("evil.example", 421)):
        assert httpx.get(url, headers={"host": host}, timeout=PATIENCE).status_code == status


@pytest.mark.slow
@needs_serve
@POSIX
def test_a_server_on_all_addresses_warns_that_there_is_no_password(started):
    process, address = started("--host", "0.0.0.0")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert f"warning: everyone who can reach {address} can use this page; there is no password" in err


@pytest.mark.slow
@needs_serve
def test_a_served_onnx_file_gives_the_scores_of_its_detector(started, speech, small, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    _, address = started(model=export(small, "onnx", tmp_path / "small.onnx"))
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        row = send(client, speech / "talk.wav").json()
    assert row["score"] == pytest.approx(small.score(speech / "talk.wav"), abs=1e-4)
    assert row["scores"] == pytest.approx(small.score_track(speech / "talk.wav", hop=row["hop"]).scores, abs=1e-4)


@needs_serve
def test_serve_refuses_options_that_it_cannot_use_with_a_reason(model, tmp_path, refused):
    LinearCalibration((1.0, 2.0), 0.0, 0.5, 1e-6, ("a", "b")).save(tmp_path / "fusion.json")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for words, message in (
            (f"--port {port}", f"port {port} of 127.0.0.1 is not free"),
            (f"--calibration {tmp_path}/fusion.json", "the calibration fuses 2 systems"),
            ("--max-duration 0", "--max-duration must be from 0.001 to 43200, not 0"),
        ):
            refused(f"serve --model {model} {words}", message, silent=True)
