"""The work of an experiment: its runs, and the jobs that train, score and evaluate them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from nes2net.apps.experiments.description import Average, EvaluationSet, Experiment
from nes2net.apps.experiments.jobs import EvaluateJob, Job, Run, ScoreJob, TrainJob
from nes2net.lib.errors import InputError
from nes2net.lib.files import Budget, json_text
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict

_LONGEST = 60  # characters of a grid point in the name of a folder
# planning a training takes 8 ms
_MOST_TRAININGS = 1000
_MOST_EVALUATIONS = 10_000


@dataclass(frozen=True)
class System:
    """A row of the table: a grid point (:class:`Run` has it, too), and which checkpoints of its runs are scored."""

    point: str
    average: Average

    @property
    def title(self) -> str:
        return f"{self.point}, {self.average.words}" if self.point else self.average.words


@dataclass(frozen=True)
class Task:
    """Jobs that one process does one after another: the training of a run, or all about one of its averages.

    ``needs`` is the name of the task that comes before it.
    """

    name: str
    jobs: list[Job]
    needs: str | None = None


@dataclass(frozen=True)
class Plan:
    """All jobs of an experiment whose files are in the folder ``out``."""

    experiment: Experiment
    out: Path
    runs: list[Run] = field(default_factory=list)

    @cached_property
    def tasks(self) -> list[Task]:
        """The training of each run, and after it a task for each average."""
        tasks = []
        resamples = self.experiment.num_resamples
        for run in self.runs:
            training = TrainJob(f"train {run.name}", run, None)
            first = f"train_{run.name}"
            tasks.append(Task(first, [training]))
            for average in self.experiment.averages:
                place = Path(run.name, average.name)
                of_it = f"{run.name} {average.name}"
                jobs: list[Job] = []
                scored: dict[str, ScoreJob] = {}
                for one in self.sets_of(run):
                    alike = one.model_dump_json(exclude={"name", "keys", "phase", "exclude"})
                    if alike not in scored:  # sets that differ in their labels alone share the scores
                        scores = self.out / "scores" / place / f"{one.title}.txt"
                        scored[alike] = ScoreJob(f"score {of_it} {one.title}", run, training, average, one, scores)
                        jobs.append(scored[alike])
                    page = self.out / "reports" / place / f"{one.title}.html"
                    name = f"evaluate {of_it} {one.title}"
                    jobs.append(EvaluateJob(name, run, scored[alike], one, resamples, page))
                tasks.append(Task(f"evaluate_{run.name}_{average.name}", jobs, first))
        return tasks

    @property
    def jobs(self) -> list[Job]:
        """All jobs, each after the jobs that it needs."""
        return [job for task in self.tasks for job in task.jobs]

    def sets_of(self, run: Run) -> list[EvaluationSet]:
        """The evaluation sets of ``run``: all, or only the sets of the corpus that it was trained without."""
        return [one for one in self.experiment.evaluate if one.title in run.sets]

    @property
    def systems(self) -> list[System]:
        points = dict.fromkeys(run.point for run in self.runs)
        return [System(point, average) for point in points for average in self.experiment.averages]

    def evaluations(self, system: System, one: EvaluationSet) -> list[EvaluateJob]:
        """The evaluations of ``system`` on ``one``, one for each seed."""
        return [
            job
            for job in self.jobs
            if isinstance(job, EvaluateJob)
            and (job.run.point, job.needs.average, job.tested) == (system.point, system.average, one)
        ]


def plan_experiment(experiment: Experiment, out: str | Path) -> Plan:
    """Work out the runs of ``experiment``, whose files go to the folder ``out``.

    Raises:
        InputError: if a recipe or a value of the grid is wrong, two runs would share a folder, or
            a corpus that is left out in turn is not trained on or not evaluated.
    """
    out = Path(out)
    keys = list(experiment.grid)
    columns = list(experiment.grid.values())
    trainings = math.prod(map(len, columns)) * len(experiment.seeds)
    evaluations = trainings * len(experiment.averages) * len(experiment.evaluate)
    for what, count, most in (
        ("trainings", trainings, _MOST_TRAININGS),
        ("evaluations", evaluations, _MOST_EVALUATIONS),
    ):
        Budget(f"experiment {experiment.name}", 0, most, remedy="make several experiments of it").take(
            what, steps=count
        )
    runs = []
    for chosen in itertools.product(*columns):
        settings = dict(zip(keys, chosen))
        point = ", ".join(f"{_short(key)} {_word(value)}".strip() for key, value in settings.items())
        overrides = {**experiment.overrides, **settings}
        source = overrides.pop("recipe", experiment.recipe)
        recipe = load_recipe(source, [f"{key}={_word(value)}" for key, value in overrides.items()])
        for left_out, sets in _in_turn(experiment, recipe).items():
            label = _label(settings, left_out)
            for seed in experiment.seeds:
                values = recipe.to_dict()
                values |= {"seed": seed, "output": str(out / "models"), "logs": str(out / "tensorboard")}
                values["comment"] = "_".join(filter(None, [recipe.comment, label])) or None
                if left_out is not None:
                    others = [corpus for corpus in values["data"]["corpora"] if corpus["alias"] != left_out]
                    values["data"] = {**values["data"], "corpora": others}
                name = f"{label}_seed{seed}" if label else f"seed{seed}"
                runs.append(Run(name, point, seed, recipe_from_dict(values), sets))
    if len({run.folder for run in runs}) < len(runs):
        raise InputError("two runs of the grid would share a folder: name the same values once")
    return Plan(experiment, out, runs)


def _in_turn(experiment: Experiment, recipe: Recipe) -> dict[str | None, frozenset[str]]:
    """Each corpus that is left out, by its alias, with the evaluation sets of it; None with all sets if none is.

    A set is one of a corpus if it has its alias as its name, or else if it is of the same corpus.
    """
    if not experiment.leave_one_out:
        return {None: frozenset(one.title for one in experiment.evaluate)}
    trained = [corpus for corpus in recipe.data.corpora if corpus.train_split is not None]
    if len(trained) < 2:
        raise InputError(f"leave_one_out needs at least two corpora in `data.corpora` that train, not {len(trained)}")
    found: dict[str | None, frozenset[str]] = {}
    for corpus in trained:
        called = [one.title for one in experiment.evaluate if one.title == corpus.called]
        sets = called or [one.title for one in experiment.evaluate if one.corpus == corpus.name]
        if not sets:
            raise InputError(f"leave_one_out trains without {corpus.called}, but no set of evaluate is of that corpus")
        if twice := [title for title in sets for others in found.values() if title in others]:
            raise InputError(
                f"evaluate's set {twice[0]} is of two corpora that are left out in turn: give each of these corpora a set "
                "that is named by its alias"
            )
        found[corpus.called] = frozenset(sets)
    if without := [one.title for one in experiment.evaluate if not any(one.title in sets for sets in found.values())]:
        raise InputError(
            f"evaluate has the set {without[0]}, which is of none of the corpora that are left out in turn"
        )
    return found


def _short(key: str) -> str:
    """The last part of a key; nothing for the recipe, whose name says it."""
    return "" if key == "recipe" else key.rpartition(".")[2]


def _word(value: Any) -> str:
    """A value as an override of a recipe is written."""
    return value if isinstance(value, str) else json_text(value, ensure_ascii=False)


def _label(settings: Mapping[str, Any], left_out: str | None) -> str:
    """A grid point as a part of folder names; long values are shortened, and numbered by a checksum."""
    words = [f"{_short(key)}{_word(value)}" for key, value in settings.items()]
    words += [f"without-{left_out}"] if left_out else []
    text = "_".join(re.sub(r"[^A-Za-z0-9_.+-]+", "-", word).strip("-.") for word in words)
    if len(text) <= _LONGEST and all(re.fullmatch(r"[A-Za-z0-9.+_-]*", word) for word in words):
        return text
    digest = sha256(json_text([dict(settings), left_out]).encode()).hexdigest()
    return f"{text[:_LONGEST].rstrip('-.')}-{digest[:6]}"
