"""What commands say on standard error after a second of work, which here is at once."""

import numpy as np
import pytest
import soundfile
import torch
from builders import slow
from builders.files import write, write_json, write_scores
from builders.words_at_once import speaking_at_once  # noqa: F401
from conftest import seeded_detector

from nes2net.models.checkpoints.state_dict import save_state_dict

BOTH = ("bonafide", "spoof")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A key and its scores, a detector, a recording, and a run folder."""
    folder = tmp_path_factory.mktemp("words")
    ids = {f"LA_E_{number}": BOTH[number % 2] for number in range(40)}
    write(folder / "key.txt", "".join(f"LA_1 {id} - A07 {label}\n" for id, label in ids.items()))
    write_scores(folder / "scores.txt", {id: number % 7 - 5 * (number % 2) for number, id in enumerate(ids)})
    seeded_detector({"frontend": "lfcc", "backend": "mean_linear"}).save(folder / "detector.pth")
    soundfile.write(folder / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    (folder / "run").mkdir()
    write_json(folder / "run" / "history.json", [{"epoch": epoch, "loss": 0.5} for epoch in (1, 2)])
    for epoch in (1, 2):
        save_state_dict({"w": torch.ones(1)}, folder / "run" / f"epoch_{epoch}.pth")
    return folder


EVALUATE = "evaluate asvspoof2019_la scores.txt --keys key.txt --resamples 5"
PREDICT = "predict noise.wav --model detector.pth --device cpu --json"
FIT = "calibrate fit asvspoof2019_la scores.txt --keys key.txt --phase eval"
COMMANDS = [
    ("average run", 2, "nes2net average: loading libraries and inputs"),
    ("average run --last 2 --out {}/mean.pth", 0, "averaging: checkpoint 0 of 2"),
    (EVALUATE, 0, "evaluating scores"),
    (EVALUATE, 0, "bootstrap: draw 0 of 5"),
    (FIT, 0, "bootstrap: draw 0 of 500"),
    (PREDICT, 0, "loading detector.pth"),
    ("export detector.pth --to safetensors --out {}/out", 0, "/out"),
    *slow(("export detector.pth --to onnx --out {}/out.onnx", 0, "/out.onnx")),
]


@pytest.mark.usefixtures("speaking_at_once")
@pytest.mark.parametrize("words, status, said", COMMANDS)
def test_a_command_says_what_it_does_and_how_far_it_is(words, status, said, folder, tmp_path, output, monkeypatch):
    monkeypatch.chdir(folder)
    lines = output(words.format(tmp_path), status).err.splitlines()
    assert any(line.endswith(said) and line[2] == ":" for line in lines), lines


@pytest.mark.parametrize("words", [PREDICT, f"{EVALUATE} --json {{}}/out.json"])
def test_what_a_command_says_of_its_work_does_not_change_its_output(
    words, folder, tmp_path, output, monkeypatch, request
):
    monkeypatch.chdir(folder)
    silent = output(words.format(tmp_path))
    assert not silent.err.replace(f"wrote {tmp_path}/out.json\n", "")
    request.getfixturevalue("speaking_at_once")
    assert output(words.format(tmp_path)).out == silent.out


def test_reading_a_pre_training_file_is_said(pretrained, speaking_at_once, capsys):  # noqa: F811
    from nes2net import create_frontend

    file = pretrained / "tiny_w2v2_namespace.pt"
    create_frontend("wav2vec2", file)
    assert capsys.readouterr().err.endswith(f"reading {file}\n")
