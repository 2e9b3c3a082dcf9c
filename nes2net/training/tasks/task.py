"""The task of a run: its trials, tensors of examples, terms of the loss, and measures.

A recipe chooses a task by its name, or by settings that imply it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import ClassVar, NamedTuple

from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, join_names, nearest, short_repr
from nes2net.lib.parts.contracts import Extension
from nes2net.lib.parts.options import name_and_options
from nes2net.scoring.system_scores import check_system_scores
from nes2net.training.dataset import Tensors
from nes2net.training.frame_labels import FrameLabels
from nes2net.training.loop import Trainer
from nes2net.training.measures import ERROR_RATES, Measure
from nes2net.training.objective import Objective
from nes2net.training.recipes.data import SetName
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.registry import tasks
from nes2net.training.trials import read_trials


class Start(NamedTuple):
    """A file with weights from which a new run starts."""

    #: name of the file in messages, such as "trained teacher"
    what: str
    #: key of the recipe that names the file
    key: str
    #: path of the file; None if the recipe does not name a file yet
    path: str | None
    #: how a user gets the file to reproduce a published result; {} stands for the name of the recipe
    obtain: str


class Task(Extension):
    """The task of a run. The base class trains a detector that gives each utterance one score, for two classes.

    Other tasks are subclasses (docs/extending.md). Data, loop, validation and resuming call the
    methods of the task and its objective; no code branches on the name of a task.

    Args:
        recipe: recipe of the run.

    Raises:
        InputError: if the recipe lacks what the task needs.
    """

    #: names of the K classes, as stored in the detector, bona fide last if it is a class; a
    #: subclass may set them when the training trials are read
    classes: tuple[str, ...] = (SPOOF, BONAFIDE)
    #: measures of the development set, which the objective computes; ``validation.select_on`` may be the name of one of
    #: them, ``loss`` or ``train_loss``
    measures: Sequence[Measure] = ERROR_RATES
    #: name of the judgement that evaluates the detectors of the task (:mod:`nes2net.scoring.judgement`)
    judgement: str = "scores"
    #: class that trains the epochs
    trainer: ClassVar[type[Trainer]] = Trainer
    #: class of the objective
    objective_class: ClassVar[type[Objective]] = Objective
    #: a file with weights from which a new run starts, besides ``ssl_checkpoint`` and ``train.init_from``; only of a
    #: task that ``train.task`` names
    start: Start | None = None
    #: setting of a recipe that implies the task unless it is empty or false; only of built-in tasks
    implied_by: ClassVar[str] = ""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def reads(self, part: SetName) -> tuple[str, ...]:
        """Choose the labels of the trials to read for ``part``; each label must have trials."""
        return SPOOF, BONAFIDE

    def trials(self, part: SetName) -> list[Trial]:
        """List the trials of ``part``; errors as for :func:`read_trials`."""
        return read_trials(self.recipe.data, part, self.reads(part))

    def target(self, trial: Trial) -> int | None:
        """Find the index of the trial's class in :attr:`classes`; None if it has no class."""
        return trial.target

    def labels(self, part: SetName, trials: Trials) -> FrameLabels | None:
        """Read labels of the frames of ``trials``; None if the task does not train on frames."""
        return None

    def extra_tensors(self, trial: Trial) -> Tensors:
        """Make the extra tensors of an example, of the same shapes for all trials: name → tensor."""
        return {}

    def objective(self, detector: Detector) -> Objective:
        """Make the objective: the terms of the loss, and the figures of validation.

        Raises:
            InputError: if the loss does not fit ``detector``.
        """
        return self.objective_class(detector, self.recipe)

    def begin(self, detector: Detector) -> None:
        """Load further weights, such as a teacher's, into the ``detector`` of a new run."""

    def check(self, detector: Detector, trials: Trials) -> None:
        """Raise :class:`InputError` if ``detector`` cannot be trained on ``trials``."""
        if detector.classes != self.classes:
            raise InputError(
                f"the training set has the classes {join_names(self.classes, 5)}, but `model.backend` has "
                f"{join_names(detector.classes, 5)}: remove num_logits and classes from `model.backend`"
            )
        check_system_scores(trials, detector.num_scores)


def create_task(recipe: Recipe) -> Task:
    """Build the task that ``train.task`` names, or that other settings of ``recipe`` imply.

    Raises:
        InputError: if the task is unknown, if the settings imply several tasks, if the recipe lacks
            a setting of the task, or if ``validation.select_on`` is not a measure of the task.
    """
    name, task_options = name_and_options({"task": recipe.train.task}, "task", "", tasks.given, "`train.task`")
    # The recipe must have a single task, whether named or implied.
    implied_by = {task: tasks.get(task).implied_by for task in tasks.names(installed=False)}
    task_names = {task for task, setting in implied_by.items() if setting and attrgetter(setting)(recipe)}
    if name:
        task_names.add(name)
    if len(task_names) > 1:
        raise InputError(
            f"settings of the recipe require several tasks, {' and '.join(sorted(task_names))}: keep the settings of only one"
        )
    name = task_names.pop() if task_names else "utterance"
    task = tasks.create(name, recipe=recipe, **task_options)
    tasks.check_part(name, task, lambda *_: None, type(task))  # its attributes
    offered = ("loss", "train_loss", *(measure.name for measure in task.measures))
    if recipe.validation.select_on not in offered:
        raise InputError(
            f"`validation.select_on` must be one of {', '.join(offered)} in the task '{name}', not "
            f"{short_repr(recipe.validation.select_on)}{nearest(recipe.validation.select_on, offered)}"
        )
    return task
