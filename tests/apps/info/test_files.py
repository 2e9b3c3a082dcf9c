"""`nes2net info FILE`: a readable summary of every kind of file."""

import shutil

import pytest
import torch
import yaml
from builders.files import write, write_record
from builders.hostile import onnx_files
from builders.recipes import short_run
from builders.small_parts import SPECTRAL_MODEL

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.scoring.decisions.calibration import LinearCalibration
from nes2net.training.run import train


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("run")
    model = SPECTRAL_MODEL
    changes = {"train": {"epochs": 2, "keep": "all"}, "validation": {"augmented": False}}
    train(short_run(corpus, folder, {"name": "tiny", "model": model}, changes), "cpu")
    (run_folder,) = (folder / "models").iterdir()
    return run_folder


def test_info_describes_a_checkpoint_of_a_run(run, info):
    text = " ".join(info(run / "epoch_2.pth").split())
    sheet = info(run / "epoch_2.pth", "--json")
    for line in (
        "detector checkpoint of this package",
        "all there, none left over",
        "2 of 2",
        "trained on asvspoof2019_la (ASVspoof 2019 LA), from",
    ):
        assert line in text
    assert {row["part"] for row in sheet["parts"]} == {"front-end", "aggregation", "back-end", "total"}
    options = {row["option"]: row["value"] for row in sheet["options of the parts that differ from their defaults"]}
    assert options["n_fft"] == 128
    assert "hop_length" not in options
    assert "train.epochs" in {row["key"] for row in sheet["keys of the recipe that differ from the defaults"]}
    assert len(sheet["SHA-256"]) == 64
    assert any("predict" in line for line in sheet["next"])


def test_info_describes_every_file_of_a_run(run, tmp_path, info, output):
    sheet = info(run, "--json")
    assert sheet["title"].endswith(": run folder")
    assert sheet["epochs"][0]["kept"] == "epoch_1.pth"
    assert sheet["checkpoints"] == "epoch_1.pth, epoch_2.pth"
    assert "train.epochs" in info(run / "recipe.yaml")
    for name, title in (("history.json", "history of a training run"), ("resume.pt", "resume file of a training run")):
        assert title in " ".join(info(run / name).split())
    output(["average", run, "--ids", 1, 2, "--out", tmp_path / "mean.pth"])
    assert info(tmp_path / "mean.pth", "--json")["average"] == "mean of epochs 1, 2"


def test_info_names_the_next_command_for_a_run_only_if_its_epochs_are_there(run, tmp_path, info):
    folder = shutil.copytree(run, tmp_path / "run of mine")
    assert info(folder, "--json")["next"][0] == f"nes2net average '{folder}'"
    (folder / "epoch_1.pth").unlink()
    assert info(folder, "--json")["next"][0].startswith("nes2net info ")


def test_info_describes_the_folder_of_a_detector(spectral_detector, tmp_path, info):
    export(spectral_detector, "safetensors", tmp_path / "folder")
    assert "detector folder" in info(tmp_path / "folder")
    config = tmp_path / "folder" / "config.yaml"
    described = yaml.safe_load(config.read_text())
    described["model"]["backend"] = described["model"]["backend"]["name"]
    config.write_text(yaml.safe_dump(described))
    assert "detector folder" in info(tmp_path / "folder")


def test_info_describes_an_onnx_file(tmp_path, info):
    onnx = pytest.importorskip("onnx")
    onnx.save(onnx_files.good(), tmp_path / "d.onnx")
    sheet = info(tmp_path / "d.onnx", "--json")
    assert "exported to ONNX" in sheet["title"]
    assert sheet["next"][1].startswith("nes2net predict")
    assert sheet["parts"]


def test_info_knows_a_published_checkpoint(tmp_path, info):
    torch.save(Detector.from_config("AASIST").state_dict(), tmp_path / "published.pth")
    sheet = info(tmp_path / "published.pth")
    assert "0.83 %" in sheet
    assert "its tensors have other names" not in sheet


def test_info_describes_scores_by_their_record(run, corpus, tmp_path, info, output):
    scores = tmp_path / "s.txt"
    words = f"score asvspoof2019_la {corpus} --split dev --model {run}/epoch_2.pth --samples 8000 --workers 0"
    output(f"{words} --out {scores}")
    sheet = info(scores, "--json")
    assert sheet["trials"] == 12
    assert sheet["corpus"].startswith("asvspoof2019_la, dev, 4sec")
    assert sheet["checkpoint"].endswith("epoch_2.pth")
    assert sheet["epoch"] == "2 of 2"
    assert sheet["utterances"] == "the first 8,000 samples"
    assert f"nes2net evaluate asvspoof2019_la {scores}" in info(scores)
    assert "record of a score file" in " ".join(info(f"{scores}.json").split())
    assert "what made the scores is not known" in info(shutil.copy(scores, tmp_path / "lone.txt"))
    assert "are too good" in sheet["warning"][0]


def test_info_counts_the_repeated_ids_of_a_score_file(tmp_path, info):
    scores = write(tmp_path / "s.txt", "a 1.0\nb -1.0\na 1.0\na 2.0\n")
    assert info(scores, "--json")["repeated"] == "2 lines repeat an id"


def test_records_of_strangers_are_not_trusted(run, tmp_path, info, output):
    scores = write(tmp_path / "two words.txt", "a 1.0\nb -1.0\n")
    for changes in (
        {"corpus": {"name": "$(touch pwned)", "protocol": "\x9b31m"}},
        {"run": {"num_samples": "x"}},
        {"checkpoint": {"average": {"of": 5}}},
        {"checkpoint": {"average": {"ids": 5}, "progress": 5}},
    ):
        write_record(scores, **changes)
        assert info(scores, "--json")["next"] == [f"nes2net evaluate CORPUS '{scores}' --keys FOLDER"]
        assert "\x9b" not in output(["info", scores, "--json"]).out


def test_control_characters_of_files_are_not_printed(run, tmp_path, command):
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["root"] = "\x1b[2Jgone\x1b]0;title\x07"
    for name, text in (("r.yaml", yaml.safe_dump(recipe)), ("s.txt", "a\x1b[2J 1.0\n")):
        (tmp_path / name).write_text(text)
        _, out, err = command(["info", tmp_path / name])
        assert not {"\x1b", "\x07"} & {*out, *err}


def test_info_describes_a_calibration(tmp_path, info):
    trained_on = {"corpus": "generic", "figures": {"eer": 0.1}}
    LinearCalibration((1.5, -0.25), 0.125, 0.5, 1e-6, ("a", "b"), trained_on).save(tmp_path / "c.json")
    sheet = info(tmp_path / "c.json", "--json")
    assert sheet["title"].endswith("fusion of scores")
    assert sheet["offset"] == 0.125
    assert sheet["weights"] == [{"weight": 1.5, "system": "a"}, {"weight": -0.25, "system": "b"}]
    assert sheet["next"][0].endswith("c.json SCORES … --out calibrated.txt")
    text = info(tmp_path / "c.json")
    assert "calibrate apply" in text
    assert "the ratios of its own trials are not kept" in text
    assert "not measured, so no recording is called 'cannot tell'" in text
    assert "  detector" not in text


def test_files_of_no_known_kind_are_refused_in_one_line(tmp_path, refused):
    contents = {"notes.txt": "three words here\n", "x.json": "{}", "empty.txt": "\n", "x.yaml": "unknown_key: 1\n"}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
        error = refused(["info", tmp_path / name])
        assert name in error or "unknown_key" in error
