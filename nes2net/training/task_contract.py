"""Check a task of another package: what its examples carry, its terms of the loss, and its figures.

``check_task`` runs the objective on two examples before the first step; ``check_figures`` checks the
figures of each validation; ``part_at_fault`` finds the part that made a loss that is not finite.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from nes2net.lib.contracts import PartCheck
from nes2net.lib.errors import InputError
from nes2net.models.contract_checks import MOST_PARAMETERS, first_not_finite, random_features, undisturbed
from nes2net.models.registry import losses
from nes2net.training.dataset import TrainingSet, collate
from nes2net.training.measures import Measure, Validated
from nes2net.training.objective import Objective, Part
from nes2net.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from nes2net.training.tasks.task import Task


def check_task(subject: str, task: Task, objective: Objective, dataset: TrainingSet) -> None:
    """Check a task on two examples of ``dataset``: one training step and one validation, without a gradient.

    The objective is copied, except for a large front-end, whose output is replaced by random
    numbers. Nothing is checked if reading an example would change later examples, or if the back-end
    is large.

    Args:
        subject: name and package of the task, for messages.

    Raises:
        BrokenPart: if the task does not return what its contract says.
    """
    detector = objective.detector
    size = sum(parameter.numel() for parameter in detector.backend.parameters())
    if dataset.augmentation.in_turn or size > MOST_PARAMETERS:
        return
    check = PartCheck(subject)
    frontend = detector.frontend
    has_large_frontend = sum(parameter.numel() for parameter in frontend.parameters()) > MOST_PARAMETERS
    memo: dict[int, Any] = {id(frontend): frontend} if has_large_frontend else {}
    with undisturbed(detector.device), torch.no_grad():
        # Read an example of each of two classes.
        of_class: dict[Any, int] = {}
        for index, trial in enumerate(dataset.trials):
            of_class.setdefault(check.call("target", task.target, trial), index)
            if len(of_class) == 2:
                break
        for trial in (dataset.trials[index] for index in of_class.values()):
            carried = check.call("carries", task.carries, trial)
            is_mapping = isinstance(carried, Mapping) and all(map(torch.is_tensor, carried.values()))
            check.that(is_mapping, "carries returned", carried, "a mapping of names to tensors")
        examples = [dataset[1, index] for index in of_class.values()]
        if any(example.waveform is None for example in examples):
            return
        if len({example.waveform.shape for example in examples if example.waveform is not None}) > 1:
            examples = [examples[0], examples[0]]  # whole recordings have different lengths
        batch = check.call("carries", collate, examples)
        # Compute the terms of the loss, and the outcome of a validation.
        objective = check.call("a copy (copy.deepcopy)", copy.deepcopy, objective, memo).eval()
        carried = check.call("ready", objective.ready, batch.carried, batch.waveforms.shape[1])
        part = Part.of_batch(batch, carried, detector.device, 0)
        if has_large_frontend:
            features = random_features(detector.backend, 200)
        else:
            features = objective.features(part.inputs)
        computed = check.call("compute_outputs", objective.compute_outputs, features, part)
        denominators = check.call("denominators", objective.denominators, batch.targets, carried)
        numbers_fit = all(isinstance(number, (int, float)) and number >= 0 for number in denominators)
        check.that(numbers_fit, "denominators returned", denominators, "a list of numbers of at least 0")
        numerators = check.call("numerators", objective.numerators, computed, part)
        fits = isinstance(numerators, list) and len(numerators) == len(denominators)
        expected = f"a list of {len(denominators)} terms, as many as denominators returned"
        check.that(fits, "numerators returned", numerators, expected)
        for numerator in numerators:
            check.tensor("numerators", numerator)
        outcome = check.call("outcome", objective.outcome, computed, part._replace(iteration=None))
        fits = isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[1], Mapping)
        check.that(fits, "outcome returned", outcome, "an Outcome of the loss and the outputs by name")
        check.tensor("outcome", outcome.loss)
        outputs = {name: rows.double().cpu().numpy() for name, rows in outcome.outputs.items()}
    if len(of_class) == 2:
        trials = [dataset.trials[example.trial_index] for example in examples]
        validated = Validated("wo_aug", trials, batch.targets.numpy(), outputs)
        try:
            with undisturbed(detector.device):
                figures = objective.figures(validated)
        except InputError:  # two trials may be too few for the figures
            return
        except Exception:
            figures = check.call("figures", objective.figures, validated)
        check_figures(subject, task.measures, "wo_aug", figures)


def check_figures(subject: str, measures: Sequence[Measure], name: str, figures: Any) -> None:
    """Check the figures of the pass ``name``: a finite number for each of the declared ``measures``.

    Raises:
        BrokenPart: if a measure is missing, or a figure is not a finite number.
    """
    check = PartCheck(subject)
    check.that(isinstance(figures, Mapping), "figures returned", figures, "a mapping of keys to numbers")
    for key, figure in figures.items():
        is_finite = isinstance(figure, (int, float)) and math.isfinite(figure)
        check.that(is_finite, f"figures returned for '{key}'", figure, "a finite number (float)")
    for measure in measures:
        column = measure.column(name)
        expected = f"a number for the declared measure '{measure.name}' under '{column}'"
        check.that(column in figures, "figures returned", sorted(figures), expected)


def part_at_fault(task: Task | None, objective: Objective, parts: Sequence[Part], recipe: Recipe) -> str:
    """Find the part of another package whose output is the first one that is not finite, in a failed step.

    Returns:
        Kind, name and package of the part. The text is empty if the part is built in, or if its
        weights are not finite, because training has diverged.
    """
    loss = recipe.train.loss
    loss_name = loss if isinstance(loss, str) else loss["name"]
    task_subject = "" if task is None else task.subject
    detector = objective.detector
    with torch.no_grad():
        for part in parts:
            if not len(part.targets) or part.inputs.ndim == 3:
                continue
            name, is_finite = first_not_finite(detector, part.inputs)
            if not is_finite:
                return name
            computed = objective.compute_outputs(objective.features(part.inputs), part)
            numerators = objective.numerators(computed, part)
            if not torch.stack(numerators).isfinite().all():
                is_of_loss = not numerators[0].isfinite() and not losses.is_built_in(loss_name)
                return losses.subject(loss_name) if is_of_loss else task_subject
    return ""
