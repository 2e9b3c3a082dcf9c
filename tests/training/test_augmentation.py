"""The random stream of the augmentation: one per utterance, or one in the published order."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.recipes.recipe import recipe_from_dict
from nes2net.training.augmentation import augmentation_stream


def recipe(augment, **sections):
    return recipe_from_dict({"augment": {"algo": 4, **augment}, **sections})


def test_each_utterance_has_a_stream_of_its_own_by_default():
    assert augmentation_stream(recipe({}), 8) is None


def test_the_stream_of_the_published_order_starts_from_the_seed(capsys):
    stream = augmentation_stream(recipe({"rng": "legacy"}, seed=9))
    assert stream.rng.random() == np.random.RandomState(9).random()
    assert capsys.readouterr().err.count("`data.num_workers` is not used") == 1


def test_no_remark_if_no_workers_are_asked_for(capsys):
    augmentation_stream(recipe({"rng": "legacy"}, data={"num_workers": 0}))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "augment, data, world_size, message",
    [
        ({"algo": 0}, {}, 1, "`augment.algo=0` draws nothing"),
        ({"speed": [0.9, 1.1]}, {}, 1, "not speed, noise, reverberation, conditions, filters and random crops"),
        ({"musan": "folder"}, {}, 1, "not speed, noise, reverberation, conditions, filters and random crops"),
        ({"conditions": ["white:10"]}, {}, 1, "leave out .*`augment.conditions`"),
        ({"rir": "folder"}, {}, 1, "not speed, noise, reverberation, conditions, filters and random crops"),
        ({}, {"crop": "random"}, 1, "not speed, noise, reverberation, conditions, filters and random crops"),
        ({}, {}, 2, "2 processes cannot share"),
    ],
)
def test_an_order_that_was_not_published_is_refused(augment, data, world_size, message):
    with pytest.raises(InputError, match=message):
        augmentation_stream(recipe({"rng": "legacy", **augment}, data=data), world_size)
