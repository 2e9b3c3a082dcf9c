"""Which task a recipe trains."""

import pytest

from nes2net import InputError
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.tasks.task import create_task

SEGMENTS = {"segments": {"resolutions": [20]}}
SCORES = {"data": {"train_scores": ["a"], "dev_scores": ["b"]}}


@pytest.mark.parametrize(
    "settings, name",
    [
        ({}, "Task"),
        ({"train": {"task": "utterance"}}, "Task"),
        (SEGMENTS, "Segments"),
        ({**SEGMENTS, "train": {"task": {"name": "segments"}}}, "Segments"),
        (SCORES, "Fusion"),
        ({"train": {"task": {"name": "distillation", "teacher": "teacher.pth"}}}, "Distillation"),
        ({"train": {"optimizer": "logistic", "epochs": 1}}, "Logistic"),
        ({**SEGMENTS, **SCORES}, "ask for the tasks fusion and segments: keep one of them"),
        ({**SEGMENTS, "train": {"task": "utterance"}}, "ask for the tasks segments and utterance"),
        ({"train": {"task": "rank"}}, "unknown task 'rank'"),
        ({"train": {"task": {"name": "utterance", "recipe": 3}}}, "task 'utterance' has no option 'recipe'"),
        ({"train": {"task": {"margin": 1}}}, "`train.task` needs a `name`"),
    ],
)
def test_the_settings_choose_the_task_or_are_refused(settings, name):
    if " " not in name:
        assert type(create_task(recipe_from_dict(settings))).__name__ == name
        return
    with pytest.raises(InputError, match=name):
        create_task(recipe_from_dict(settings))
