"""Training steps of the project's trainer: precisions, activation checkpointing, Adam, compiled; memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, get_args

import torch
import torch.nn.functional as F
from _gpu import Run, Stage, configuration
from scoring import PublishedDetector
from torch import nn

from nes2net.lib.devices import float32_products
from nes2net.training.dataset import Batch
from nes2net.training.distributed import IN_SCORING, create_accelerator
from nes2net.training.loop import Trainer
from nes2net.training.monitor import Monitor
from nes2net.training.optimisation import create_optimizer
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.run import Run as TrainingRun
from nes2net.training.seeding import cuda_algorithms
from nes2net.training.selection import Selection
from nes2net.training.state import RunState
from nes2net.training.tasks.task import create_task

SECTION = "training step"
REFERENCE = "published way"
#: Precisions that a recipe can name.
RECIPE_PRECISIONS: tuple[str, ...] = get_args(TrainConfig.model_fields["precision"].annotation)


def precisions(stage: Stage) -> list[str]:
    """List the precisions in which ``stage`` can train."""
    return [name for name in RECIPE_PRECISIONS if stage.cuda or name in ("fp32", "bf16")]


def batch_size(stage: Stage) -> int:
    """Utterances of a training step."""
    return 2 if stage.small else 12


def measure(stage: Stage) -> None:
    """Measure each kind of step against the published step."""
    model = PublishedDetector(stage.load(stage.published(), "float32"))
    published = published_step(stage, model, batch_size(stage), stage.device)[1]
    modes: dict[str, dict[str, Any]] = {name: {"precision": name} for name in precisions(stage)}
    for name in ("bf16", "fp32"):
        modes[f"{name}, activation checkpointing"] = {"precision": name, "activation_checkpointing": True}
    modes["bf16, Adam for each tensor"] = {"precision": "bf16", "adam": {"fused": False, "foreach": False}}
    modes["bf16, cuDNN times its algorithms"] = {"precision": "bf16", "deterministic": False}
    modes["bf16, four times the batch"] = {"precision": "bf16", "batch": 4 * batch_size(stage)}
    modes["bf16, compiled"] = {"precision": "bf16", "compile": True}
    for name, options in list(modes.items())[1::3] if stage.small else modes.items():
        needs = 60 if "compiled" in name else 12
        stage.attempt(SECTION, name, partial(mode, stage, published, name, **options), needs)


def published_step(
    stage: Stage, model: nn.Module, batch: int, device: torch.device
) -> tuple[torch.optim.Optimizer, Callable[[int], float]]:
    """Make the training step of the published computation: float32, weighted cross-entropy, Adam.

    Returns:
        The optimizer, and a function that does so many steps and returns the last loss.
    """
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-6, weight_decay=1e-4)
    waveforms, targets, *_ = training_batch(stage, batch)
    dtype = next(model.parameters()).dtype
    waveforms = waveforms.to(device, dtype)
    targets = targets.to(device)
    weights = torch.tensor([0.1, 0.9], device=device, dtype=dtype)

    def run(count: int) -> float:
        """Do ``count`` steps, and return the last loss."""
        for _ in range(count):
            loss = F.cross_entropy(model(waveforms), targets, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            printed = loss.item()  # as the published program does
        return printed

    return optimizer, run


def mode(
    stage: Stage, published: Run, name: str, *, deterministic: bool = True, batch: int | None = None, **options: Any
) -> None:
    """Measure steps of one kind and the published step in turn."""
    batch = batch or batch_size(stage)
    with TemporaryDirectory() as folder:
        trainer = make_trainer(stage, stage.published(), Path(folder), batch=batch, **options)
        step_batch = training_batch(stage, batch)
        steps = iter(range(10**9))

        def run(count: int) -> None:
            """Train ``count`` steps."""
            with as_in_a_run(trainer, deterministic):
                for _ in range(count):
                    trainer.train_step([step_batch], 1, next(steps), False)

        seconds = stage.race(SECTION, {REFERENCE: published, name: run}, 1.0, 3)
        if name not in seconds:
            return
        reference = batch_size(stage) / seconds[REFERENCE]
        speed = batch / seconds[name]
        columns = {"utterances/s": speed, "ms": 1e3 * seconds[name], "× published": speed / reference}
        columns["GiB added"] = stage.memory(lambda: run(1))  # to weights and Adam's averages
        stage.add(SECTION, name, batch=batch, **columns, loss=last_loss(trainer))


@contextmanager
def as_in_a_run(trainer: Trainer, deterministic: bool = True) -> Iterator[None]:
    """Set what `train` sets around the steps of an epoch."""
    precision = IN_SCORING[trainer.recipe.train.precision]
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=not deterministic, deterministic=deterministic)
    with cuda_algorithms(deterministic), cudnn, float32_products(precision):
        yield


def last_loss(trainer: Trainer) -> float:
    """The mean loss of the steps so far."""
    progress = trainer.state.progress
    return progress.loss_sum / max(1, progress.utterances)


def make_trainer(
    stage: Stage,
    checkpoint: Path,
    folder: Path,
    *,
    precision: str,
    batch: int,
    adam: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **train: Any,
) -> Trainer:
    """Make the trainer of a run that starts from ``checkpoint``, without a corpus.

    Args:
        folder: the run folder.
        adam: options of a plain Adam that replaces the project's optimizer.
        model: architecture of the checkpoint; None for XLS-R 300M and Nes2Net-X.
        train: further keys of a recipe's section `train`.
    """
    settings = {"batch_size": batch, "precision": precision, "epochs": 1, "lr": 1e-6, **train}
    folders = {"output": str(folder), "logs": str(folder / "logs")}
    recipe = recipe_from_dict(
        {"model": model or configuration(small=stage.small), "augment": {"algo": 0}, "train": settings, **folders}
    )
    accelerator = create_accelerator(str(stage.device), precision)
    detector = stage.load(checkpoint, "float32")
    stop: Any = SimpleNamespace(requested=0)
    objective = TrainingRun(recipe, create_task(recipe), accelerator, folder, stop).objective(detector)
    optimizer = create_optimizer(detector.parameters(), recipe.train)
    if adam is not None:
        optimizer = torch.optim.Adam(detector.parameters(), lr=recipe.train.lr, weight_decay=1e-4, **adam)
    selection = Selection(folder, recipe.train, recipe.validation, [])
    data = {name: {"trials": 1000 * batch, "digest": ""} for name in ("training", "development")}
    state = RunState(recipe.to_dict(), data, detector, optimizer, selection, accelerator.scaler)
    loader: Any = SimpleNamespace(batch_sampler=range(1000))  # the trainer asks the loader only for the number of steps
    validator: Any = None
    monitor = Monitor(selection, folder / "logs", shown=False)
    trainer = Trainer(recipe, objective, loader, validator, state, accelerator, monitor, stop)
    objective.begin_training(1)
    return trainer


def training_batch(stage: Stage, batch: int, seed: int = 0) -> Batch:
    """Make a batch of noise with alternating labels, as the loader gives it."""
    waveforms = stage.noise(batch, seed=seed)
    targets = torch.arange(batch) % 2
    if stage.cuda:
        waveforms = waveforms.pin_memory()
        targets = targets.pin_memory()
    return Batch(waveforms, targets, [], [], {})
