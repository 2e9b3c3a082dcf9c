"""What commands say on standard error after a second of work, which here is at once."""

import numpy as np
import pytest
import soundfile
import torch
from builders.files import write_json
from builders.report_case import make_case
from builders.words_at_once import speaking_at_once  # noqa: F401
from conftest import seeded_detector

from nes2net import create_frontend
from nes2net.models.checkpoints.state_dict import save_state_dict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A key and its scores, a detector, a recording, and a run folder."""
    folder = make_case(tmp_path_factory.mktemp("words"), num=80)
    detector = seeded_detector({"frontend": "lfcc", "backend": "mean_linear"})
    detector.save(folder / "detector.pth")
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    soundfile.write(folder / "noise.wav", noise, 16000)
    run = folder / "run"
    run.mkdir()
    write_json(run / "history.json", [])
    for epoch in (1, 2):
        save_state_dict({"w": torch.ones(1)}, run / f"epoch_{epoch}.pth")
    return folder


@pytest.fixture
def started(folder, tmp_path, monkeypatch, output):
    """A function that runs a command in the folder; OUT stands for another one."""
    monkeypatch.chdir(folder)
    return lambda words, status=0: output(words.replace("OUT", str(tmp_path)), status)


LABELS = "asvspoof2021_la good.txt --keys trial_metadata.txt"
EVALUATE = f"evaluate {LABELS} --resamples 5"
PREDICT = "predict noise.wav --model detector.pth --device cpu --json"
#: Command → the end of a line that it prints.
SAYS = {
    "average run --last 2 --out OUT/mean.pth": "averaging: checkpoint 0 of 2",
    f"{EVALUATE} --json OUT/labels.json": "evaluating scores",
    EVALUATE: "bootstrap: draw 0 of 5",
    f"calibrate fit {LABELS} --phase eval": "bootstrap: draw 0 of 500",
    PREDICT: "loading detector.pth",
    "export detector.pth --to safetensors --out OUT/out": "/out",
}


@pytest.mark.usefixtures("speaking_at_once")
@pytest.mark.parametrize("words", SAYS)
def test_a_command_says_what_it_does_and_how_far_it_is(words, started):
    lines = started(words).err.splitlines()
    assert any(line.endswith(SAYS[words]) and line[2] == ":" for line in lines), lines


@pytest.mark.usefixtures("speaking_at_once")
def test_a_command_says_that_it_loads_libraries_before_anything_else(started):
    first_line, *_ = started("average run", status=2).err.splitlines()
    assert first_line.endswith("nes2net average: loading libraries and inputs")


@pytest.mark.parametrize("words", [PREDICT, EVALUATE])
def test_what_a_command_says_of_its_work_does_not_change_its_output(words, started, request):
    silent = started(words)
    assert not silent.err
    request.getfixturevalue("speaking_at_once")
    assert started(words).out == silent.out


@pytest.mark.usefixtures("speaking_at_once")
def test_reading_a_pre_training_file_is_said(pretrained, capsys):
    file = pretrained / "tiny_w2v2_namespace.pt"
    create_frontend("wav2vec2", file)
    assert capsys.readouterr().err.endswith(f"reading {file}\n")
