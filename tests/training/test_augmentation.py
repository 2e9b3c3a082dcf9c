"""The random stream of the augmentation: one per utterance, or one in the published order."""

import numpy as np
import pytest
from builders import input_error

from nes2net.training.augmentation import augmentation_stream
from nes2net.training.recipes.recipe import recipe_from_dict

OTHER_EFFECTS = {"speed": [0.9, 1.1], "musan": "folder", "rir": "folder", "conditions": ["white:10"], "fir": {}}


def stream(augment, world_size=1, **sections):
    return augmentation_stream(recipe_from_dict({"augment": {"algo": 4, **augment}, **sections}), world_size)


def test_by_default_the_augmentation_of_utterances_shares_no_random_stream():
    assert stream({}, 8) is None


def test_the_legacy_stream_starts_from_the_seed_of_the_recipe():
    assert stream({"rng": "legacy"}, seed=9).rng.random() == np.random.RandomState(9).random()


@pytest.mark.parametrize("key", OTHER_EFFECTS)
def test_the_legacy_stream_is_refused_with_other_effects_than_rawboost(key):
    with input_error(f"`augment.rng` and `augment.{key}` exclude each other"):
        stream({"rng": "legacy", key: OTHER_EFFECTS[key]})


def test_the_legacy_stream_is_refused_in_several_processes():
    with input_error("2 processes cannot share"):
        stream({"rng": "legacy"}, 2)
