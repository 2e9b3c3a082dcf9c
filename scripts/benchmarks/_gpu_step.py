"""Compare a training step of the published recipe with the published computation on the CPU: loss and gradients."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _gpu import Stage, relative
from _gpu_parity import GRADIENTS, LOGITS
from _gpu_train import as_in_a_run, make_trainer, precisions, published_steps, training_batch
from _published import PublishedDetector, PublishedTraining
from torch import Tensor

from nes2net.lib.process.this_process import usable_processors

SECTION = "training step against the published program"
BATCH = 4


def measure(stage: Stage) -> None:
    """Do the comparison."""
    if stage.cuda:
        torch.set_num_threads(usable_processors())  # for the reference
    stage.attempt(SECTION, "published recipe", partial(compare, stage), 30)


def compare(stage: Stage) -> None:
    """Compare one step, published and in each precision of a recipe, with the published computation in float64.

    Waveforms and weights are the same. In float32 the step must be about as close to float64 as the
    published computation in float32 is; of tiny models, only the loss must be.
    """
    exact, gradients = of_published(stage, "float64")
    loss, computed_gradients = of_published(stage, "float32")
    limits = {"loss": abs(loss - exact) / exact, "gradient": gap(computed_gradients, gradients)}
    stage.add(SECTION, "published, float32, CPU", value=loss, **limits)
    for precision in precisions(stage):
        with TemporaryDirectory() as folder:
            trainer = make_trainer(stage, stage.published(), Path(folder), precision=precision, batch=BATCH)
            with as_in_a_run(trainer):
                trainer.train_step([training_batch(stage, BATCH)], 1, 0, False)
        loss = trainer.state.progress.loss
        computed_gradients = of_first_step(trainer.state.detector, trainer.state.optimizer)
        errors: dict[str, Any] = {"loss": abs(loss - exact) / exact, "gradient": gap(computed_gradients, gradients)}
        if not any(gradient.any() for gradient in computed_gradients.values()):
            errors["gradient"] = None  # the GradScaler of fp16 skips its first steps until its scale fits
        holds = None
        if precision == "fp32":
            # Where rounding changes the side of a ReLU's kink, the gradient jumps. Only many frames average this.
            is_close = stage.small or errors["gradient"] <= max(GRADIENTS, 3 * limits["gradient"])
            holds = errors["loss"] <= LOGITS and is_close
        stage.add(SECTION, precision, value=loss, **errors, holds=holds)


def of_published(stage: Stage, precision: str) -> tuple[float, dict[str, Tensor]]:
    """Compute loss and gradients of the published step on the CPU."""
    published = PublishedDetector(stage.load(stage.published(), precision, "cpu"))
    training = PublishedTraining(published)
    loss = published_steps(stage, training, BATCH)(1)
    return loss, of_first_step(published, training.optimizer)


def gap(computed: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The relative difference of all gradients together.

    Args:
        computed, expected: gradients by their published names; names that ``expected`` lacks do not count.
    """
    rows = []
    for gradients in (computed, expected):
        rows.append(torch.cat([gradients[name].flatten().cpu().double() for name in sorted(expected)]))
    return relative(*rows)


def of_first_step(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Compute the gradients of the first step of Adam, by their published names.

    The first moment of Adam is then a tenth of the gradient. The parameters of ``model`` are
    overwritten.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            moment = optimizer.state[parameter].get("exp_avg")
            parameter.zero_() if moment is None else parameter.copy_(10 * moment)
    buffers = {f"{half}.{name}" for half in ("frontend", "backend") for name, _ in getattr(model, half).named_buffers()}
    states = {half: getattr(model, half).state_dict() for half in ("frontend", "backend")}
    tensors = {f"{half}.{name}": tensor for half, state in states.items() for name, tensor in state.items()}
    return {name.replace("frontend.model.", "frontend."): tensors[name] for name in tensors.keys() - buffers}
