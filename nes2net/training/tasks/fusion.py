"""Train a detector that fuses its own score with the scores of other systems."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from nes2net.data.corpora.trial import Trial, Trials
from nes2net.detector import Detector
from nes2net.lib.errors import InputError
from nes2net.scoring.system_scores import Ranges, ranges_of, with_system_scores
from nes2net.training.dataset import Tensors
from nes2net.training.objective import Features, Objective, StepPart
from nes2net.training.recipes.data import SetName
from nes2net.training.tasks.task import Task

_SCORES = "scores"  # name of the tensor with the scores of other systems in an example


class FusionObjective(Objective):
    """The objective of logits that depend on features and on other systems' scores."""

    def logits(self, features: Features, part: StepPart) -> Tensor:
        return self.detector.logits(features, part.extra_tensors[_SCORES])


class Fusion(Task):
    """Training of a detector that scores an utterance by its waveform and by the scores of other systems."""

    objective_class = FusionObjective
    implied_by = "data.train_scores"

    @cached_property
    def ranges(self) -> Ranges:
        """The lowest and the highest training score of each other system.

        Training, validation and scoring normalise the scores of a system by this range. With
        ``data.score_range: test``, each score file has its own range, and the result is ``"test"``.
        """
        data = self.recipe.data
        return "test" if data.score_range == "test" else ranges_of(data.train_scores)

    def trials(self, part: SetName) -> list[Trial]:
        """List the trials of ``part`` with the scores of other systems.

        Raises:
            InputError: as :meth:`Task.trials`, or if a score is missing.
        """
        data = self.recipe.data
        trials = super().trials(part)
        files = data.train_scores if part == "train" else data.dev_scores
        for path in files:
            if not Path(path).is_file():
                raise InputError(
                    f"`data.{part}_scores` names {path}, which does not exist: give a score file of each of the other "
                    "systems, in the order of the recipe"
                )
        return with_system_scores(trials, files, self.ranges)

    def extra_tensors(self, trial: Trial) -> Tensors:
        return {_SCORES: torch.tensor(trial.system_scores)}

    def check(self, detector: Detector, trials: Trials) -> None:
        super().check(detector, trials)
        detector.provenance = replace(detector.provenance, score_ranges=self.ranges)  # scoring needs them
