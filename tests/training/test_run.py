"""Training on a tiny corpus: what it writes, resumes and refuses."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from builders import assert_near, genuine_checkpoint
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import detector_of, history_of, refused, same, stop, weights_of

from nes2net import InputError, create_frontend
from nes2net.data.registry import corpora
from nes2net.evaluation.origin import training_in_words, uses_in_words
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record
from nes2net.training import run
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.run import train


def test_a_training_file_without_audio_is_reported_once_for_all_epochs(recipe, corpus, capsys, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    (root / "ASVspoof2019_LA_train" / "flac" / "LA_T_1000002.flac").write_bytes(b"no audio")
    train(recipe(train={"batch_size": 5}, data={"root": str(root)}))
    assert capsys.readouterr().err.count("LA_T_1000002.flac was read by neither") == 1


@pytest.fixture(scope="module")
def augmented(corpus, tmp_path_factory):
    """A recipe with RawBoost, and the folder of its run, which validates with and without it."""
    changes = {"augment": {"algo": 4}, "train": {"batch_size": 5, "epochs": 1}}
    recipe = short_run(corpus, tmp_path_factory.mktemp("augmented"), SPECTRAL_RUN, changes)
    return recipe, train(recipe)


def test_a_run_writes_its_recipe_into_its_folder(augmented):
    recipe, folder = augmented
    assert yaml.safe_load((folder / "recipe.yaml").read_text()) == recipe.to_readable_dict()


def test_a_checkpoint_records_its_recipe_model_and_epoch_and_the_losses_of_that_epoch(augmented):
    recipe, folder = augmented
    record = read_record(load_state_dict(folder / "epoch_1.pth"))  # the first is always the best so far
    row = history_of(folder)[0]
    assert record["recipe"] == recipe.to_dict()
    assert recipe.model["backend"].items() <= record["model"]["backend"].items()
    for key in ("epoch", "loss", "val_loss_w_aug", "val_loss_wo_aug"):
        assert record[key] == row[key]


def test_a_run_draws_its_curves(one_epoch):
    assert (one_epoch / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_has_curves_of_the_losses_the_learning_rate_and_the_eer_of_a_run(augmented):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe, folder = augmented
    events = EventAccumulator(str(Path(recipe.logs) / folder.name)).Reload()
    assert {"loss", "val_loss_w_aug", "val_loss_wo_aug", "lr", "val_eer_wo_aug"} <= set(events.Tags()["scalars"])


@pytest.fixture
def provenance(one_epoch):
    """That of a checkpoint of a small corpus in the layout of ASVspoof 2019 LA, which it is not called."""
    return detector_of(one_epoch).provenance


def test_the_provenance_of_a_checkpoint_tells_how_many_trials_it_was_trained_on(provenance):
    assert training_in_words(provenance).endswith("trained on 12 trials in the layout of ASVspoof 2019 LA train")


@pytest.mark.parametrize("split, use", [("train", "it was trained on"), ("dev", "its epoch was selected on")])
def test_the_provenance_of_a_checkpoint_tells_of_given_trials_what_they_were_used_for(provenance, corpus, split, use):
    corpus_reader = corpora.get("asvspoof2019_la")
    trials = corpus_reader.describe_trials(corpus_reader.trials(corpus, split), split)
    (line,) = uses_in_words(provenance, "asvspoof2019_la", split, trials=trials)
    assert f"{use} 12 trials in the layout of asvspoof2019_la {split}" in line


def test_a_finished_run_is_not_trained_again(finished_run, recipe):
    before = {p.name: p.stat().st_mtime_ns for p in finished_run.iterdir()}
    train(recipe(train={"epochs": 1}))
    assert before == {p.name: p.stat().st_mtime_ns for p in finished_run.iterdir()}


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_recipe_chooses_whether_algorithms_are_deterministic(recipe, monkeypatch, deterministic):
    def settings():
        return torch.backends.cudnn.deterministic, torch.are_deterministic_algorithms_enabled()

    def refuse(*_):
        settings_of_run.append(settings())
        raise InputError("no device")

    settings_of_run = []
    monkeypatch.setattr(run, "create_accelerator", refuse)
    refused(recipe(train={"deterministic": deterministic}), "no device")
    assert settings_of_run == [(deterministic, deterministic)]


def test_a_run_resumed_without_the_pre_training_file_keeps_its_options_and_those_of_that_file(
    recipe, small_model, tmp_path
):
    options = {k: v for k, v in small_model["frontend"].items() if k != "name"}
    options |= {"dropout": 0.125, "attention_dropout": 0.25, "feature_grad_mult": 0.5, "pretraining_heads": True}
    genuine_checkpoint.write(create_frontend("wav2vec2_small", **options), tmp_path / "ssl.pt")
    model = {**small_model, "frontend": {"name": "wav2vec2", "attention_dropout": 0.0}}
    values = recipe(model=model, ssl_checkpoint=str(tmp_path / "ssl.pt"), train={"epochs": 1})
    stop(values, 1, 0)
    (tmp_path / "ssl.pt").unlink()
    saved_frontend = read_record(load_state_dict(train(values) / "epoch_1.pth"))["model"]["frontend"]
    assert saved_frontend["dropout"] == 0.125
    assert saved_frontend["feature_grad_mult"] == 0.5
    assert saved_frontend["attention_dropout"] == 0.0


def test_a_front_end_without_pre_training_ignores_ssl_checkpoint_of_the_recipe_with_a_note(recipe, capsys):
    folder = train(recipe(ssl_checkpoint="xlsr2_300m.pt", train={"epochs": 1}), "cpu")
    assert load_recipe(folder / "recipe.yaml").ssl_checkpoint is None
    note = "note: front-end 'lps' has no pre-training, so `ssl_checkpoint` (xlsr2_300m.pt) is not read"
    assert capsys.readouterr().err.count(note) == 1


def test_another_seed_trains_other_weights(one_epoch, recipe):
    other_run = train(recipe(train={"epochs": 1}, seed=2))
    assert not same(weights_of(one_epoch), weights_of(other_run))


def test_a_folder_that_holds_another_run_is_refused(finished_run, recipe):
    """Even if the recipe in it is empty or gone."""
    file = finished_run / "recipe.yaml"
    another = recipe(train={"epochs": 1, "weight_decay": 0.1})
    for lose in (lambda: None, lambda: file.write_text(""), file.unlink):  # a power cut empties a file
        lose()
        refused(another, r"another run or program .*train\.weight_decay\): .* `comment`")


def test_a_folder_of_checkpoints_without_a_recipe_is_refused(finished_run, recipe):
    for name in ("recipe.yaml", "resume.pt"):
        (finished_run / name).unlink()
    refused(recipe(train={"epochs": 1}), r"holds checkpoints but no recipe\.yaml")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": {"root": None}}, "where is the corpus.*`data.root`"),
        ({"train": {"freeze_frontend": True}}, "front-end 'lps' has nothing to train: remove `train.freeze_frontend`"),
        ({"train": {"adapt": {"kind": "lora"}}}, "no transformer layers: remove `train.adapt`"),
        ({"augment": {"musan": "none"}}, "MUSAN folder none not found"),
        (
            {"augment": {"conditions": ["cut:1"]}, "data": {"crop": "pieces", "min_piece": 2000}},
            "'cut:1' .*which `data.crop=pieces` does not follow",
        ),
        ({"augment": {"specmix": {}}, "model": {"frontend": "wav2vec2_small"}}, "'asp_mlp' after 'wav2.*front-end lps"),
        ({"model": {"frontend": "xlsr_300m"}}, "refusing to train XLS-R 300M .*`ssl_checkpoint`.*wav2vec2_small`"),
        ({"ssl_checkpoint": "none.pt", "model": {"frontend": "wav2vec2"}}, r"none\.pt not found"),
        ({"train": {"init_from": "none.pth"}}, r"none\.pth not found"),
    ],
)
def test_recipes_that_cannot_be_trained_are_refused_before_anything_is_written(recipe, changes, message, tmp_path):
    refused(recipe(**changes), message)
    assert not (tmp_path / "models").exists()


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step_and_utterances(recipe):
    message = r"loss is .* in epoch 1, step \d \(utterances LA_T_1.*, LA_T_1.*\): try a lower"
    refused(recipe(train={"lr": 1e30}), message)


def test_a_run_starts_from_the_weights_and_options_of_the_checkpoint_init_from(recipe, small_model):
    """Not from those of ``ssl_checkpoint``, whose file need not exist."""
    frontend = {**small_model["frontend"], "activation_dropout": 0.25}  # as a pre-training file may have it
    first = train(recipe(model={**small_model, "frontend": frontend}, train={"epochs": 1}), "cpu")
    # The learning rate is below the resolution of float32, except for biases that are still 0.
    options = {"epochs": 1, "lr": 1e-30, "init_from": str(first / "epoch_1.pth")}
    again = train(recipe(model=small_model, train=options, ssl_checkpoint="none.pt", comment="again"), "cpu")
    config = detector_of(again).config
    assert config["frontend"]["activation_dropout"] == 0.25
    start = load_state_dict(first / "epoch_1.pth")
    trained = weights_of(again)
    for key in start:
        if "running_" not in key and "num_batches" not in key:
            assert_near(trained[key], start[key], 1e-29)
