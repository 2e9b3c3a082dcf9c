"""Check a task of another package: its examples, terms of the loss, and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.registry import corpora, effects
from nes2net.lib.errors import BrokenPart, InputError
from nes2net.lib.parts.contracts import PartCheck, blame_part
from nes2net.lib.parts.part_checks import TinyBatch, check_part, copy_of, preserve_random_state
from nes2net.lib.parts.registry import Registry, packages_of
from nes2net.scoring.registry import judgements
from nes2net.training.dataset import StepPart, TrainingSet, collate
from nes2net.training.measures import Validated
from nes2net.training.objective import Objective, Outcome
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.registry import losses, tasks

_MAX_TRIALS = 1000  # largest number of trials among which examples of two classes are looked for


def check_task(task: Any, objective: Objective, dataset: TrainingSet) -> None:
    """Check a copy of ``objective`` on examples of two classes.

    Nothing is checked if reading an example would change later examples.

    Raises:
        BrokenPart: if the task breaks its contract.
    """
    if dataset.augmentation.in_turn:
        return
    check = PartCheck(task.subject)
    check.call(judgements, "get", task.judgement)
    with preserve_random_state(objective.detector.device):
        first_trials = dataset.trials[:_MAX_TRIALS]
        index_of_class = {check.call(task, "target", trial): index for index, trial in enumerate(first_trials)}
        indices = [*index_of_class.values(), 0][:3]
        length = dataset.num_samples or ASVSPOOF_SAMPLES
        examples = [check.call(dataset, "__getitem__", (1, index, length)) for index in indices]
        with blame_part(task.subject, "extra_tensors", InputError):
            batch = collate(examples)
        if not batch.trial_indices:  # no recording can be read
            return
        trials = [first_trials[index] for index in batch.trial_indices]
        extra_tensors = check.call(objective, "prepare_extra_tensors", batch.part.extra_tensors, length)

        def compute(check: PartCheck, objective: Any, inputs: Tensor) -> list[Tensor]:
            targets = batch.part.targets
            with blame_part(task.subject, "denominators"):
                denominators = torch.tensor(objective.denominators(targets, extra_tensors))
            part = StepPart(inputs, targets, extra_tensors).to(objective.detector.device)
            if objective.training:  # in eval mode, it computes as for development trials
                part = part._replace(iteration=0)
            numerators = check.call(objective, "forward", part)
            check.shape("numerators", numerators, denominators.shape, ", a number for each of the denominators")
            # A term of 0 / 0 counts as 0.
            check.tensor("numerators / denominators", numerators.cpu() / denominators.clamp(1e-45), denominators.shape)
            if torch.is_grad_enabled():
                return [numerators]
            outcome = check.call(objective, "validate", objective.features(part.inputs), part)
            check.that(isinstance(outcome, Outcome), "outcome returned", outcome, "an Outcome")
            check.tensor("outcome", outcome.loss)
            outputs = {}
            for name, rows in outcome.outputs.items():
                check.shape("outcome", rows, rows.shape)
                outputs[name] = rows.double().cpu().numpy()
            try:
                figures = objective.figures(Validated("wo_aug", trials, targets.numpy(), outputs))
            except InputError:  # these trials may be too few
                return [numerators]
            check_figures(task, "wo_aug", figures)
            return [numerators]

        check_part(
            task.subject,
            objective,
            lambda *_: TinyBatch("numerators", [batch.part.inputs], compute, join=None),
            partial(copy_of, check, objective),
        )


def packages_of_recipe(recipe: Recipe) -> dict[str, str]:
    """List the packages of loss, task, corpora and conditions of ``recipe``."""
    parts: list[tuple[Registry, Any]] = [(losses, recipe.train.loss), (tasks, recipe.train.task)]
    parts += [(corpora, corpus.name) for corpus in recipe.data.corpora]
    parts += [(effects, text.partition(":")[0]) for text in recipe.augment.conditions]
    return packages_of((registry, part["name"] if isinstance(part, dict) else part) for registry, part in parts)


def check_figures(task: Any, name: str, figures: Mapping[str, float]) -> None:
    """Raise :class:`BrokenPart` unless the figures of a pass are finite and have each measure of ``task``."""
    check = PartCheck(task.subject)
    check.that(isinstance(figures, dict), "figures returned", figures, "a dictionary")
    for key, figure in figures.items():
        is_finite = isinstance(figure, (int, float)) and math.isfinite(figure)
        check.that(is_finite, f"figures returned for '{key}'", figure, "a finite number (float)")
    for measure in task.measures:
        column = measure.column(name)
        check.that(
            column in figures,
            "figures returned",
            sorted(figures),
            f"the declared measure '{measure.name}', too, as '{column}'",
        )


def check_parts_finite(task: Any, objective: Objective, parts: Sequence[StepPart]) -> None:
    """Raise :class:`BrokenPart` if the first output that is not finite is another package's."""
    for step_part in parts:
        if step_part.inputs.ndim == 2 and len(step_part.inputs):
            with torch.no_grad():
                subject = objective.detector.part_not_finite(step_part.inputs)
                is_loss_finite = objective(step_part)[0].isfinite()
            if subject is None:
                subject = task.subject if is_loss_finite else objective.criterion.subject or task.subject
            if subject:
                raise BrokenPart(f"{subject}: gave numbers that are not finite for the batch: correct its code")
