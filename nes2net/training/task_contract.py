"""Check a task of another package: its examples, terms of the loss, and figures."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from nes2net.data.registry import corpora, effects
from nes2net.lib.errors import BrokenPart, InputError
from nes2net.lib.parts.contracts import PartCheck, blame_part
from nes2net.lib.parts.part_checks import is_skipped, preserve_random_state
from nes2net.lib.parts.registry import Registry, packages_of
from nes2net.training.dataset import StepPart, TrainingSet, collate
from nes2net.training.measures import Validated
from nes2net.training.objective import Objective, Outcome
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.registry import losses, tasks

_MAX_TRIALS = 1000  # largest number of trials among which examples of two classes are looked for


def check_task(task: Any, objective: Objective, dataset: TrainingSet) -> None:
    """Check a copy of ``objective`` on one example of each of two classes, in eval mode.

    Nothing is checked if reading an example would change later examples.

    Raises:
        BrokenPart: if the task breaks its contract.
    """
    if dataset.augmentation.in_turn or is_skipped(task.subject, objective):
        return
    check = PartCheck(task.subject)
    device = objective.detector.device
    with preserve_random_state(device):
        index_of_class: dict[Any, int] = {}
        for index, trial in enumerate(dataset.trials[:_MAX_TRIALS]):
            index_of_class.setdefault(check.call(task, "target", trial), index)
        examples = [check.call(dataset, "__getitem__", (1, index)) for index in [*index_of_class.values()][:2]]
        lengths = {0 if example.waveform is None else len(example.waveform) for example in examples}
        if len(lengths) > 1 or 0 in lengths:  # whole recordings, or a recording that cannot be read
            return
        with blame_part(task.subject, "extra_tensors", InputError):
            batch = collate(examples)
        objective = check.call(copy, "deepcopy", objective).eval()
        extra_tensors = check.call(objective, "prepare_extra_tensors", batch.part.extra_tensors, lengths.pop())
        part = batch.part._replace(extra_tensors=extra_tensors, iteration=0).to(device)
        numerators = check.call(objective, "forward", part)
        denominators = check.call(objective, "denominators", batch.part.targets, extra_tensors)
        check.tensor("numerators", numerators, (len(denominators),), ", a number for each of the denominators")
        features = check.call(objective, "features", part.inputs)
        outcome = check.call(objective, "validate", features, part)
        check.that(isinstance(outcome, Outcome), "outcome returned", outcome, "an Outcome")
        check.tensor("outcome", outcome.loss)
        outputs = {name: rows.double().cpu().numpy() for name, rows in outcome.outputs.items()}
        trials = [dataset.trials[example.trial_index] for example in examples]
        figures = None
        with suppress(InputError):  # two trials may be too few for the figures
            figures = objective.figures(Validated("wo_aug", trials, batch.part.targets.numpy(), outputs))
    if figures is not None:
        check_figures(task, "wo_aug", figures)


def packages_of_recipe(recipe: Recipe) -> dict[str, str]:
    """List the packages of loss, task, corpora and conditions of ``recipe``."""
    parts: list[tuple[Registry, Any]] = [(losses, recipe.train.loss), (tasks, recipe.train.task)]
    parts += [(corpora, corpus.name) for corpus in recipe.data.corpora]
    parts += [(effects, text.partition(":")[0]) for text in recipe.augment.conditions]
    return packages_of((registry, part["name"] if isinstance(part, dict) else part) for registry, part in parts)


def check_figures(task: Any, name: str, figures: Mapping[str, float]) -> None:
    """Raise :class:`BrokenPart` unless the figures of a pass are finite and have each measure of ``task``."""
    check = PartCheck(task.subject)
    for key, figure in figures.items():
        is_finite = isinstance(figure, (int, float)) and math.isfinite(figure)
        check.that(is_finite, f"figures returned for '{key}'", figure, "a finite number (float)")
    for measure in task.measures:
        column = measure.column(name)
        expected = f"the declared measure '{measure.name}', too, as '{column}'"
        check.that(column in figures, "figures returned", sorted(figures), expected)


def check_parts_finite(task: Any, objective: Objective, parts: Sequence[StepPart]) -> None:
    """Raise :class:`BrokenPart` if the first output that is not finite is another package's."""
    inputs = [part.inputs for part in parts if part.inputs.ndim == 2 and len(part.inputs)]
    with torch.no_grad():
        subjects = [objective.detector.part_not_finite(waveforms) for waveforms in inputs]
    subject = next((name for name in subjects if name is not None), None)
    if subject is None:  # the outputs of the detector are finite
        subject = objective.criterion.subject or task.subject
    if subject:
        raise BrokenPart(f"{subject}: gave numbers that are not finite for the batch: correct its code")
