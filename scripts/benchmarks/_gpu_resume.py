"""Repeating and resuming in full size: the same training steps twice, and once with a save and a load between them."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _gpu import Stage, configuration
from _gpu_train import as_in_a_run, batch_size, make_trainer, precisions, training_batch
from torch import Tensor

from nes2net.training.loop import Trainer
from nes2net.training.resume_file import RESUME_FILE, read_resume_file

DROP: dict[str, Any] = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.3}
STEPS = 4


def measure(stage: Stage) -> None:
    """Compare steps in each precision."""
    for precision in precisions(stage)[: 1 if stage.small else None]:
        stage.attempt("steps", precision, partial(steps, stage, precision), 20)


def steps(stage: Stage, precision: str) -> None:
    """Compare the weights after the same steps; they must be equal bit for bit, as `train` promises."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        first = uninterrupted(stage, precision, folder)
        second = uninterrupted(stage, precision, folder)
        resumed, columns = interrupted(stage, precision, folder)
    gaps = {"twice, largest": gap(first, second), "resumed, largest": gap(first, resumed)}
    holds = all(value == 0 for value in gaps.values())
    stage.add("steps", precision, **gaps, **columns, holds=holds)


def new_trainer(stage: Stage, precision: str, folder: Path) -> Trainer:
    """Make a trainer with the initial weights, after the memory of earlier ones is freed."""
    stage.release()
    checkpoint = stage.checkpoint("with_dropout", configuration(small=stage.small, **DROP))
    return make_trainer(stage, checkpoint, folder, precision=precision, batch=batch_size(stage))


def train_steps(stage: Stage, trainer: Trainer, numbers: range) -> None:
    """Train the steps ``numbers`` of the first epoch."""
    with as_in_a_run(trainer):
        for step in numbers:
            trainer.train_step([training_batch(stage, batch_size(stage), seed=step)], 1, step, False)


def weights_of(trainer: Trainer) -> list[Tensor]:
    """Copy the weights to the CPU."""
    return [parameter.detach().cpu().clone() for parameter in trainer.state.detector.parameters()]


def uninterrupted(stage: Stage, precision: str, folder: Path) -> list[Tensor]:
    """Train all steps, and return the weights."""
    trainer = new_trainer(stage, precision, folder)
    train_steps(stage, trainer, range(STEPS))
    return weights_of(trainer)


def interrupted(stage: Stage, precision: str, folder: Path) -> tuple[list[Tensor], dict[str, Any]]:
    """Train half of the steps, save, load into a new trainer, and train the others; return weights and columns."""
    trainer = new_trainer(stage, precision, folder)
    train_steps(stage, trainer, range(STEPS // 2))
    start = time.perf_counter()
    trainer.state.save()
    columns = {"save, s": time.perf_counter() - start, "GB": (folder / RESUME_FILE).stat().st_size / 1e9}
    del trainer
    torch.manual_seed(99)
    trainer = new_trainer(stage, precision, folder)
    start = time.perf_counter()
    saved = read_resume_file(folder)
    assert saved is not None
    trainer.state.load(saved)
    stage.synchronise()
    columns["load, s"] = time.perf_counter() - start
    train_steps(stage, trainer, range(STEPS // 2, STEPS))
    return weights_of(trainer), columns


def gap(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference of two lists of tensors: 0 only if all are equal bit for bit; NaN counts as a difference."""
    if all(torch.equal(x, y) for x, y in zip(a, b, strict=True)):
        return 0.0
    return max((x.double() - y.double()).abs().max().item() for x, y in zip(a, b) if x.numel()) or float("nan")
