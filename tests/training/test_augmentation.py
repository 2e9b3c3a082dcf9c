"""The random stream of the augmentation: one per utterance, or one in the published order."""

import numpy as np
import pytest
from builders import input_error

from nes2net.training.augmentation import augmentation_stream
from nes2net.training.recipes.recipe import recipe_from_dict

OTHER_EFFECTS = {"speed": [0.9, 1.1], "musan": "folder", "rir": "folder", "conditions": ["white:10"], "fir": {}}


def stream(augment, world_size=1, **sections):
    return augmentation_stream(recipe_from_dict({"augment": {"algo": 4, **augment}, **sections}), world_size)


def test_each_utterance_has_a_stream_of_its_own_or_all_share_one_from_the_seed(capsys):
    assert stream({}, 8) is None
    stream({"rng": "legacy"}, data={"num_workers": 0})
    assert capsys.readouterr() == ("", "")  # no remark if no workers are asked for
    assert stream({"rng": "legacy"}, seed=9).rng.random() == np.random.RandomState(9).random()
    assert capsys.readouterr().err.count("`data.num_workers` is not used") == 1


@pytest.mark.parametrize("key", OTHER_EFFECTS)
def test_other_effects_have_no_published_order(key):
    with input_error(f"`augment.rng` and `augment.{key}` exclude each other"):
        stream({"rng": "legacy", key: OTHER_EFFECTS[key]})


def test_random_crops_have_no_published_order():
    with input_error("`augment.rng` and `data.crop` exclude each other"):
        stream({"rng": "legacy"}, data={"crop": "random"})


def test_the_published_order_is_that_of_rawboost():
    with input_error("`augment.rng` is used only with `augment.algo`"):
        stream({"rng": "legacy", "algo": 0})


def test_processes_cannot_share_the_published_order():
    with input_error("2 processes cannot share"):
        stream({"rng": "legacy"}, 2)
