"""Which task a recipe trains, and a task that has classes and a measure of its own."""

import numpy as np
import pytest
import torch
from builders import input_error
from builders.runs import detector_of, history_of

from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import head_crop
from nes2net.training.averaging import measures_of
from nes2net.training.measures import Measure
from nes2net.training.objective import Objective, Outcome
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.registry import tasks
from nes2net.training.run import train
from nes2net.training.tasks.task import Task, create_task

SEGMENTS = {"segments": {"resolutions": [20]}}
SCORES = {"data": {"train_scores": ["a"], "dev_scores": ["b"]}}


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "Task"),
        (SEGMENTS, "Segments"),
        ({**SEGMENTS, "train": {"task": {"name": "segments"}}}, "Segments"),
        (SCORES, "Fusion"),
        ({"train": {"task": {"name": "distillation", "teacher": "teacher.pth"}}}, "Distillation"),
        ({"train": {"optimizer": "logistic", "epochs": 1}}, "Logistic"),
    ],
)
def test_the_settings_of_a_recipe_choose_its_task(settings, name):
    assert type(create_task(recipe_from_dict(settings))).__name__ == name


@pytest.mark.parametrize(
    "settings, message",
    [
        ({**SEGMENTS, **SCORES}, "require several tasks, fusion and segments: keep the settings of only one"),
        ({**SEGMENTS, "train": {"task": "utterance"}}, "require several tasks, segments and utterance"),
    ],
)
def test_settings_of_a_recipe_that_require_several_tasks_are_refused(settings, message):
    with input_error(message):
        create_task(recipe_from_dict(settings))


ERROR = Measure("class_error", "error")


class SpeakerObjective(Objective):
    def outcome(self, computed, part):
        return Outcome(super().outcome(computed, part).loss, {"logits": self.criterion.logits(computed)})

    def figures(self, validated):
        wrong = validated.outputs["logits"].argmax(1) != validated.targets
        return {ERROR.column(validated.name): float(np.mean(wrong))}


class Speakers(Task):
    """Whose voice was faked, learned from spoofs alone."""

    measures = (ERROR,)

    def reads(self, part):
        return ("spoof",)

    def trials(self, part):
        trials = super().trials(part)
        if part == "train":
            self.classes = tuple(sorted({trial.speaker for trial in trials}))
        return trials

    def target(self, trial):
        return self.classes.index(trial.speaker)

    def objective(self, detector):
        return SpeakerObjective(detector, self.recipe)


@pytest.mark.parametrize("loss", ["cross_entropy", "am_softmax"])
def test_validation_of_a_task_with_its_own_classes_records_the_measure_that_the_task_defines(recipe, monkeypatch, loss):
    monkeypatch.setitem(tasks._table, "speakers", f"{__name__}:Speakers")
    task = {"task": "speakers", "loss": loss, "batch_size": 2}
    values = recipe(train=task, validation={"select_on": "class_error"})
    folder = train(values, "cpu")
    detector = detector_of(folder)
    trials = Speakers(values).trials("dev")
    names = detector.classes
    clips = [head_crop(load_audio(trial.audio_path()), 4000) for trial in trials]
    with torch.no_grad():
        posteriors = detector.posteriors(torch.from_numpy(np.stack(clips)))
    wrong = [names[posterior] != trial.speaker for posterior, trial in zip(posteriors.argmax(1), trials, strict=True)]
    assert history_of(folder)[0]["val_class_error_wo_aug"] == np.mean(wrong)


def test_the_measures_of_a_run_are_those_of_its_task(monkeypatch, tmp_path):
    monkeypatch.setitem(tasks._table, "speakers", f"{__name__}:Speakers")
    (tmp_path / "recipe.yaml").write_text("train: {task: speakers}")
    assert measures_of(tmp_path) == (ERROR,)


def test_a_detector_of_other_classes_than_the_task_is_refused(recipe):
    values = recipe(model={"backend": {"name": "asp_mlp", "hidden_dim": 8, "num_logits": 4}})
    with input_error("the training set has the classes spoof, bonafide, but `model.backend` has spoof_1, spoof_2, sp"):
        train(values, "cpu")
