"""One-class distillation: a student learns to imitate a teacher's embeddings of bona fide speech."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, refuse, short_repr
from nes2net.lib.parts.options import Options
from nes2net.models.checkpoints.state_dict import check_fit
from nes2net.models.distillation import HALVES, OneClassDistillation, Similarity, TeacherStudent
from nes2net.models.provenance import Provenance
from nes2net.training.losses.criterion import Criterion, shares_of
from nes2net.training.objective import Objective
from nes2net.training.recipes.data import SetName
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.tasks.task import Start, Task

#: Options that may differ between the teacher's file and the recipe: without effect in eval mode,
#: or of the last layer, which the teacher does not need.
_FREE_OPTIONS = re.compile(
    r".*dropout.*|encoder_layerdrop|feature_grad_mult|engine|feature_dim|num_logits|head|score_rule"
)


class EmbeddingDistance(Criterion):
    """Distance between the embeddings of student and teacher, for bona fide speech only.

    The distance is averaged over the bona fide utterances of a batch, and over the levels that the
    back-end compares. The cosine is better than the squared difference (Lu et al., ICASSP 2024,
    arXiv 2309.08285). Equal weights of the levels are an assumption.

    Args:
        similarity: the last layer of the back-end, which divides embeddings into levels.
        distance: ``"cosine"`` or ``"mse"``.

    >>> embeddings = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, -1.0, 0.0]])
    >>> EmbeddingDistance(Similarity([]))(embeddings, torch.tensor([1, 0])).item()
    1.0
    """

    takes_embeddings = True

    def __init__(self, similarity: Similarity, distance: Literal["cosine", "mse"] = "cosine") -> None:
        super().__init__()
        self.similarity = similarity
        self.distance = distance

    def weight_of(self, targets: Tensor) -> Tensor:
        """Count the bona fide utterances; a mixed utterance counts by its share of bona fide speech."""
        return shares_of(targets, 2)[:, 1].sum(dtype=torch.float64)

    def size_of(self, targets: np.ndarray) -> int:
        return int(targets.sum())  # bona fide is 1

    def logits(self, outputs: Tensor) -> Tensor:
        return self.similarity(outputs)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Sum the distances of the bona fide utterances; ``outputs`` B×E: teacher and student."""
        if self.distance == "cosine":
            distances = 1 - self.similarity(outputs)[:, 1]  # the logit of bona fide is the mean cosine
        else:
            levels = [
                (teacher - student).square().mean(1) for teacher, student in self.similarity.levels(outputs)
            ]  # each (B,)
            distances = torch.stack(levels, dim=1).mean(dim=1)
        bonafide_shares = shares_of(targets, 2)[:, 1]
        return (bonafide_shares.to(distances.dtype) * distances).sum()


class DistillationObjective(Objective):
    """The objective with :class:`EmbeddingDistance`, for a teacher and a student."""

    def __init__(self, detector: Detector, recipe: Recipe, distance: Literal["cosine", "mse"]) -> None:
        self.distance = distance  # set first, because the constructor of the base class calls make_criterion
        super().__init__(detector, recipe)

    def make_criterion(self, recipe: Recipe) -> Criterion:
        """Make :class:`EmbeddingDistance`; raise InputError if teacher or student is missing."""
        similarity = self.detector.backend.last_layer
        if not isinstance(self.detector.frontend, TeacherStudent) or not isinstance(similarity, Similarity):
            raise InputError(
                "the task distillation needs a teacher and a student: set `model.frontend.name=teacher_student` and "
                "`model.backend.name=one_class_distillation`"
            )
        return EmbeddingDistance(similarity, self.distance)


class Distillation(Task):
    """Training of a student that imitates a teacher on bona fide speech alone.

    Validation reads both classes, but its loss counts only bona fide utterances. The detector has
    the front-end ``teacher_student`` and the back-end ``one_class_distillation``.

    Args:
        teacher: checkpoint of a whole detector. This detector must have the front-end and the
            back-end that the recipe sets for the teacher, and the aggregation ``last``.
        student_init: ``teacher`` copies a weight of the teacher to the student if both have a
            weight of the same name and shape, as in the first layers; ``random`` leaves the random
            weights of the student unchanged.
        distance: distance between the embeddings of student and teacher: 1 − cosine, or the mean
            squared difference; arXiv 2309.08285 finds the cosine better.
    """

    def __init__(
        self,
        recipe: Recipe,
        teacher: str | None = None,
        student_init: Literal["teacher", "random"] = "teacher",
        distance: Literal["cosine", "mse"] = "cosine",
    ) -> None:
        super().__init__(recipe)
        train = recipe.train
        refuse(
            (
                teacher is not None and train.init_from is not None,
                "the checkpoint of `train.init_from` holds teacher and student: remove `train.init_from` or "
                "`train.task.teacher`",
            ),
            (
                train.loss != TrainConfig().loss,
                "`train.loss` changes nothing in the task distillation: remove it",
            ),
            (
                train.adapt is not None,
                "`train.adapt` cannot be used in the task distillation, which trains a student: remove it",
            ),
            (
                recipe.augment.latent is not None,
                "`augment.latent` perturbs spoofed utterances, and the task distillation trains only on bona fide ones: "
                "remove it",
            ),
        )
        self.teacher = teacher
        self.student_init = student_init
        self.distance = distance
        if train.init_from is None:
            self.start = Start(
                "trained teacher",
                "train.task.teacher",
                teacher,
                "train it by the recipe that the head of the row's recipe names, and give a recipe of your own with "
                "`recipe`: `base: {}`, `train: {{task: {{name: distillation, teacher: FILE}}}}`",
            )

    def reads(self, part: SetName) -> tuple[str, ...]:
        if part == "train":
            return (BONAFIDE,)
        return super().reads(part)

    def trials(self, part: SetName) -> list[Trial]:
        """List the trials of ``part``; raise :class:`InputError` if no teacher is named."""
        if self.start is not None and self.start.path is None:
            raise InputError(
                "no teacher is named: name the checkpoint of a detector that was trained on both classes with "
                "`train.task.teacher`"
            )
        return super().trials(part)

    def objective(self, detector: Detector) -> Objective:
        return DistillationObjective(detector, self.recipe, self.distance)

    def begin(self, detector: Detector) -> None:
        if self.teacher is not None:
            load_teacher(detector, self.teacher, student_too=self.student_init == "teacher")


def load_teacher(detector: Detector, path: str, student_too: bool) -> None:
    """Load the weights of the trained detector ``path`` into the teacher's half of ``detector``.

    The provenance of ``detector`` then names this start. A ``detector`` without teacher and student
    is not changed.

    Args:
        path: a file, folder or name that :meth:`Detector.from_pretrained` takes.
        student_too: also copy each weight to the student's weight of the same name and shape.

    Raises:
        InputError: if the trained detector does not exist or does not fit the recipe's teacher, or
            if the student would be a copy of the teacher and have nothing to learn.
    """
    frontend = detector.frontend
    backend = detector.backend
    if not isinstance(frontend, TeacherStudent) or not isinstance(backend, OneClassDistillation):
        return  # the detector has no teacher; DistillationObjective raises the error later
    trained = Detector.from_pretrained(path, device="cpu", dtype="float32").whole()
    _check_same_options(path, "aggregation", trained.aggregation.config, {"name": "last"})
    _check_same_options(path, "frontend.teacher", trained.frontend.config, frontend.config["teacher"])
    _check_same_options(path, "backend.backend", trained.backend.config, backend.teacher.config)
    start = trained.provenance.only_training_data()
    if start != Provenance():
        detector.provenance = replace(detector.provenance, started_from=(start,))
    last_layer = f"{trained.backend.last_layer_name}."
    before_last = {key: value for key, value in trained.backend.state_dict().items() if not key.startswith(last_layer)}
    is_copy = True
    for half, weights in ((frontend.model, trained.frontend.state_dict()), (backend, before_last)):
        teacher, student = (half.get_submodule(name) for name in HALVES)
        check_fit(weights, teacher.state_dict(), path)
        teacher.load_state_dict(weights)
        if student_too:
            state = student.state_dict()
            shared = {
                key: weight for key, weight in weights.items() if key in state and weight.shape == state[key].shape
            }
            student.load_state_dict(state | shared)
            is_copy = is_copy and len(shared) == len(state) == len(weights)
    if student_too and is_copy:
        raise InputError(
            "the student would start as a copy of the teacher and have nothing to learn: give it fewer layers "
            "(`model.frontend.student.encoder_layers`), or random weights (`train.task.student_init=random`)"
        )


def _check_same_options(path: str, section: str, teacher_options: Options, recipe_options: Options) -> None:
    # Some defaults are tuples, but a file stores them as lists.
    in_file, in_recipe = json.loads(json.dumps([teacher_options, recipe_options]))
    for key in sorted(in_file.keys() | in_recipe.keys(), key=lambda key: (key != "name", key)):
        if not _FREE_OPTIONS.fullmatch(key) and in_file.get(key) != in_recipe.get(key):
            raise InputError(
                f"{path} does not fit the recipe's teacher: `model.{section}.{key}` is {short_repr(in_recipe.get(key))} in "
                f"the recipe and {short_repr(in_file.get(key))} in the file; set it to that, or name another "
                "`train.task.teacher`"
            )
