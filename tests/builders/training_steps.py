"""Recipes of every loss, task and adaptation, the extra tensors of their examples, and trainers without a corpus."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from builders.systems import WAV2VEC2, samples_of, systems
from nes2net.models.frontends.adaptation import KINDS
from nes2net.training.dataset import FRAMES, Batch, StepPart
from nes2net.training.distributed import create_accelerator
from nes2net.training.loop import Trainer
from nes2net.training.losses.by_name import with_head
from nes2net.training.monitor import Monitor
from nes2net.training.optimisation import create_optimizer
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.registry import losses
from nes2net.training.run import Run
from nes2net.training.sampling import EpochBatches
from nes2net.training.selection import Selection
from nes2net.training.start import build_detector
from nes2net.training.state import RunState
from nes2net.training.tasks.task import create_task

SPECTRUM = {"name": "lps", "n_fft": 320, "hop_length": 320, "num_bins": 32}
MODEL = {
    "frontend": SPECTRUM,
    "aggregation": "last",
    "backend": {"name": "asp_mlp", "hidden_dim": 8},
}
MPIF = {"name": "mpif_res2net", "planes": [4, 8], "blocks": [1, 1], "strides": [1, 2], "num_frames": 24}
FRAME_SCORES = {"name": "nes2net_x", "nes_ratio": [4, 4], "pool": None, "utterance": "min"}
SAMPLES = 8000
NUM_TRIALS = 400


def with_logits_of(loss: str) -> dict[str, Any]:
    """The model with the head and the number of logits of a loss."""
    backend = {**MODEL["backend"], "num_logits": losses.get(loss).num_logits or 2}
    return with_head({**MODEL, "backend": backend}, loss)


#: Recipes, and the extra tensors of their examples, by name.
STEPS = {}
_SMALL = {**MODEL, "frontend": WAV2VEC2}

_specmix = {"specmix": {"mix_labels": True}}
STEPS["Specmix"] = ({"model": {**MODEL, "backend": MPIF}, "augment": _specmix}, {})
STEPS["latent augmentation"] = ({"augment": {"latent": {"probability": 1.0}}}, {})
STEPS["adversarial training"] = ({"augment": {"adversarial": {"attack": "pgd:30", "steps": 2}}}, {})
_frame_labels = {FRAMES: torch.ones(4, 50, dtype=torch.int8)}
STEPS["segments"] = ({"model": {**MODEL, "backend": FRAME_SCORES}, "segments": {"resolutions": [20]}}, _frame_labels)
_fusion = {"model": {**_SMALL, "backend": {"name": "ensemble", "num_layers": 2}}}
_fusion["data"] = {"train_scores": [*"abcd"], "dev_scores": [*"abcd"]}
STEPS["fusion"] = (_fusion, {"scores": torch.rand(4, 4)})
_students = systems()["back-end one_class_distillation"]
STEPS["distillation"] = ({"model": _students, "train": {"task": "distillation"}}, {})
STEPS["a frozen front-end"] = ({"model": _SMALL, "train": {"freeze_frontend": True}}, {})
for _kind in KINDS:
    STEPS[f"adaptation {_kind}"] = ({"model": _SMALL, "train": {"adapt": {"kind": _kind}}}, {})
for _loss in losses.names():
    STEPS[f"loss {_loss}"] = ({"model": with_logits_of(_loss), "train": {"loss": _loss}}, {})


class Unread:
    """Stands in for the loader of a run: it knows which utterances a step has, and reads none."""

    def __init__(self, recipe: Recipe):
        trials = [SimpleNamespace(id=f"trial {number}") for number in range(NUM_TRIALS)]
        self.dataset = SimpleNamespace(trials=trials)
        self.batch_sampler = EpochBatches(NUM_TRIALS, recipe.train.batch_size, recipe.seed, shuffle=True)

    def begin(self, epoch: int, step: int):
        """Let the next iteration begin with ``step`` of ``epoch``."""
        self.batch_sampler.epoch = epoch
        self.batch_sampler.start = step


def recipe_of(changes: dict[str, Any], folder: Path) -> Recipe:
    """A recipe of a batch of four utterances of half a second, with ``changes`` to its sections."""
    train = {"batch_size": 4, "lr": 1e-3, "epochs": 1, **changes.get("train", {})}
    data = {"num_samples": SAMPLES, **changes.get("data", {})}
    folders = {"output": str(folder), "logs": str(folder / "logs")}
    return recipe_from_dict(
        {"model": MODEL, "augment": {"algo": 0}, **folders, **changes, "data": data, "train": train}
    )


def trainer_of(recipe: Recipe, folder: Path, device: str = "cpu") -> Trainer:
    """A trainer at the first step of a run that has no corpus; its weights come from seed 0."""
    torch.manual_seed(0)
    task = create_task(recipe)
    accelerator = create_accelerator(device, recipe.train.precision)
    detector = build_detector(recipe, folder, None, task).to(accelerator.device)
    never = SimpleNamespace(requested=0)
    objective = Run(recipe, task, accelerator, folder, never).objective(detector)
    optimizer = create_optimizer(objective.trained_parameters(), recipe.train)
    selection = Selection(folder, recipe.train, recipe.validation, [], task.measures)
    data = {name: {"trials": NUM_TRIALS, "digest": ""} for name in ("training", "development")}
    state = RunState(recipe, data, objective, optimizer, selection, accelerator.scaler)
    loader = Unread(recipe)
    validator = SimpleNamespace(task=task)
    monitor = Monitor(selection, folder / "logs", shown=False)
    trainer = task.trainer(recipe, objective, loader, validator, state, accelerator, monitor, never)
    objective.begin_training(1)
    return trainer


def batch_of(trainer: Trainer, step: int, extra_tensors: dict[str, Tensor], size: int = 4) -> Batch:
    """The batch of a step, of noise that its number seeds; one of the utterances is bona fide."""
    num_samples = samples_of(trainer.state.detector, SAMPLES)
    noise = torch.randn(size, num_samples, generator=torch.Generator().manual_seed(step))
    targets = (torch.arange(size) == step % size).long()
    return Batch(StepPart(0.1 * noise, targets, {name: tensor[:size] for name, tensor in extra_tensors.items()}))
