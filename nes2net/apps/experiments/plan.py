"""Plan the work of an experiment: its runs, and the jobs that train, score and evaluate them."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from nes2net.apps.experiments.description import Average, Experiment
from nes2net.apps.experiments.jobs import EvaluateJob, ExperimentRun, Job, ScoreJob, TrainJob
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import AnyPath, Budget, json_text, path_below
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict

_MAX_LABEL = 60  # largest number of characters of a grid point in the name of a folder
_MAX_TRAININGS = 1000  # largest number of trainings; planning a training takes 8 ms
_MAX_EVALUATIONS = 10_000


class System(NamedTuple):
    """A row of the table: a grid point (see :class:`ExperimentRun`), and the average of checkpoints to score."""

    point: str
    average: Average

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.point, self.average.words)))


@dataclass(frozen=True)
class JobGroup:
    """A training, or the other jobs of one average; one process does them after the task ``needs``."""

    name: str
    jobs: list[Job]
    needs: str | None = None


@dataclass(frozen=True)
class ExperimentPlan:
    """The runs of an experiment, and what follows from them: tasks, jobs and evaluations; ``out`` is its folder."""

    experiment: Experiment
    out: Path
    runs: list[ExperimentRun]

    @cached_property
    def tasks(self) -> list[JobGroup]:
        """For each run the training, then a task for each average of checkpoints."""
        tasks = []
        for run in self.runs:
            training = TrainJob(f"train {run.name}", run, None)
            training_task = f"train_{run.name}"
            tasks.append(JobGroup(training_task, [training]))
            for average in self.experiment.averages:
                jobs = self._scoring_jobs(run, average, training)
                tasks.append(JobGroup(f"evaluate_{run.name}_{average.name}", jobs, training_task))
        return tasks

    def _scoring_jobs(self, run: ExperimentRun, average: Average, training: TrainJob) -> list[Job]:
        score_folder = path_below(self.out, "scores", run.name, average.name)
        report_folder = path_below(self.out, "reports", run.name, average.name)
        jobs: list[Job] = []
        scorings: dict[str, ScoreJob] = {}
        for tested in self.experiment.evaluate:
            if tested.title not in run.sets:
                continue
            subject = f"{run.name} {average.name} {tested.title}"
            # Sets that differ only in these fields have the same scores.
            score_settings = tested.model_dump_json(exclude={"name", "keys", "phase", "exclude"})
            if score_settings not in scorings:
                scores = path_below(score_folder, f"{tested.title}.txt")
                scorings[score_settings] = ScoreJob(f"score {subject}", run, training, average, tested, scores)
                jobs.append(scorings[score_settings])
            page = report_folder / f"{tested.title}.html"
            num_resamples = self.experiment.num_resamples
            jobs.append(EvaluateJob(f"evaluate {subject}", run, scorings[score_settings], tested, num_resamples, page))
        return jobs

    @property
    def jobs(self) -> list[Job]:
        """All jobs; each comes after the job that it needs."""
        return list(itertools.chain.from_iterable(task.jobs for task in self.tasks))

    def evaluations(self) -> dict[System, dict[str, list[EvaluateJob]]]:
        """Return system → title of an evaluation set → its jobs, one for each seed."""
        evaluations: dict[System, dict[str, list[EvaluateJob]]] = {}
        for job in self.jobs:
            if isinstance(job, EvaluateJob):
                by_set = evaluations.setdefault(System(job.run.point, job.needs.average), {})
                by_set.setdefault(job.tested.title, []).append(job)
        return evaluations


def plan_experiment(experiment: Experiment, out: AnyPath) -> ExperimentPlan:
    """Plan the runs of ``experiment``.

    Raises:
        InputError: if the experiment is too large; if a recipe or a value of the grid is wrong; if
            two runs would share a folder; or if, with `leave_one_out`, a corpus is missing in the
            training data or has no evaluation set.
    """
    out = Path(out)
    keys = list(experiment.grid)
    columns = list(experiment.grid.values())
    trainings = math.prod(map(len, columns)) * len(experiment.seeds)
    evaluations = trainings * len(experiment.averages) * len(experiment.evaluate)
    limits = (("trainings", trainings, _MAX_TRAININGS), ("evaluations", evaluations, _MAX_EVALUATIONS))
    for unit, count, limit in limits:
        budget = Budget(f"experiment {experiment.name}", 0, limit, remedy="make several experiments of it")
        budget.take(unit, steps=count)  # raises InputError above the limit
    runs = []
    for combination in itertools.product(*columns):
        settings = dict(zip(keys, combination))
        point = ", ".join(f"{_short_key(key)} {_value_text(value)}".strip() for key, value in settings.items())
        overrides = {**experiment.overrides, **settings}
        source = overrides.pop("recipe", experiment.recipe)
        recipe = load_recipe(source, [f"{key}={_value_text(value)}" for key, value in overrides.items()])
        for left_out, sets in _sets_by_left_out_corpus(experiment, recipe).items():
            label = _folder_label(settings, left_out)
            for seed in experiment.seeds:
                values = recipe.to_dict()
                values["seed"] = seed
                values["output"] = str(path_below(out, "models"))
                values["logs"] = str(path_below(out, "tensorboard"))
                values["comment"] = "_".join(filter(None, [recipe.comment, label])) or None
                if left_out is not None:
                    remaining = [corpus for corpus in values["data"]["corpora"] if corpus["alias"] != left_out]
                    values["data"] = {**values["data"], "corpora": remaining}
                name = f"{label}_seed{seed}" if label else f"seed{seed}"
                runs.append(ExperimentRun(name, point, seed, recipe_from_dict(values), sets))
    if len({run.folder for run in runs}) < len(runs):
        raise InputError(
            f"two runs of experiment {experiment.name} would write the same folder: list each value of its grid only once"
        )
    return ExperimentPlan(experiment, out, runs)


def _sets_by_left_out_corpus(experiment: Experiment, recipe: Recipe) -> dict[str | None, frozenset[str]]:
    """Return alias → names of the evaluation sets; without `leave_one_out`, None → all sets."""
    if not experiment.leave_one_out:
        return {None: frozenset(evaluation_set.title for evaluation_set in experiment.evaluate)}
    training_corpora = [corpus for corpus in recipe.data.corpora if corpus.train_split is not None]
    if len(training_corpora) < 2:
        raise InputError(
            f"leave_one_out needs at least two corpora for training in `data.corpora`, not {len(training_corpora)}: add "
            "corpora, or remove leave_one_out"
        )
    sets_of: dict[str | None, frozenset[str]] = {}
    for corpus in training_corpora:
        # The sets whose title is the alias of this corpus, or else those of its name.
        sets = [tested.title for tested in experiment.evaluate if tested.title == corpus.called]
        sets = sets or [tested.title for tested in experiment.evaluate if tested.corpus == corpus.name]
        if not sets:
            raise InputError(
                f"leave_one_out trains without {corpus.called}, but no set of evaluate is of that corpus: add a set"
            )
        sets_of[corpus.called] = frozenset(sets)
    num_corpora = Counter(itertools.chain.from_iterable(sets_of.values()))
    for evaluation_set in experiment.evaluate:
        number = num_corpora[evaluation_set.title]
        if number != 1:
            raise InputError(
                f"evaluation set {evaluation_set.title} must belong to exactly one of the corpora that "
                f"leave_one_out omits in turn, not to {number}: name the set by the alias of its corpus"
            )
    return sets_of


def _short_key(key: str) -> str:
    if key == "recipe":
        return ""
    return key.rpartition(".")[2]  # train.lr → lr


def _value_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json_text(value)


def _folder_label(settings: Mapping[str, object], left_out: str | None) -> str:
    words = [f"{_short_key(key)}{_value_text(value)}" for key, value in settings.items()]
    if left_out:
        words.append(f"without-{left_out}")
    text = "_".join(re.sub(r"[^A-Za-z0-9_.+-]+", "-", word).strip("-.") for word in words)
    if len(text) <= _MAX_LABEL and text == "_".join(words):
        return text
    # Labels that were shortened, or lost characters, differ by a digest.
    # Another label would not find the folders of earlier runs.
    digest = sha256(json_text([dict(settings), left_out]).encode()).hexdigest()
    return f"{text[:_MAX_LABEL].rstrip('-.')}-{digest[:6]}"
