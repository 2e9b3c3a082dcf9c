"""Hostile manifests: no connection is opened, texts are cut, and damage is no traceback."""

import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from builders.marks import reader
from conftest import REPOSITORY

from nes2net.apps.marks import credentials
from nes2net.data.audio.parts import RecordingBytes
from nes2net.lib.output.terminal import printable_name

READ_ALL = """
import socket, sys
omitted, port, *paths = sys.argv[1:]
sys.modules[omitted] = None
from nes2net.apps.marks.credentials import ContentCredentials
from nes2net.scoring.waveforms import RecordingToJudge

read = ContentCredentials(None, "")
print(*[read(RecordingToJudge.of(path))[0].facts["state"] for path in paths])
socket.create_connection(("127.0.0.1", int(port))).close()
"""


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("module, omitted", [("encypher_c2pa", "c2pa"), ("c2pa", "encypher_c2pa")])
def test_no_connection_is_opened_and_no_file_written_whatever_the_environment_says(module, omitted, golden, tmp_path):
    package = {"encypher_c2pa": "encypher-c2pa", "c2pa": "c2pa-python"}[module]
    pytest.importorskip(module, reason=f"{package} is not installed")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    paths = [golden / f"c2pa_{name}" for name in ("remote.wav", "remote.m4a", "tampered.wav", "box_short.wav")]
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    environment |= {"ENCYPHER_C2PA_ONLINE": "on", "ENCYPHER_C2PA_TELEMETRY": "on"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        trace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", tmp_path / "trace"]
        command = [*trace, sys.executable, "-c", READ_ALL, omitted, str(port), *paths]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        server.settimeout(10)
        server.accept()[0].close()  # the connection that shows that the trace works
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    assert done.stdout.split() == ["remote", "remote", "broken", "unreadable"]
    lines = (tmp_path / "trace").read_text().splitlines()
    (line,) = [line for line in lines if "AF_INET" in line]
    assert f"htons({port})" in line
    assert not [path for path in home.rglob("*") if "encypher" in str(path).lower()]


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "m4a"])
def test_damage_is_told_quickly_and_without_a_traceback(library, golden, suffix):
    content = (golden / f"c2pa_signed.{suffix}").read_bytes()
    store = content.index(b"jumb") - 4  # behind the size of the store
    end = store + int.from_bytes(content[store : store + 4], "big")
    begin = 0 if suffix == "m4a" else store  # the type in front of an MP4 file is not signed
    read = reader("c2pa", golden / "c2pa_root.pem")
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=200).tolist():
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        facts = [  # of a flipped bit, and of a cut
            read(RecordingBytes(f"a.{suffix}", piece)).facts for piece in (bytes(flipped), content[:position])
        ]
        for states in ([row["state"] for row in facts], [(row["second"] or row)["state"] for row in facts]):
            assert set(states) <= {"broken", "unreadable", "not_found", "trusted", "untrusted", "remote"}
            assert states[1] not in ("trusted", "untrusted")
            if states[0] in ("trusted", "untrusted"):
                assert begin <= position < end


@pytest.fixture
def report(library, golden):
    """The report of encypher-c2pa on the manifest of a signed file."""
    return library.verify((golden / "c2pa_signed.wav").read_bytes(), "audio/wav", online=False)["manifest_report"]


@pytest.fixture
def manifest(report):
    (manifest,) = report["manifests"].values()
    return manifest


def test_long_texts_are_cut_and_control_characters_shown(report, manifest):
    manifest["title"] = "\x1b[31m" + 10_000 * "x"
    facts = credentials._facts_of(report)
    assert len(facts["title"]) == 200
    words = credentials._in_words({**facts, "trust_list": {"name": "", "date": ""}})
    assert "\x1b" in words
    assert "\x1b" not in printable_name(words)


def test_many_failures_are_cut(report):
    report["validation_results"]["activeManifest"]["failure"] = 1000 * [{"code": 1000 * "x"}]
    codes = credentials._facts_of(report)["codes"]
    assert len(codes) == 20
    assert {len(code) for code in codes} == {200}
