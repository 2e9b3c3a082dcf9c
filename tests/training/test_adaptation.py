"""Parameter-efficient fine-tuning: what a run trains, saves, starts from and goes on from."""

import shutil

import pytest
import torch
from builders import genuine_checkpoint, small_parts
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import detector_of, folder_of, refused, same, state_of, stop
from conftest import seeded_detector

from nes2net import Detector, create_frontend
from nes2net.models.checkpoints.state_dict import load_state_dict
from nes2net.training.averaging import average
from nes2net.training.run import train

LORA = {"kind": "lora", "rank": 2, "alpha": 16, "targets": "attention", "dropout": 0.0}


MODEL = {
    "frontend": {"name": "wav2vec2_small", **small_parts.FRONTENDS["wav2vec2"]},
    "aggregation": "last",
    "backend": {"name": "asp_mlp", "hidden_dim": 8},
}


@pytest.fixture
def recipe(recipe):
    """A function that builds the recipe of one epoch of a small wav2vec 2.0."""
    return lambda train, **changes: recipe(**{"model": MODEL, "train": {"epochs": 1, **train}, **changes})


@pytest.fixture(scope="module")
def started(corpus, tmp_path_factory):
    """A folder with the file of a detector, start.pth, and the run folder of it adapted for two epochs."""
    folder = tmp_path_factory.mktemp("adapted")
    seeded_detector(MODEL).save(folder / "start.pth")
    settings = {"adapt": LORA, "init_from": str(folder / "start.pth"), "keep": "all"}
    return folder, train(short_run(corpus, folder, SPECTRAL_RUN, {"model": MODEL, "train": settings}), "cpu")


@pytest.fixture
def adapted(started):
    return started[1]


def test_the_checkpoint_of_an_adapted_run_holds_no_weight_of_the_front_end_but_the_adapter(adapted):
    saved = load_state_dict(adapted / "epoch_1.pth")
    lora = {name for name in saved if "lora_" in name}
    assert len(lora) == 2 * 4 * 2  # A and B of queries, keys, values and output of both layers
    assert {name for name in saved if name.startswith("ssl_model.")} == lora


def test_an_adapted_run_trains_only_the_adapter_and_the_back_end(adapted):
    trained = detector_of(adapted)
    tensors = trained.state_dict()
    lora = {name for name in tensors if "lora_" in name}
    assert all(tensors[name].any() for name in lora if name.endswith("lora_B"))  # they begin with 0
    count = sum(tensors[name].numel() for name in lora) + sum(p.numel() for p in trained.backend.parameters())
    moments = state_of(adapted)["optimizer"]["state"].values()
    assert sum(moment["exp_avg"].numel() for moment in moments) == count


def test_an_adapted_run_does_not_resume_with_another_detector_than_it_started_from(recipe, tmp_path):
    start = tmp_path / "start.pth"
    seeded_detector(MODEL).save(start)
    values = recipe({"adapt": LORA, "init_from": str(start)})
    stop(values, 1, 0)
    seeded_detector(MODEL, 1).save(start)
    refused(values, r"is not the base of .*resume\.pt: the SHA-256 .* restore the file of `train.init_from`$")


def test_a_resume_file_of_an_adapted_run_that_does_not_name_its_base_is_refused(started, recipe):
    values = recipe({"adapt": LORA, "init_from": str(started[0] / "start.pth"), "keep": "all", "epochs": 2})
    folder = shutil.copytree(started[1], folder_of(values))
    torch.save({key: value for key, value in state_of(folder).items() if key != "base"}, folder / "resume.pt")
    refused(values, r"resume\.pt does not fit this run \(it does not name its base\)")


def test_an_adapted_run_resumes_only_with_the_pre_training_file_of_its_base(recipe, tmp_path):
    """The file may move, but no other one may take its place."""
    options = small_parts.FRONTENDS["wav2vec2"]
    torch.manual_seed(0)
    for name in ("ssl.pt", "other.pt"):
        genuine_checkpoint.write(
            create_frontend("wav2vec2_small", **{**options, "pretraining_heads": True}), tmp_path / name
        )
    model = {**MODEL, "frontend": {"name": "wav2vec2"}}

    def run(file):
        return recipe({"adapt": LORA}, model=model, ssl_checkpoint=str(tmp_path / file))

    folder = train(run("ssl.pt"))
    (tmp_path / "ssl.pt").rename(tmp_path / "moved.pt")
    assert train(run("moved.pt")) == folder
    message = r"other\.pt is not the base of .*resume\.pt: the SHA-256 .*; name with `ssl_checkpoint` the file that"
    refused(run("other.pt"), message)


def test_an_adapted_detector_that_is_trained_further_keeps_its_base_and_its_adapter(adapted, recipe):
    """The learning rate is below the resolution of float32, so no weight may differ."""
    options = {"init_from": str(adapted / "epoch_1.pth"), "lr": 1e-30, "weight_decay": 0.0}
    second = train(recipe({"adapt": {"kind": "lora", "rank": 2}, **options}, comment="second"))
    before, after = (detector_of(path) for path in (adapted, second))
    assert after.base == before.base
    assert after.config == before.config
    assert same(dict(after.frontend.state_dict()), dict(before.frontend.state_dict()))


@pytest.mark.parametrize("adapt", [None, {"kind": "lora", "rank": 4}], ids=["without", "another"])
def test_further_training_of_an_adapted_detector_without_its_adapter_or_with_another_is_refused(adapted, recipe, adapt):
    another = recipe({"adapt": adapt, "init_from": str(adapted / "epoch_1.pth")}, comment="another")
    refused(another, r"epoch_1\.pth is adapted by .*set `train\.adapt` to that, or merge it")


def test_an_unknown_kind_of_adapter_is_refused_before_data_is_read(recipe, tmp_path):
    nowhere = recipe({"adapt": {"kind": "lorax"}}, data={"root": str(tmp_path / "nowhere")})
    refused(nowhere, "`train.adapt`: kind must be one of lora, .* did you mean 'lora'")


def test_an_average_of_adapted_epochs_is_made_and_read_after_the_run_folder_was_moved(adapted, dev_trials, tmp_path):
    folder = shutil.copytree(adapted, tmp_path / "moved")
    checkpoint = average(folder, last=2).path
    detectors = [Detector.from_pretrained(path, "cpu") for path in (checkpoint, folder / "epoch_2.pth")]
    assert len({detector.score(dev_trials[0].path) for detector in detectors}) == 2
