"""`nes2net info FILE`: a readable summary of every kind of file."""

import pytest
import torch
import yaml
from builders.files import write, write_record
from builders.hostile import onnx_files
from builders.recipes import short_run
from builders.small_parts import FRONTENDS, SPECTRAL_MODEL

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


def test_info_describes_the_training_of_a_checkpoint(run, info):
    sheet = info(run / "epoch_2.pth", "--json")
    assert sheet["epoch"] == "2 of 2"
    assert sheet["trained on"].startswith("asvspoof2019_la (ASVspoof 2019 LA), from")
    assert "train.epochs" in {row["key"] for row in sheet["keys of the recipe that differ from the defaults"]}
    options = {row["option"]: row["value"] for row in sheet["options of the parts that differ from their defaults"]}
    assert options["n_fft"] == 128
    assert "hop_length" not in options


def test_info_of_a_run_folder_states_the_architecture_in_its_recipe(run, info):
    """And the checkpoint of each epoch."""
    sheet = info(run, "--json")
    assert "asp_mlp" in sheet["model"]
    assert sheet["title"].endswith(": run folder")
    assert [epoch["kept"] for epoch in sheet["epochs"]] == ["epoch_1.pth", "epoch_2.pth"]


def test_info_describes_the_recipe_of_a_run_by_its_keys(run, info):
    assert "train.epochs" in info(run / "recipe.yaml")


def test_info_recognises_the_resume_file_of_a_run(run, info):
    assert "resume file of a training run" in " ".join(info(run / "resume.pt").split())


def test_info_tells_of_which_epochs_an_average_is(run, tmp_path, info, output):
    output(["average", run, "--ids", 1, 2, "--out", tmp_path / "mean.pth"])
    assert info(tmp_path / "mean.pth", "--json")["average"] == "mean of epochs 1, 2"


def test_info_describes_a_detector_folder_whose_configuration_gives_the_back_end_by_its_name_alone(
    spectral_detector, tmp_path, info
):
    export(spectral_detector, "safetensors", tmp_path / "folder")
    config = tmp_path / "folder" / "config.yaml"
    described = yaml.safe_load(config.read_text())
    described["model"]["backend"] = described["model"]["backend"]["name"]
    config.write_text(yaml.safe_dump(described))
    assert "detector folder" in info(tmp_path / "folder")


def test_info_describes_a_detector_with_an_encoder_that_transformers_computes(tmp_path, info):
    frontend = {"name": "audio_encoder", **FRONTENDS["audio_encoder"]}
    Detector.from_config({"frontend": frontend, "backend": "asp_mlp"}).save(tmp_path / "detector")
    printed = info(tmp_path / "detector")
    assert "audio_encoder" in printed
    assert "wav2vec2-conformer" in printed


def test_info_describes_an_onnx_file_with_its_parts(tmp_path, info):
    onnx = pytest.importorskip("onnx")
    onnx.save(onnx_files.good(), tmp_path / "d.onnx")
    sheet = info(tmp_path / "d.onnx", "--json")
    assert "exported to ONNX" in sheet["title"]
    assert [row["name"] for row in sheet["parts"]] == ["lfcc", "last", "asp_mlp", ""]  # the last is their sum


def test_info_names_the_published_result_of_a_published_checkpoint(tmp_path, info):
    torch.save(Detector.from_config("AASIST").state_dict(), tmp_path / "published.pth")
    assert "0.83 %" in info(tmp_path / "published.pth")


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


def test_a_shell_command_in_a_record_of_scores_does_not_get_into_the_command_that_info_suggests(tmp_path, info):
    scores = write(tmp_path / "two words.txt", "a 1.0\nb -1.0\n")
    write_record(scores, corpus={"name": "$(touch pwned)", "protocol": "eval"})
    assert info(scores, "--json")["next"] == [f"nes2net evaluate CORPUS '{scores}' --keys FOLDER"]


@pytest.mark.parametrize(
    "facts",
    [
        {"run": {"num_samples": "x"}, "corpus": 5},
        {"checkpoint": {"average": {"of": 5}}},
        {"checkpoint": {"average": {"ids": 5}, "progress": 5}},
    ],
)
def test_a_record_of_wrong_types_does_not_keep_info_from_describing_its_scores(facts, tmp_path, info):
    scores = write(tmp_path / "s.txt", "a 1.0\nb -1.0\n")
    write_record(scores, **facts)
    assert info(scores, "--json")["trials"] == 2


def test_info_does_not_print_control_characters_of_a_recipe(tmp_path, output):
    printed = output(["info", write(tmp_path / "r.yaml", 'data: {root: "\\x1b[2Jgone"}\n')]).out
    assert "gone" in printed
    assert "\x1b" not in printed


@pytest.fixture
def fusion(tmp_path, info):
    LinearCalibration((1.5, -0.25), 0.125, 0.5, 1e-6, ("a", "b")).save(tmp_path / "c.json")
    return info(tmp_path / "c.json", "--json")


def test_info_describes_a_fusion_of_scores_with_its_offset_and_weights(fusion):
    assert fusion["title"].endswith("fusion of scores")
    assert fusion["offset"] == 0.125
    assert fusion["weights"] == [{"weight": 1.5, "system": "a"}, {"weight": -0.25, "system": "b"}]


def test_info_refuses_a_file_of_no_known_kind_in_one_line_with_its_name(tmp_path, refused):
    for name, text in (("notes.txt", "three words here\n"), ("x.json", "{}"), ("empty.txt", "\n")):
        assert name in refused(["info", write(tmp_path / name, text)])


def test_info_of_a_calibration_of_genuine_recordings_states_its_threshold_and_a_command_that_reads_it(tmp_path, info):
    genuine = {"scores": [float(number) for number in range(40)], "alpha": "5%", "groups": None, "assured": False}
    LinearCalibration((1.0,), 0.0, 0.5, 0.0, ("a",), genuine=genuine).save(tmp_path / "c.json")
    text = " ".join(info(tmp_path / "c.json").split())
    assert "threshold of genuine recordings" in text
    assert "unusual below a score of 1.0" in text
    assert f"nes2net predict FILE --model MODEL --calibration {tmp_path}/c.json" in text
    assert "calibrate apply" not in text
