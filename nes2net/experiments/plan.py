"""The work of an experiment: its runs, and the jobs that train, average, score and evaluate them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from nes2net.errors import InputError, shown
from nes2net.experiments.description import Average, EvaluationSet, Experiment
from nes2net.experiments.jobs import AverageJob, EvaluateJob, Job, Run, ScoreJob, TrainJob
from nes2net.machine.files import json_text
from nes2net.recipes.recipe import Recipe, load_recipe, recipe_from_dict

_LONGEST = 60  # characters of a grid point in the name of a folder


@dataclass(frozen=True)
class System:
    """A row of the table: a grid point, and which checkpoints of its runs are scored."""

    point: str
    """The grid's values as a table names them; empty without a grid."""
    average: Average

    @property
    def title(self) -> str:
        """How the table calls it."""
        return f"{self.point}, {self.average.words}" if self.point else self.average.words


@dataclass(frozen=True)
class Task:
    """Jobs that one process does one after another: the training of a run, or all about one of its averages."""

    name: str
    jobs: list[Job]
    needs: str | None = None
    """Name of the task that comes before it."""


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
        for run in self.runs:
            training = TrainJob(run)
            first = f"train_{run.name}"
            tasks.append(Task(first, [training]))
            for average in self.experiment.averages:
                averaging = AverageJob(run, average, training)
                jobs: list[Job] = [averaging]
                scored: dict[str, ScoreJob] = {}
                for one in self.sets_of(run):
                    alike = one.model_dump_json(exclude={"name", "keys", "phase", "exclude"})
                    if alike not in scored:  # sets that differ in their labels alone share the scores
                        scored[alike] = ScoreJob(run, average, one, averaging, self.out)
                        jobs.append(scored[alike])
                    jobs.append(EvaluateJob(scored[alike], one, self.experiment.num_resamples))
                tasks.append(Task(f"evaluate_{run.name}_{average.name}", jobs, first))
        return tasks

    @property
    def jobs(self) -> list[Job]:
        """All jobs, each after those that it needs."""
        return [job for task in self.tasks for job in task.jobs]

    def sets_of(self, run: Run) -> list[EvaluationSet]:
        """The evaluation sets of ``run``: all, or those of the corpus that it was trained without."""
        sets = self.experiment.evaluate
        return sets if run.left_out is None else [one for one in sets if one.corpus == run.left_out]

    @property
    def systems(self) -> list[System]:
        """The rows of the table."""
        points = dict.fromkeys(run.point for run in self.runs)
        return [System(point, average) for point in points for average in self.experiment.averages]

    def evaluations(self, system: System, one: EvaluationSet) -> list[EvaluateJob]:
        """The evaluations of ``system`` on ``one``, one for each seed."""
        return [
            job
            for job in self.jobs
            if isinstance(job, EvaluateJob)
            and (job.run.point, job.scoring.average, job.tested) == (system.point, system.average, one)
        ]


def plan_experiment(experiment: Experiment, out: str | Path) -> Plan:
    """Work out the runs of ``experiment``, whose files go to the folder ``out``.

    Raises:
        InputError: if a recipe or a value of the grid is wrong, two runs would share a folder, or
            what is left out in turn is not trained on or not evaluated.
    """
    out = Path(out)
    keys, columns = list(experiment.grid), list(experiment.grid.values())
    runs = []
    for values in itertools.product(*columns):
        settings = dict(zip(keys, values))
        point = ", ".join(f"{_short(key)} {_word(value)}".strip() for key, value in settings.items())
        for left_out, without in _left_out(experiment, settings):
            for seed in experiment.seeds:
                label = _label(settings, left_out)
                recipe = _recipe(experiment, {**settings, **without}, seed, label, out)
                name = f"{label}_seed{seed}" if label else f"seed{seed}"
                runs.append(Run(name, point, seed, recipe, left_out))
    if len({run.folder for run in runs}) < len(runs):
        raise InputError("two runs of the grid would share a folder: name the same values once")
    if experiment.leave_one_out:
        tested = {one.corpus for one in experiment.evaluate}
        if lacking := [run.left_out for run in runs if run.left_out not in tested]:
            raise InputError(f"`leave_one_out` trains without {lacking[0]}, but no set of `evaluate` is of that corpus")
    return Plan(experiment, out, runs)


def _recipe(experiment: Experiment, settings: Mapping[str, Any], seed: int, label: str, out: Path) -> Recipe:
    values = {**experiment.overrides, **settings}
    source = values.pop("recipe", experiment.recipe)
    recipe = load_recipe(source, [f"{key}={_word(value)}" for key, value in values.items()])
    comment = "_".join(filter(None, [recipe.comment, label])) or None
    own = {"seed": seed, "output": str(out / "models"), "logs": str(out / "tensorboard"), "comment": comment}
    return recipe_from_dict({**recipe.to_dict(), **own})


def _left_out(experiment: Experiment, settings: Mapping[str, Any]) -> list[tuple[str | None, dict[str, Any]]]:
    """Each corpus that is left out with what then is set; one None if none is."""
    if not experiment.leave_one_out:
        return [(None, {})]
    given = {**experiment.overrides, **settings}
    entries = given.get("data.corpora") or load_recipe(given.get("recipe", experiment.recipe)).to_dict()["data"].get(
        "corpora"
    )
    if not isinstance(entries, list) or len(entries) < 2 or not all(isinstance(one, dict) for one in entries):
        raise InputError(
            f"`leave_one_out` needs at least two corpora in `data.corpora`, mappings with a name, not {shown(entries)}"
        )
    names = list(dict.fromkeys(str(one.get("name")) for one in entries))
    if len(names) < 2:
        raise InputError("`leave_one_out` needs corpora of at least two names in `data.corpora`")
    return [(name, {"data.corpora": [one for one in entries if str(one.get("name")) != name]}) for name in names]


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
