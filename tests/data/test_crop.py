"""Crop and pad against the published index arrays."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.data.crop import ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES, head_crop


@pytest.mark.parametrize("num_samples", [ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES])
def test_every_sample_lands_where_published(golden, num_samples):
    reference = np.load(golden / "pad_indices.npz")
    cases = [name for name in reference.files if name.startswith(f"pad{num_samples}_")]
    assert len(cases) > 3
    for name in cases:
        length = int(name.rsplit("_", 1)[1])
        np.testing.assert_array_equal(head_crop(np.arange(length), num_samples), np.cumsum(reference[name]))


@pytest.mark.parametrize("length, expected", [(1, [0] * 7), (3, [0, 1, 2, 0, 1, 2, 0]), (7, range(7)), (9, range(7))])
def test_short_is_repeated_long_is_cut(length, expected):
    np.testing.assert_array_equal(head_crop(np.arange(length), 7), list(expected))


def test_empty_is_an_error_that_names_the_utterance():
    with pytest.raises(InputError, match="LA_T_1 has no samples"):
        head_crop(np.zeros(0), 7, "LA_T_1")
