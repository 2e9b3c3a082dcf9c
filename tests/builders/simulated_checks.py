"""What runs on the simulated device, and faults that it must find; a program that writes what it found as JSON.

python simulated_checks.py FILE, with this folder, ``scripts`` and ``scripts/benchmarks`` on PYTHONPATH.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from accelerate import Accelerator
from torch import Tensor

from builders.simulated_device import simulated_device, waits
from builders.systems import WAV2VEC2, samples_of, systems
from builders.training_steps import FRAME_SCORES, MODEL, SAMPLES, STEPS
from nes2net import Detector
from nes2net.lib.computing.devices import differentiable
from nes2net.scoring.kernel import scoring_mode, start
from nes2net.training.dataset import Batch, StepPart
from nes2net.training.distributed import create_accelerator
from nes2net.training.loop import Trainer
from nes2net.training.optimisation import create_optimizer
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.start import build_detector
from nes2net.training.state import Progress
from nes2net.training.tasks.task import create_task


def checked_system(name: str) -> dict[str, int]:
    """Logits and gradients on the device are those on the CPU; returns the waits of one forward pass and its gradient."""
    torch.manual_seed(1)  # with 0, MFA's deviation over its layers is nearly 0, and its gradient all rounding
    detector = Detector.from_config(systems()[name]).eval()
    waveforms = 0.1 * torch.randn(2, samples_of(detector, SAMPLES))

    def computed(detector, waveforms):
        with scoring_mode(detector), differentiable(detector.modules()):
            logits = detector(waveforms)
            logits.square().sum().backward()
        return logits.detach()

    expected = copy.deepcopy(detector)
    logits = computed(expected, waveforms)
    with simulated_device() as device:
        detector_there = detector.to(device)
        x = waveforms.to(device)
        waits.clear()
        logits_there = computed(detector_there, x)
        counted = dict(waits)
        assert_same(logits_there, logits, detector_there, expected)
    return counted


def whole_step(name: str) -> dict[str, int]:
    """A step of the training loop, from a batch to changed weights, is that on the CPU; returns the waits."""
    changes, extra_tensors = STEPS[name]
    recipe = recipe_from_dict({"model": MODEL, "data": {"num_samples": SAMPLES}, **changes})
    torch.manual_seed(0)
    task = create_task(recipe)
    detector = build_detector(recipe, Path("run"), None, task)
    batch = Batch(StepPart(0.1 * torch.randn(4, SAMPLES), torch.tensor([0, 1, 1, 0]), extra_tensors))
    accelerator = create_accelerator("cpu")

    def stepped(detector, device):
        with mock.patch.object(Accelerator, "device", device):
            objective = task.objective(detector.to(device))
            optimizer = create_optimizer(objective.trained_parameters(), recipe.train)
            around = SimpleNamespace(
                progress=Progress(epoch=1), optimizer=optimizer, selection=SimpleNamespace(history=[]), detector=detector,
                batch_sampler=range(3), report_failed_files=lambda errors: None, say=print, unused=0, requested=0,
            )  # fmt: skip
            trainer = Trainer(recipe, objective, around, around, around, accelerator, around, around)
            objective.begin_training(1)
            waits.clear()
            with mock.patch.object(optimizer, "zero_grad", autospec=True):  # the gradients are compared
                trainer.train_step([batch], 1, 0, False)
            counted = dict(waits)
            objective.eval()
            with torch.no_grad():
                ready = objective.prepare_extra_tensors(batch.part.extra_tensors, SAMPLES)
                on_device = batch.part._replace(extra_tensors=ready).to(device)
                objective.validate(objective.features(on_device.inputs), on_device)
            return torch.tensor(around.progress.loss), counted

    expected = copy.deepcopy(detector)
    loss = stepped(expected, torch.device("cpu"))[0]
    with simulated_device() as device:
        loss_there, counted = stepped(detector, device)
        assert_same(loss_there, loss, detector, expected)
    return counted


def assert_same(outputs: Tensor, expected: Tensor, detector_there: Detector, detector_here: Detector):
    torch.testing.assert_close(outputs.cpu(), expected, rtol=1e-4, atol=1e-5)
    pairs = [(a.grad, b.grad) for a, b in zip(detector_there.parameters(), detector_here.parameters(), strict=True)]
    for a, b in pairs:
        assert (a is None) == (b is None), "another parameter has a gradient"
    gradient_there = torch.cat([a.cpu().flatten() for a, _ in pairs if a is not None])
    gradient = torch.cat([b.flatten() for _, b in pairs if b is not None])
    assert (gradient_there - gradient).norm() <= 1e-4 * gradient.norm(), "the gradients differ"


def scored_batch() -> dict[str, int]:
    """Scores of a batch on the device; returns the waits."""
    torch.manual_seed(0)
    detector = Detector.from_config({"frontend": WAV2VEC2, "backend": FRAME_SCORES}).eval()
    waveforms = 0.1 * torch.randn(3, SAMPLES)
    with scoring_mode(detector):
        expected = start(detector, waveforms)()
        with simulated_device() as device:
            detector.to(device)
            waits.clear()
            scores = start(detector, waveforms)()
            counted = dict(waits)
    torch.testing.assert_close(torch.tensor(scores), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    return counted


#: Faults that only a second device shows, in what is computed of features, and how it refuses them.
FAULTS = {
    "CPU": (lambda x: x + torch.arange(x.shape[2]), "aten.add.Tensor mixes tensors of the CPU and of the device"),
    "a running sum": (lambda x: x.cumsum(1), "aten.cumsum.default has no deterministic CUDA kernel"),
    "numbers asked for in a loop": (lambda x: x * sum(value.item() for value in x[0, :, 0]), "25 waits"),
}


def planted(fault: str) -> dict[str, int]:
    """Compute with a fault, and its gradient: it is refused as expected, or its waits are counted."""
    compute, expected = FAULTS[fault]
    try:
        with simulated_device() as device:
            x = torch.ones(2, 25, 32).to(device).requires_grad_()
            waits.clear()
            compute(x).square().sum().backward()
            told = f"{sum(waits.values())} waits"
    except RuntimeError as refused:
        told = str(refused)
    assert expected in told, told
    return {}


def checks() -> Iterator[tuple[str, Callable[[], dict[str, int]]]]:
    """Every check by name; each returns how often the CPU waits, by place."""
    for name in systems():
        yield name, partial(checked_system, name)
    for name in STEPS:
        yield f"whole step, {name}", partial(whole_step, name)
    yield "a scored batch", scored_batch
    for fault in FAULTS:
        yield f"fault: {fault}", partial(planted, fault)


def main():
    results = {}
    for name, check in checks():
        try:
            results[name] = {"waits": check()}
        except Exception as error:
            results[name] = {"error": f"{type(error).__name__}: {error}"}
        print(name, results[name], file=sys.stderr, flush=True)
    Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
    os._exit(0)  # autograd's thread for the device does not end


if __name__ == "__main__":
    main()
