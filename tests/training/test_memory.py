"""Training that memory is too small for ends in one line, and goes on where it takes less."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from builders import PATIENCE
from builders.runs import signal_in_step

from nes2net.errors import InputError, Unfinished
from nes2net.training import loop
from nes2net.training.run import train


def messages(folder, *recipes):
    """Errors of training ``recipes`` in a process with 100 MB of memory for them, a line each."""
    paths = [folder / f"{number}.yaml" for number in range(len(recipes))]
    for path, recipe in zip(paths, recipes):
        path.write_text(yaml.safe_dump(recipe.to_dict()))
    program = Path(__file__).parents[1] / "builders" / "little_memory.py"
    done = subprocess.run(
        [sys.executable, str(program), str(100 << 20), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr.splitlines()


WHOLE = {"validation": {"whole_utterances": True}}
DYNAMIC = {"data": {"crop": "dynamic", "chunk_samples": [3000, 5000]}}


@pytest.mark.parametrize(
    "settings, where, said",
    [
        ({}, (loop.Validator, "run"), "validation, which computes 4 × 4000 samples at once; the last save is intact"),
        (WHOLE, (loop.Validator, "run"), "validation, which computes a whole utterance at .*whole_utterances=false`$"),
        (WHOLE, (loop.Trainer, "backward"), "step 0, which computes 4 × 4000 samples .* nothing is saved yet"),
        (DYNAMIC, (loop.Trainer, "backward"), "computes 4 × up to 5000 samples .*`train.accumulate=2`, .*batch_size`$"),
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

    with signal_in_step(1, 0), pytest.raises(Unfinished):
        train(long("torn"))
    (resume,) = (tmp_path / "models").glob("*_torn/resume.pt")
    saved = resume.read_bytes()
    frontend = {**small_model["frontend"], "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 65536}
    large = recipe(comment="large", model={**small_model, "frontend": frontend})
    first = recipe(comment="first", model=small_model, train={"epochs": 1})  # loads all libraries
    lines = messages(tmp_path, first, long("torn"), long("new"), large)
    assert lines == [
        "the memory of cpu ran out in epoch 1, step 1, which computes 6 × 160000 samples at once; the last save is "
        "intact: go on from it with `train.activation_checkpointing=true`, or begin another run, with a `comment` of its "
        "own and `train.accumulate=2`, `train.precision=bf16` or a smaller `train.batch_size`",
        "the memory of cpu ran out in epoch 1, step 0, which computes 6 × 160000 samples at once; nothing is saved yet: "
        "take `train.activation_checkpointing=true`, `train.accumulate=2`, `train.precision=bf16` or a smaller "
        "`train.batch_size`",
        "front-end 'wav2vec2_small' does not fit into the memory of this machine: give smaller options",
    ]
    assert resume.read_bytes() == saved
    capsys.readouterr()
    train(long("torn", activation_checkpointing=True))
    assert "going on in epoch 1, step 1" in capsys.readouterr().out
    folder = train(long("new", accumulate=2))
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["train"]["accumulate"] == 2
