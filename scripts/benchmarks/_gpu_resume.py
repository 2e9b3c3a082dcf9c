"""Repeating and resuming: the same training steps twice, saved and loaded, and small runs that SIGTERM interrupts."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from _gpu import Stage, configuration
from _gpu_parity import WAV2VEC2
from _gpu_train import as_in_a_run, batch_size, make_trainer, precisions, training_batch
from torch import Tensor
from train import generated_trials

from nes2net.lib.errors import Unfinished
from nes2net.training import loop
from nes2net.training.loop import Trainer
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.resume_file import RESUME_FILE, read_resume_file
from nes2net.training.run import train

DROP = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.3}
#: Steps ``(epoch, step)`` in which a run is interrupted.
STOPS = ((1, 1), (2, 0))


def measure(stage: Stage) -> None:
    """Do both checks, for each precision."""
    for precision in precisions(stage)[: 1 if stage.small else None]:
        stage.attempt("steps", precision, partial(steps, stage, precision), 20)
    folder = stage.work / "resume"
    folder.mkdir()
    recordings(folder)
    kinds: dict[str, dict[str, Any]] = {precision: {"precision": precision} for precision in precisions(stage)}
    kinds["fp32, activation checkpointing"] = {"activation_checkpointing": True}
    for name, options in list(kinds.items())[: 1 if stage.small else None]:
        stage.attempt("interrupted runs", name, partial(interrupted, stage, folder, name, options), 12)


def steps(stage: Stage, precision: str) -> None:
    """Compare four full-size steps done twice, and once with a save and a load after two steps."""
    checkpoint = stage.checkpoint("with_dropout", configuration(small=stage.small, **DROP))
    batch = batch_size(stage)
    row: dict[str, Any] = {}

    @contextlib.contextmanager
    def new_trainer(folder: Path) -> Iterator[Trainer]:
        """A trainer with the initial weights; its memory is freed at the end."""
        yield make_trainer(stage, checkpoint, folder, precision=precision, batch=batch)
        stage.release()

    def train_steps(trainer: Trainer, numbers: range) -> None:
        """Train the steps ``numbers`` of the first epoch."""
        with as_in_a_run(trainer):
            for step in numbers:
                trainer.train_step([training_batch(stage, batch, seed=step)], 1, step, False)

    def weights(trainer: Trainer) -> list[Tensor]:
        """Copy the weights to the CPU."""
        return [p.detach().cpu().clone() for p in trainer.state.detector.parameters()]

    final_weights = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for _ in range(2):
            with new_trainer(folder) as uninterrupted:
                start = time.perf_counter()
                train_steps(uninterrupted, range(4))
                stage.synchronise()
                row["four steps, s"] = time.perf_counter() - start
                final_weights.append(weights(uninterrupted))
                del uninterrupted
        with new_trainer(folder) as first:
            train_steps(first, range(2))
            start = time.perf_counter()
            first.state.save()
            row["save, s"] = time.perf_counter() - start
            row["GB"] = (folder / RESUME_FILE).stat().st_size / 1e9
            del first
        torch.manual_seed(99)
        with new_trainer(folder) as second:
            start = time.perf_counter()
            second.state.load(read_resume_file(folder))
            stage.synchronise()
            row["load, s"] = time.perf_counter() - start
            train_steps(second, range(2, 4))
            resumed = weights(second)
            del second
    add(stage, "steps", precision, {"twice": gap(*final_weights), "resumed": gap(final_weights[0], resumed)}, **row)


def gap(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference of two lists of tensors: 0 only if all are equal bit for bit; NaN counts as a difference."""
    if all(torch.equal(x, y) for x, y in zip(a, b, strict=True)):
        return 0.0
    return max((x.double() - y.double()).abs().max().item() for x, y in zip(a, b) if x.numel()) or float("nan")


def add(stage: Stage, section: str, label: str, gaps: dict[str, float], **row: Any) -> None:
    """Add a row; it holds only if everything repeats bit for bit, as `train` promises."""
    holds = all(value == 0 for value in gaps.values())
    stage.add(section, label, **{f"{k}, largest": v for k, v in gaps.items()}, **row, holds=holds)


def recordings(folder: Path) -> None:
    """Write a corpus of a few seconds, with a training and a development part."""
    rows = generated_trials(folder, 20)
    with open(folder / "list.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([t.path.name, t.label, "train" if number < 12 else "dev"] for number, t in enumerate(rows))


def interrupted(stage: Stage, folder: Path, label: str, options: dict[str, Any]) -> None:
    """Compare runs of two epochs of three steps: two without interruption, and one that SIGTERM stops twice."""
    frontend = {**WAV2VEC2, **DROP}

    def recipe(name: str) -> Recipe:
        """Make the recipe of a run."""
        folders = {"output": str(folder / label / name), "logs": str(folder / label / name)}
        return recipe_from_dict(
            {
                "name": "small",
                "model": {"frontend": frontend, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
                "data": {"corpus": "generic", "root": str(folder / "list.csv"), "num_samples": 8000, "num_workers": 0},
                "augment": {"algo": 4},
                "train": {"epochs": 2, "batch_size": 4, "lr": 1e-3, **options},
                **folders,
            }
        )

    def run(name: str, stop: tuple[int, int] | None = None) -> list[Tensor]:
        """Train until the end or the step ``stop``; return weights and moments of Adam."""
        out = io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            patch.object(loop, "seed_step", stopping(loop.seed_step, stop)),
        ):
            run_folder = train(recipe(name), str(stage.device))
        content = torch.load(run_folder / RESUME_FILE, weights_only=True, map_location="cpu")
        moments = (t for state in content["optimizer"]["state"].values() for t in state.values())
        return [*content["detector"].values(), *(t for t in moments if isinstance(t, Tensor))]

    uninterrupted = run("whole")
    again = run("again")
    for stop in STOPS:
        try:
            run("torn", stop)
        except Unfinished:
            torch.manual_seed(99)
        else:
            raise RuntimeError(f"SIGTERM in epoch {stop[0]}, step {stop[1]} did not stop the run")
    resumed = run("torn")
    add(stage, "interrupted runs", label, {"twice": gap(uninterrupted, again), "resumed": gap(uninterrupted, resumed)})


def stopping(seed_step: Callable, stop: tuple[int, int] | None) -> Callable:
    """Wrap ``seed_step`` so that it sends SIGTERM to this process in the step ``stop``."""

    def seed_and_stop(seed: int, epoch: int, step: int, rank: int = 0) -> None:
        """Seed a step; in the step ``stop`` send SIGTERM first."""
        if (epoch, step) == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step, rank)

    return seed_and_stop
