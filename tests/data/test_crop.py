"""Crop and pad against the published index arrays."""

import numpy as np
import pytest

from nes2net import InputError
from nes2net.data.crop import ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES, head_crop, random_crop


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


def test_a_random_crop_starts_everywhere_alike():
    starts = [random_crop(np.arange(10), 7, np.random.default_rng(seed))[0] for seed in range(400)]
    counts = np.bincount(starts)
    assert len(counts) == 4 and counts.min() > 65  # 100 expected, standard deviation 8.7
    for seed in range(5):
        crop = random_crop(np.arange(10), 7, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.diff(crop), 1)


@pytest.mark.parametrize("length", [1, 3, 6, 7])
def test_a_random_crop_of_what_is_short_is_the_head(length):
    """At exactly the length asked for the published ASVspoof 5 code fails (deviation 15)."""
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(random_crop(np.arange(length), 7, rng), head_crop(np.arange(length), 7))


def test_a_random_crop_of_nothing_names_the_utterance():
    with pytest.raises(InputError, match="E_1 has no samples"):
        random_crop(np.zeros(0), 7, np.random.default_rng(0), "E_1")
