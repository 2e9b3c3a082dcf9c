"""The task of a recipe, by its name or by the settings that ask for it."""

from __future__ import annotations

import inspect

from nes2net.errors import InputError, check_known
from nes2net.recipes.recipe import Recipe
from nes2net.registry import Registry
from nes2net.training.tasks.task import Task

tasks: Registry[Task] = Registry(
    "task",
    "nes2net.tasks",
    {
        "utterance": "nes2net.training.tasks.task:Task",
        "segments": "nes2net.training.tasks.segments:Segments",
        "fusion": "nes2net.training.tasks.fusion:Fusion",
        "distillation": "nes2net.training.tasks.distillation:Distillation",
        "logistic": "nes2net.training.tasks.logistic:Logistic",
    },
)


def create_task(recipe: Recipe) -> Task:
    """Build what ``recipe`` trains: ``train.task``, or the task that other settings ask for.

    Raises:
        InputError: if there is no such task, the settings ask for several, or they lack what the
            task needs.
    """
    chosen = recipe.train.task
    named = {} if chosen is None else {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    if named and not isinstance(named.get("name"), str):
        raise InputError("`train.task` needs a `name`, which says whose options the others are")
    asked = {name for name in tasks.names() if tasks.get(name).is_asked_for(recipe)}
    asked |= {named.pop("name")} if named else set()
    if len(asked) > 1:
        raise InputError(f"settings of the recipe ask for the tasks {' and '.join(sorted(asked))}: take those of one")
    name = asked.pop() if asked else "utterance"
    if named:
        options = [option for option in inspect.signature(tasks.get(name)).parameters if option != "recipe"]
        check_known(named, options, f"task '{name}' has no option")
    return tasks.create(name, recipe=recipe, **named)
