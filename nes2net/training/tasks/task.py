"""The task of a run: which trials it reads, what examples carry, the terms of the loss, and what is measured.

A recipe chooses it by its name, or by the settings that ask for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor

from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, check_known, listed, nearest, shown
from nes2net.models.registry import tasks
from nes2net.scoring.system_scores import check_system_scores
from nes2net.training.data import read_trials
from nes2net.training.frame_labels import FrameLabels
from nes2net.training.loop import Trainer
from nes2net.training.measures import ERROR_RATES, Measure
from nes2net.training.objective import Objective
from nes2net.training.recipes.recipe import Recipe


class Start(NamedTuple):
    """A file whose weights a new run starts from."""

    what: str
    #: of the recipe, which names it
    key: str
    #: None if it is not named yet
    path: str | None
    #: how to get it for a published result, with {} for the name of its recipe
    obtain: str


class Task:
    """What a run is about: one score an utterance, of two classes, unless a task says otherwise.

    A task is a subclass in a file of its own that overrides what differs (docs/extending.md). Data,
    loop, validation and resuming ask it and its objective; none of them names a task.

    Args:
        recipe: recipe of the run.

    Raises:
        InputError: if the recipe lacks what the task needs.
    """

    #: names of the K classes, bona fide last if it is one; the detector keeps them. They are known
    #: once the trials of training are read.
    classes: tuple[str, ...] = (SPOOF, BONAFIDE)
    #: the values of the development set that it offers for ``validation.select_on``, beside ``loss``
    #: and ``train_loss``; its objective computes them
    measures: Sequence[Measure] = ERROR_RATES
    #: how an epoch is trained
    trainer: ClassVar[type[Trainer]] = Trainer
    #: what a new run starts from besides ``ssl_checkpoint`` and ``train.init_from``
    start: Start | None = None

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @classmethod
    def is_asked_for(cls, recipe: Recipe) -> bool:
        """Whether settings of ``recipe`` ask for this task, without ``train.task``."""
        return False

    def reads(self, part: Literal["train", "dev"]) -> tuple[str, ...]:
        """Labels of the trials of ``part``; each must have some."""
        return SPOOF, BONAFIDE

    def trials(self, part: Literal["train", "dev"]) -> list[Trial]:
        """List the trials of ``part``; :class:`InputError` as :func:`read_trials`."""
        return read_trials(self.recipe.data, part, self.reads(part))

    def target(self, trial: Trial) -> int | None:
        """The class of ``trial``: a number from 0 to K − 1, its place in :attr:`classes`; None if it has none."""
        return trial.target

    def labels(self, part: Literal["train", "dev"], trials: Sequence[Trial]) -> FrameLabels | None:
        """Labels of the frames of ``trials``; None if frames are not trained on."""
        return None

    def carries(self, trial: Trial) -> Mapping[str, Tensor]:
        """What an example carries of its trial beside waveform and class, by name; tensors of one shape for all."""
        return {}

    def objective(self, detector: Detector) -> Objective:
        """The terms of the loss for ``detector``, and what validation measures.

        Raises:
            InputError: if they do not fit it.
        """
        return Objective(detector, self.recipe)

    def begin(self, detector: Detector) -> None:
        """Give ``detector``, which a new run has just built, the weights that this task starts from."""

    def check(self, detector: Detector, trials: Sequence[Trial]) -> None:
        """Raise :class:`InputError` if ``detector`` cannot be trained on ``trials``."""
        if detector.classes != self.classes:
            raise InputError(
                f"the classes are {listed(self.classes, 5)}, and the back-end has {listed(detector.classes, 5)}: leave "
                "num_logits and classes out of `model.backend`"
            )
        check_system_scores(trials, detector.num_scores)


def create_task(recipe: Recipe) -> Task:
    """Build what ``recipe`` trains: ``train.task``, or the task that other settings ask for.

    Raises:
        InputError: if there is no such task, the settings ask for several, they lack what the task
            needs, or ``validation.select_on`` is no measure of it.
    """
    setting = recipe.train.task
    task_options: dict[str, Any] = {}
    if isinstance(setting, str):
        task_options = {"name": setting}
    elif setting is not None:
        task_options = dict(setting)
    if task_options and not isinstance(task_options.get("name"), str):
        raise InputError("`train.task` needs a `name`, to which the other options belong")
    task_names = {name for name in tasks.names() if tasks.get(name).is_asked_for(recipe)}
    if task_options:
        task_names.add(task_options.pop("name"))
    if len(task_names) > 1:
        raise InputError(
            f"settings of the recipe ask for the tasks {' and '.join(sorted(task_names))}: keep one of them"
        )
    name = task_names.pop() if task_names else "utterance"
    if task_options:
        options = [option for option in inspect.signature(tasks.get(name)).parameters if option != "recipe"]
        check_known(task_options, options, f"task '{name}' has no option")
    task = tasks.create(name, recipe=recipe, **task_options)
    offered = ("loss", "train_loss", *(measure.name for measure in task.measures))
    if recipe.validation.select_on not in offered:
        raise InputError(
            f"`validation.select_on` is {', '.join(offered)} in the task '{name}', not "
            f"{shown(recipe.validation.select_on)}{nearest(recipe.validation.select_on, offered)}"
        )
    return task
