"""Steps that a CUDA graph replays equal steps without one, on the simulated CUDA device; a program that writes JSON.

scripts/simulated_cuda --run python graph_checks.py FILE [NAME …], with this folder on PYTHONPATH.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from _gpu_train import as_in_a_run
from simulated import rules
from simulated.checks import Workspace
from simulated.checks import recipe as tiny_recipe
from torch import Tensor

from builders.runs import history_of, same
from builders.systems import systems
from builders.training_steps import STEPS, batch_of, recipe_of, trainer_of, with_logits_of
from nes2net.lib.computing import cuda_graph
from nes2net.lib.errors import InputError
from nes2net.training.loop import Trainer
from nes2net.training.losses import AngularSoftmax
from nes2net.training.resume_file import read_resume_file
from nes2net.training.run import train as train_run

PRECISIONS = ("fp32", "tf32", "bf16")
#: Utterances of each step: two steps come before the graph is recorded, and one has another shape.
SIZES = (4, 4, 4, 4, 3, 4)
SMALL = {"frontend": systems()["back-end nes2net_x"]["frontend"], "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1}
IN_PARTS = {"accumulate": 2, "batch_size": 8}
#: Changes of a recipe by name: parts of a step, clipping, dropout, groups of learning rates.
SETTINGS = {
    "accumulate": {"train": {**IN_PARTS, "max_grad_norm": 0.1, "schedule": "cosine", "warmup_steps": 3}},
    "dropout": {"model": {**SMALL, "frontend": {**SMALL["frontend"], **DROPOUT}}, "train": IN_PARTS},
    "layer decay": {"model": SMALL, "train": {"layer_decay": 0.5, "optimizer": "adamw", "amsgrad": True}},
    "layer drop": {"model": {**SMALL, "frontend": {**SMALL["frontend"], "encoder_layerdrop": 0.3}}},
}


def checks() -> Iterator[tuple[str, dict[str, Any], dict[str, Tensor]]]:
    """Every system, task, loss and setting: name, recipe, and the extra tensors of its examples."""
    for name, model in systems().items():
        yield name, {"model": model}, {}
    for name, (changes, extra_tensors) in STEPS.items():
        yield name, changes, extra_tensors
    for name, changes in SETTINGS.items():
        yield name, {"model": SMALL, **changes}, {}


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Everything that a step changes, on the CPU."""
    weights = {name: tensor.cpu() for name, tensor in trainer.state.detector.state_dict().items()}
    moments = {}
    for number, parameter in enumerate(trainer.state.detector.parameters()):
        for name, moment in trainer.state.optimizer.state.get(parameter, {}).items():
            moments[f"{number}.{name}"] = moment.cpu()
    return {"weights": weights, "moments": moments, "loss": trainer.state.progress.loss_sum}


@contextmanager
def told(trainer: Trainer) -> Iterator[list[str]]:
    """Collect what is said of the recording of steps."""
    lines = []
    trainer.recorded_step.tell = lines.append
    yield lines


def steps_of(trainer: Trainer, numbers: range, extra_tensors: dict[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Train the steps ``numbers``; yields the state after each of them."""
    accumulate = trainer.recipe.train.accumulate
    with as_in_a_run(trainer):
        for step in numbers:
            part_numbers = range(step * accumulate, (step + 1) * accumulate)
            batches = [batch_of(trainer, number, extra_tensors, SIZES[step]) for number in part_numbers]
            trainer.train_step(batches, 1, step, False)
            trainer.read_result()
            yield state_of(trainer)


def with_train(changes: dict[str, Any], **train) -> dict[str, Any]:
    """``changes`` with further keys of the section `train`."""
    return {**changes, "train": {**changes.get("train", {}), **train}}


def checked(changes: dict[str, Any], extra_tensors: dict[str, Tensor], precision: str) -> dict[str, Any]:
    """Which steps with a graph differ from steps without one in any bit, and what became of the graph."""
    states = {}
    with tempfile.TemporaryDirectory() as folder:
        for graph in ("never", "auto"):
            recipe = recipe_of(with_train(changes, precision=precision, graph=graph), Path(folder))
            trainer = trainer_of(recipe, Path(folder), "cuda")
            recordable = [trainer.recorded_step.is_recordable]
            with told(trainer) as lines:
                states[graph] = list(steps_of(trainer, range(len(SIZES)), extra_tensors))
    pairs = zip(states["auto"], states["never"], strict=True)
    refused = list(rules.refusals)
    rules.refusals.clear()
    return {
        "different": [step for step, pair in enumerate(pairs) if not same(*pair)],
        "trained": not same(states["auto"][0]["weights"], states["auto"][-1]["weights"]),
        "recorded": trainer.recorded_step.graph is not None,
        "recordable": [*recordable, trainer.recorded_step.is_recordable],
        "why not": trainer.recorded_step.obstacle,
        "told": lines,
        "refused": refused[:1],
    }


def resumed(precision: str) -> dict[str, bool]:
    """Whether runs that are saved after a replayed step, and resumed with or without a graph, end as without a stop."""
    changes = with_train(SETTINGS["dropout"], precision=precision)
    recipes = {}
    is_same = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for graph in ("auto", "never"):
            recipes[graph] = recipe_of(with_train(changes, graph=graph), folder)
        trainer = trainer_of(recipes["never"], folder, "cuda")
        *_, uninterrupted = steps_of(trainer, range(6), {})
        for before, after in itertools.product(recipes, recipes):
            trainer = trainer_of(recipes[before], folder, "cuda")
            list(steps_of(trainer, range(3), {}))
            trainer.state.save()
            trainer = trainer_of(recipes[after], folder, "cuda")
            for parameter in trainer.state.detector.parameters():
                parameter.data.zero_()
            saved_state = read_resume_file(folder)
            trainer.state.load(saved_state)
            *_, end = steps_of(trainer, range(3, 6), {})
            is_same[f"{before}, {after}"] = same(end, uninterrupted)
    return is_same


def not_finite(graph: str) -> dict[str, Any]:
    """What a step with a waveform that is not a number changes, and what the step after it says."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = recipe_of(with_train({"model": SMALL}, graph=graph), Path(folder))
        trainer = trainer_of(recipe, Path(folder), "cuda")
        *_, before = steps_of(trainer, range(4), {})
        batch = batch_of(trainer, 4, {})
        batch.part.inputs[2, 100] = float("nan")
        message = ""
        with as_in_a_run(trainer):
            trainer.train_step([batch], 1, 4, False)
            after = state_of(trainer)
            try:
                trainer.train_step([batch_of(trainer, 5, {})], 1, 5, False)
            except InputError as error:
                message = str(error)
        trainer.loader.begin(1, 4)
        items = next(iter(trainer.loader.batch_sampler))
    changed = {name for name in before["moments"] if not same(before["moments"][name], after["moments"][name])}
    for name, tensor in before["weights"].items():
        if "running" not in name and "num_batches" not in name and not same(tensor, after["weights"][name]):
            changed.add(name)
    names = [f"trial {index}" for _, index in items]
    return {"changed": sorted(changed), "message": message, "utterances": ", ".join(names)}


def drawing_on_the_cpu() -> list[str]:
    """The lines about a front-end from elsewhere that draws random numbers on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(recipe_of({"model": SMALL}, Path(folder)), Path(folder), "cuda")
        trainer.objective.register_forward_hook(lambda *of_call: of_call[-1] * torch.rand(()).item())
        with told(trainer) as lines:
            list(steps_of(trainer, range(4), {}))
        return lines


def undeclared() -> str:
    """The error of a loss from elsewhere that changes although it does not say so."""
    with tempfile.TemporaryDirectory() as folder:
        loss = with_train({"model": with_logits_of("angular_softmax")}, loss="angular_softmax")
        with mock.patch.object(AngularSoftmax, "changes_with_steps", False):
            trainer = trainer_of(recipe_of(loss, Path(folder)), Path(folder), "cuda")
        try:
            list(steps_of(trainer, range(4), {}))
        except InputError as error:
            return str(error)
    return ""


def whole_runs(precision: str) -> dict[str, Any]:
    """What two epochs of three steps each say of graphs; and whether they equal those without graphs, with validation.

    ``recorded`` counts the graphs of steps and validations.
    """
    histories = {}
    graphs = []
    init = cuda_graph.Graph.__init__

    def counted(graph, *args, **options):
        """Count a graph, and record it."""
        graphs.append(graph)
        init(graph, *args, **options)

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder))
        for graph in ("never", "auto"):
            changes = {"train": {"precision": precision, "graph": graph}, "validation": {"batch_size": 4}}
            printed = io.StringIO()
            with (
                redirect_stdout(printed),
                redirect_stderr(io.StringIO()),
                mock.patch.object(cuda_graph.Graph, "__init__", counted),
            ):
                run_folder = train_run(tiny_recipe(workspace, graph, changes), "cuda")
            histories[graph] = history_of(run_folder)
    lines = [line for line in printed.getvalue().splitlines() if "CUDA graph" in line]
    return {"lines": lines, "same": same(histories["never"], histories["auto"]), "recorded": len(graphs)}


def main():
    file, *names = sys.argv[1:]
    precisions = ("fp32", "bf16") if names else PRECISIONS
    outcomes = {}
    for name, changes, extra_tensors in checks():
        if names and name not in names:
            continue
        for precision in precisions:
            try:
                outcomes[f"{name}, {precision}"] = checked(changes, extra_tensors, precision)
            except Exception as error:
                outcomes[f"{name}, {precision}"] = {"error": f"{type(error).__name__}: {error}"}
            print(name, precision, outcomes[f"{name}, {precision}"], file=sys.stderr, flush=True)
    outcomes["resumed"] = {precision: resumed(precision) for precision in precisions}
    outcomes["not finite"] = {graph: not_finite(graph) for graph in ("auto", "never")}
    outcomes["drawing on the CPU"] = drawing_on_the_cpu()
    outcomes["undeclared"] = undeclared()
    outcomes["runs"] = {precision: whole_runs(precision) for precision in precisions}
    Path(file).write_text(json.dumps(outcomes), encoding="utf-8")
    os._exit(0)  # autograd's thread for the device does not end


if __name__ == "__main__":
    main()
