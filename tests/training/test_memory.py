"""Training that memory is too small for ends in one line, and goes on where it takes less."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from builders import PATIENCE
from builders.runs import stop

from nes2net.errors import InputError
from nes2net.training import loop
from nes2net.training.run import train

WHOLE = {"validation": {"whole_utterances": True}}
DYNAMIC = {"data": {"crop": "dynamic", "chunk_samples": [3000, 5000]}}
VALIDATION, STEP = (loop.Validator, "run"), (loop.Trainer, "backward")


@pytest.mark.parametrize(
    "settings, where, said",
    [
        ({}, VALIDATION, "validation, which computes 4 × 4000 samples at once; the last save is intact"),
        (WHOLE, VALIDATION, "validation, which computes a whole utterance at .*whole_utterances=false`$"),
        (WHOLE, STEP, "step 0, which computes 4 × 4000 samples .* nothing is saved yet"),
        (DYNAMIC, STEP, "computes 4 × up to 5000 samples .*`train.accumulate=2`, .*batch_size`$"),
    ],
)
def test_what_takes_less_is_said(recipe, monkeypatch, settings, where, said):
    monkeypatch.setattr(*where, lambda *_: torch.empty(1 << 60))
    with pytest.raises(InputError, match=f"the memory of cpu ran out in epoch 1, .*{said}"):
        train(recipe(**settings), "cpu")


@pytest.mark.slow
def test_what_does_not_fit(recipe, small_model, capsys, tmp_path):
    """A step takes some 500 MB. What is saved stays; a run without a save leaves its folder to another."""

    def long(comment, **train):
        sizes = {"train": {"epochs": 1, "batch_size": 6, **train}, "data": {"num_samples": 160_000}}
        return recipe(comment=comment, model=small_model, **sizes)

    resume = stop(long("torn"), 1, 0) / "resume.pt"
    saved = resume.read_bytes()
    frontend = {**small_model["frontend"], "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 65536}
    large = recipe(comment="large", model={**small_model, "frontend": frontend})
    first = recipe(comment="first", model=small_model, train={"epochs": 1})  # loads all libraries
    paths = [tmp_path / f"{number}.yaml" for number in range(4)]
    for path, values in zip(paths, (first, long("torn"), long("new"), large)):
        path.write_text(yaml.safe_dump(values.to_dict()))
    program = Path(__file__).parents[1] / "builders" / "little_memory.py"  # with 100 MB of memory for training
    command = [sys.executable, program, str(100 << 20), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stderr.splitlines() == [
        "the memory of cpu ran out in epoch 1, step 1, which computes 6 × 160000 samples at once; the last save is "
        "intact: go on from it with `train.activation_checkpointing=true`, or begin another run, with a `comment` of "
        "its own and `train.accumulate=2`, `train.precision=bf16` or a smaller `train.batch_size`",
        "the memory of cpu ran out in epoch 1, step 0, which computes 6 × 160000 samples at once; nothing is saved "
        "yet: take `train.activation_checkpointing=true`, `train.accumulate=2`, `train.precision=bf16` or a smaller "
        "`train.batch_size`",
        "front-end 'wav2vec2_small' does not fit into the memory of this machine: give smaller options",
    ]
    assert resume.read_bytes() == saved
    capsys.readouterr()
    train(long("torn", activation_checkpointing=True))
    assert "going on in epoch 1, step 1" in capsys.readouterr().out
    folder = train(long("new", accumulate=2))
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["train"]["accumulate"] == 2
