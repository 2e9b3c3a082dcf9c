"""Training that memory is too small for ends in one line, and resumes with settings that need less."""

import pytest
import torch
import yaml
from builders.runs import refused, stop

from nes2net.training import loop
from nes2net.training.run import train

VALIDATION = (loop.Validator, "run")
STEP = (loop.Trainer, "backward")


def too_large(where, recipe, message):
    """A method asks for more memory than there is, and training is refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*where, lambda *_: torch.empty(1 << 60))
        refused(recipe, message, "cpu")


@pytest.mark.parametrize(
    "where, facts",
    [
        (VALIDATION, "validation, which computes 4 × 4000 samples at once"),
        (STEP, "step 0, which computes 4 × 4000 samples"),
    ],
)
def test_the_error_of_a_run_out_of_memory_says_what_it_computed(recipe, where, facts):
    too_large(where, recipe(), f"the memory of cpu ran out in epoch 1, .*{facts}")


def test_the_error_of_a_validation_out_of_memory_says_that_it_computed_a_whole_utterance(recipe):
    message = "validation, which computes a whole utterance at once"
    too_large(VALIDATION, recipe(validation={"whole_utterances": True}), message)


@pytest.fixture
def values(recipe, small_model):
    """A function that builds a recipe of one epoch of a small wav2vec 2.0."""
    return lambda comment, **train: recipe(comment=comment, model=small_model, train={"epochs": 1, **train})


RESUME = "resume with `train.activation_checkpointing=true`, or begin another run, with a `comment` of its own"
TAKE_LESS = "`train.accumulate=2` or `train.precision=bf16` or a smaller `train.batch_size`$"


def test_the_error_of_a_run_out_of_memory_names_settings_that_need_less_memory(values):
    too_large(STEP, values("new"), f": {RESUME} and {TAKE_LESS}")


def test_a_run_out_of_memory_without_a_save_leaves_its_folder_to_a_run_that_needs_less_memory(values):
    too_large(STEP, values("new"), "nothing is saved yet")
    folder = train(values("new", accumulate=2))
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["train"]["accumulate"] == 2


def test_a_run_out_of_memory_leaves_its_last_save_to_be_resumed_with_a_setting_that_needs_less(values, capsys):
    stop(values("torn"), 1, 0)
    too_large(STEP, values("torn"), "epoch 1, step 1, .*; the last save is intact")
    train(values("torn", activation_checkpointing=True))
    assert "resuming in epoch 1, step 1" in capsys.readouterr().out
