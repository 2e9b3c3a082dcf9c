"""The random stream of the augmentation: one per utterance, or one in the published order."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.training.augmentation import augmentation_stream
from nes2net.training.recipes.recipe import recipe_from_dict

OTHERS = "`augment.rng` and `{}` exclude each other"


def stream(augment, world_size=1, **sections):
    return augmentation_stream(recipe_from_dict({"augment": {"algo": 4, **augment}, **sections}), world_size)


def test_each_utterance_has_a_stream_of_its_own_or_all_share_one_from_the_seed(capsys):
    assert stream({}, 8) is None
    stream({"rng": "legacy"}, data={"num_workers": 0})
    assert capsys.readouterr() == ("", "")  # no remark if no workers are asked for
    assert stream({"rng": "legacy"}, seed=9).rng.random() == np.random.RandomState(9).random()
    assert capsys.readouterr().err.count("`data.num_workers` is not used") == 1


@pytest.mark.parametrize(
    "augment, data, world_size, message",
    [
        ({"algo": 0}, {}, 1, "`augment.rng` is used only with `augment.algo`"),
        ({"speed": [0.9, 1.1]}, {}, 1, OTHERS.format("augment.speed")),
        ({"musan": "folder"}, {}, 1, OTHERS.format("augment.musan")),
        ({"rir": "folder"}, {}, 1, OTHERS.format("augment.rir")),
        ({"conditions": ["white:10"]}, {}, 1, OTHERS.format("augment.conditions")),
        ({"fir": {}}, {}, 1, OTHERS.format("augment.fir")),
        ({}, {"crop": "random"}, 1, OTHERS.format("data.crop")),
        ({}, {}, 2, "2 processes cannot share"),
    ],
)
def test_an_order_that_was_not_published_is_refused(augment, data, world_size, message):
    with pytest.raises(InputError, match=message):
        stream({"rng": "legacy", **augment}, world_size, data=data)
