"""Memory that runs out in training: what ran out, and which settings take less."""

from __future__ import annotations

import torch

from nes2net.training.loop import Trainer
from nes2net.training.resume_file import RESUME_FILE


def detector_too_large(device: torch.device) -> str:
    """Say that the detector itself does not fit into the memory of ``device``."""
    return (
        f"the detector does not fit into the memory of {device}: take a smaller one (`model.frontend`), or a device "
        "with more memory"
    )


def batch_too_large(trainer: Trainer) -> str:
    """Say for which batch memory ran out, what takes less, and which setting lets this run go on."""
    recipe, progress, train = trainer.recipe, trainer.state.progress, trainer.recipe.train
    part = -(-train.batch_size // (train.accumulate * trainer.accelerator.num_processes))
    validates = progress.step == trainer.steps_per_epoch
    whole = recipe.data.num_samples is None or (validates and recipe.validation.whole_utterances)
    place = "validation" if validates else f"step {progress.step}"
    dynamic = recipe.data.crop == "dynamic" and not validates
    num_samples = recipe.data.chunk_samples[1] if dynamic else recipe.data.num_samples
    size = f"{train.batch_size if validates else part} × {'up to ' if dynamic else ''}{num_samples} samples"
    ran_out = (
        f"the memory of {trainer.accelerator.device} ran out in epoch {progress.epoch}, {place}, which computes "
        f"{'a whole utterance' if whole else size} at once"
    )
    same, other = [], []
    learned = not train.activation_checkpointing and not train.freeze_frontend
    if not validates and learned and trainer.state.detector.frontend.transformer_layers:
        same.append("`train.activation_checkpointing=true`")
    if not validates and part >= 4:  # parts keep two utterances, for batch statistics
        other.append(f"`train.accumulate={2 * train.accumulate}`")
    if train.precision not in ("bf16", "fp16"):
        other.append("`train.precision=bf16`")
    other.append("`validation.whole_utterances=false`" if whole else "a smaller `train.batch_size`")
    if not (trainer.state.selection.folder / RESUME_FILE).is_file():
        return f"{ran_out}; nothing is saved yet: take {_one_of([*same, *other])}"
    go_on = f"go on from it with {same[0]}, or " if same else ""
    return f"{ran_out}; the last save is intact: {go_on}begin another run, with a `comment` of its own and {_one_of(other)}"


def _one_of(settings: list[str]) -> str:
    return " or ".join([*filter(None, [", ".join(settings[:-1])]), settings[-1]])
