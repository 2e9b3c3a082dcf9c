"""Every tensor that a run moves is saved, and restored when the run resumes."""

import pytest
import torch
from builders.runs import assert_same_run, refused, stop
from torch import nn

from nes2net import Detector
from nes2net.data.audio.parts import RecordingPart
from nes2net.data.corpora.trial import Trial
from nes2net.training.dataset import Examples
from nes2net.training.losses import OneClassSoftmax
from nes2net.training.objective import Objective
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.registry import tasks
from nes2net.training.run import train
from nes2net.training.state import fingerprint
from nes2net.training.tasks.task import Task


class LevelObjective(Objective):
    """A head of its own tells the level of an utterance from its embedding; a buffer follows the mean level."""

    def __init__(self, detector, recipe):
        super().__init__(detector, recipe)
        self.level = nn.Linear(detector.backend.last_layer.in_features, 1)
        self.register_buffer("mean", torch.zeros(1))

    def denominators(self, targets, extra_tensors={}):  # noqa: B006
        return [*super().denominators(targets), float(len(targets))]

    def compute_outputs(self, features, step_part):
        embeddings = self.detector.backend.embed(features)
        return embeddings, self.outputs_from_embeddings(embeddings, step_part)

    def numerators(self, computed, step_part):
        embeddings, outputs = computed
        levels = step_part.inputs.square().mean(1).sqrt()
        if step_part.iteration is not None:
            self.mean.lerp_(levels.mean(), 0.1)
        errors = self.level(embeddings)[:, 0] - (levels - self.mean)
        return [*super().numerators(outputs, step_part), errors.square().sum()]

    def outcome(self, computed, step_part):
        return super().outcome(computed[1], step_part)


class Level(Task):
    def objective(self, detector):
        return LevelObjective(detector, self.recipe)


class ListedHeads(LevelObjective):
    def __init__(self, detector, recipe):
        super().__init__(detector, recipe)
        self.heads = [self.level, nn.Linear(2, 1)]
        self.detector.scale = [torch.ones(3, requires_grad=True)]

    def trained_parameters(self):
        listed = [parameter for head in self.heads for parameter in head.parameters()]
        return [*listed, *self.detector.scale, torch.ones(5, 7, requires_grad=True)]


class HeadsInAList(Task):
    def objective(self, detector):
        return ListedHeads(detector, self.recipe)


@pytest.fixture(autouse=True)
def _own_tasks(monkeypatch):
    for task in (Level, HeadsInAList):
        monkeypatch.setitem(tasks._table, task.__name__, f"{__name__}:{task.__name__}")


@pytest.mark.slow
@pytest.mark.parametrize("train_options", [{}, {"layer_decay": 0.5}])
def test_a_run_with_an_auxiliary_head_resumes_and_ends_as_if_uninterrupted(recipe, small_model, train_options):
    values = {"model": small_model, "train": {"task": "Level", **train_options}}
    uninterrupted = train(recipe(comment="whole", **values), "cpu")
    torn = recipe(comment="torn", **values)
    stop(torn, 1, 1, "cpu")
    stop(torn, 2, 1, "cpu")
    assert_same_run(train(torn, "cpu"), uninterrupted)


@pytest.fixture
def with_parameter(spectral_detector):
    """An objective whose loss has a parameter."""
    objective = Objective(spectral_detector, Recipe())
    del objective.criterion.weight
    objective.criterion.weight = nn.Parameter(torch.ones(2))
    return objective


def test_a_parameter_of_a_loss_is_among_the_tensors_that_are_saved(with_parameter):
    assert list(with_parameter.own_tensors()) == ["criterion.weight"]


def test_vectors_of_a_loss_that_are_not_of_the_back_end_are_saved_under_their_published_name(spectral_detector):
    objective = Objective(spectral_detector, Recipe())
    objective.criterion = OneClassSoftmax(8)
    assert list(objective.own_tensors()) == ["criterion.center"]


def test_a_parameter_of_a_loss_is_among_the_tensors_that_are_trained(with_parameter):
    assert with_parameter.criterion.weight is with_parameter.trained_parameters()[-1]


def test_an_objective_with_weights_beside_the_detector_does_not_declare_all_its_weights_used(small_model):
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    detector = Detector.from_config({**small_model, "backend": backend})
    assert Objective(detector, Recipe()).uses_all_weights
    assert not LevelObjective(detector, Recipe()).uses_all_weights


def test_a_run_with_a_trained_tensor_that_its_resume_file_does_not_hold_is_refused(recipe):
    message = r"tensors that resume\.pt does not hold, one of \(1, 2\), .*one of \(5, 7\): make them parameters"
    refused(recipe(train={"task": "HeadsInAList"}), message, "cpu")


@pytest.mark.parametrize(
    "tensor, message",
    [(torch.zeros(1, 3), "other shape: level.weight"), (torch.full((1, 8), torch.nan), "not finite: level.weight")],
)
def test_a_resume_file_with_a_damaged_tensor_of_an_objective_is_refused(recipe, tensor, message):
    values = recipe(train={"task": "Level"})
    file = stop(values, 2, 1, "cpu") / "resume.pt"
    content = torch.load(file, weights_only=True)
    content["objective"]["level.weight"] = tensor
    torch.save(content, file)
    refused(values, rf"resume\.pt does not fit this run \(objective; .*{message}", "cpu")


def test_parts_of_recordings_identify_the_trials_of_a_run():
    digests = set()
    for stretch in (None, RecordingPart(0.5, 1.0), RecordingPart(0.5, 1.0, channel=1)):
        digests.add(fingerprint(Examples([Trial("a", label="spoof", part=stretch)]))["digest"])
    assert len(digests) == 3
