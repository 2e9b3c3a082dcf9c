"""A folder for a Hugging Face Space: what is in it, and that it runs here."""

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest
import soundfile
import torch
import yaml
from builders import PATIENCE
from builders.voices import voice

from nes2net import Detector
from nes2net.lib.process.installation import requirement
from nes2net.scoring.decisions.calibration import LinearCalibration, ScoredBy


@pytest.fixture
def model(tmp_path, spectral_detector):
    spectral_detector.save(tmp_path / "model.pth")
    LinearCalibration((3.0,), 0.5, 0.5, 1e-6, ("model",)).save(tmp_path / "calibration.json")
    return tmp_path / "model.pth"


@pytest.fixture
def space(model, tmp_path, output):
    """The folder of a space with a calibration."""
    output(f"export {model} --to space --out {tmp_path}/space --calibration {tmp_path}/calibration.json")
    return tmp_path / "space"


def test_a_space_has_its_app_the_detector_and_the_calibration_and_says_what_it_needs(space):
    files = {path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file()}
    detector = {f"detector/{name}" for name in ("README.md", "config.yaml", "model.safetensors")}
    assert files == {".gitattributes", "README.md", "app.py", "requirements.txt", "calibration.json"} | detector
    head = yaml.safe_load((space / "README.md").read_text().split("---\n")[1])
    assert (head["sdk"], head["app_file"], head["license"]) == ("gradio", "app.py", "other")
    assert (space / "requirements.txt").read_text().endswith(f"\n{requirement('serve')}\n")


def test_a_space_that_is_written_again_without_a_calibration_has_no_earlier_one(model, tmp_path, output):
    words = f"export {model} --to space --out {tmp_path}/space"
    output(f"{words} --calibration {tmp_path}/calibration.json")
    output(f"{words} --overwrite")
    assert not (tmp_path / "space/calibration.json").exists()


def test_a_calibration_of_another_detector_is_refused_for_a_space(model, tmp_path, refused):
    calibration = tmp_path / "calibration.json"
    out = tmp_path / "out"
    LinearCalibration((1.0,), 0.0, 0.5, 1e-6, ("a",), scored_by=ScoredBy("0" * 64, "float32", None)).save(calibration)
    words = f"export {model} --to space --out {out} --calibration {calibration}"
    refused(words, "the calibration does not belong to this detector")
    assert not out.exists()


@pytest.mark.slow
def test_the_program_of_a_space_scores_and_calibrates_as_the_detector_here_and_on_the_hub(space, tmp_path):
    pytest.importorskip("fastapi_offline")
    sound = tmp_path / "a.wav"
    soundfile.write(sound, voice(seconds=2), 16000)
    # The last bits of products depend on where the weights lie in memory, so they are read from the same file.
    exported = Detector.from_pretrained(space / "detector", device="cpu")
    hub = {"SPACE_ID": "me/mine", "SPACE_HOST": "me-mine.hf.space", "GRADIO_SERVER_PORT": "0"}
    for source in ({}, hub):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **source}
        process = subprocess.Popen([sys.executable, "app.py"], cwd=space, env=environment, **pipes)
        try:
            port = re.search(r"http://\S+:(\d+)", process.stdout.readline())[1]
            headers = {"host": "me-mine.hf.space", "origin": "https://me-mine.hf.space"} if source else {}
            url = f"http://127.0.0.1:{port}/api/score"
            files = {"file": sound.read_bytes()}
            row = httpx.post(url, files=files, headers=headers, timeout=PATIENCE).json()
            assert row["score"] == pytest.approx(exported.score(sound), abs=1e-6)
            assert row["llr"] == pytest.approx(3 * row["score"] + 0.5)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
