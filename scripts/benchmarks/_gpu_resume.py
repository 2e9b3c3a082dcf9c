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
    """Four steps of the detector in full size, twice, and with a save and a load after two of them."""
    checkpoint = stage.checkpoint("with_dropout", configuration(small=stage.small, **DROP))
    batch = batch_size(stage)
    row: dict[str, Any] = {}

    @contextlib.contextmanager
    def trainer(folder: Path) -> Iterator[Trainer]:
        yield make_trainer(stage, checkpoint, folder, precision=precision, batch=batch)
        stage.release()

    def go(through: Trainer, numbers: range) -> None:
        with as_in_a_run(through):
            for step in numbers:
                through.train_step([training_batch(stage, batch, seed=step)], 1, step, False)

    def weights(of: Trainer) -> list[Tensor]:
        return [p.detach().cpu().clone() for p in of.state.detector.parameters()]

    found = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for _ in range(2):
            with trainer(folder) as whole:
                start = time.perf_counter()
                go(whole, range(4))
                stage.synchronise()
                row["four steps, s"] = time.perf_counter() - start
                found.append(weights(whole))
                del whole
        with trainer(folder) as first:
            go(first, range(2))
            start = time.perf_counter()
            first.state.save()
            row["save, s"] = time.perf_counter() - start
            row["GB"] = (folder / RESUME_FILE).stat().st_size / 1e9
            del first
        torch.manual_seed(99)
        with trainer(folder) as second:
            start = time.perf_counter()
            second.state.load(read_resume_file(folder))
            stage.synchronise()
            row["load, s"] = time.perf_counter() - start
            go(second, range(2, 4))
            resumed = weights(second)
            del second
    add(stage, "steps", precision, {"twice": gap(*found), "resumed": gap(found[0], resumed)}, **row)


def gap(a: list[Tensor], b: list[Tensor]) -> float:
    """Largest difference; 0 only if all tensors are equal bit for bit, and NaN counts as a difference."""
    if all(torch.equal(x, y) for x, y in zip(a, b, strict=True)):
        return 0.0
    return max((x.double() - y.double()).abs().max().item() for x, y in zip(a, b) if x.numel()) or float("nan")


def add(stage: Stage, section: str, what: str, gaps: dict[str, float], **row: Any) -> None:
    """Add a row; everything must repeat bit for bit, as `train` promises."""
    holds = all(value == 0 for value in gaps.values())
    stage.add(section, what, **{f"{k}, largest": v for k, v in gaps.items()}, **row, holds=holds)


def recordings(folder: Path) -> None:
    """A corpus of a few seconds with training and development part."""
    rows = generated_trials(folder, 20)
    with open(folder / "list.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([t.path.name, t.label, "train" if number < 12 else "dev"] for number, t in enumerate(rows))


def interrupted(stage: Stage, folder: Path, what: str, options: dict[str, Any]) -> None:
    """A run of two epochs of three steps: twice without interruption, and stopped by SIGTERM in two steps."""
    frontend = {**WAV2VEC2, **DROP}

    def recipe(name: str) -> Recipe:
        places = {"output": str(folder / what / name), "logs": str(folder / what / name)}
        return recipe_from_dict(
            {
                "name": "small",
                "model": {"frontend": frontend, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
                "data": {"corpus": "generic", "root": str(folder / "list.csv"), "num_samples": 8000, "num_workers": 0},
                "augment": {"algo": 4},
                "train": {"epochs": 2, "batch_size": 4, "lr": 1e-3, **options},
                **places,
            }
        )

    def run(name: str, stop: tuple[int, int] | None = None) -> list[Tensor]:
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

    whole = run("whole")
    again = run("again")
    for stop in STOPS:
        try:
            run("torn", stop)
        except Unfinished:
            torch.manual_seed(99)
        else:
            raise RuntimeError(f"SIGTERM in epoch {stop[0]}, step {stop[1]} did not stop the run")
    torn = run("torn")
    add(stage, "interrupted runs", what, {"twice": gap(whole, again), "resumed": gap(whole, torn)})


def stopping(seed_step: Callable, stop: tuple[int, int] | None) -> Callable:
    """Send SIGTERM to this process in the step ``stop``."""

    def seed_and_stop(seed: int, epoch: int, step: int, rank: int = 0) -> None:
        if (epoch, step) == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step, rank)

    return seed_and_stop
