"""Crop and pad against the published index arrays."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from builders import golden, input_error
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from nes2net.data.audio.waveform import (
    ASVSPOOF_SAMPLES,
    IN_THE_WILD_SAMPLES,
    head_crop,
    random_crop,
    random_tiled_crop,
)


@pytest.mark.parametrize("num_samples", [ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES])
def test_crops_from_the_start_equal_those_of_the_published_data_loaders(num_samples):
    reference = golden.read("pad_indices")
    cases = [name for name in reference if name.startswith(f"pad{num_samples}_")]
    assert len(cases) > 3
    for name in cases:
        length = int(name.rsplit("_", 1)[1])
        assert_array_equal(head_crop(np.arange(length), num_samples), np.cumsum(reference[name]))


def test_every_crop_refuses_an_utterance_without_samples_by_its_name():
    rng = default_rng(0)
    for crop in (head_crop, *(partial(crop, rng=rng) for crop in (random_crop, random_tiled_crop))):
        with input_error("LA_T_1 has no samples"):
            crop(np.zeros(0), 7, utterance="LA_T_1")


of_each_short_length = pytest.mark.parametrize("length", [1, 3, 6, 7])


@of_each_short_length
def test_a_random_crop_of_a_short_utterance_repeats_it_from_its_start(length):
    """Also an utterance of exactly the crop length, on which the published ASVspoof 5 code fails (deviation 15)."""
    samples = np.arange(1, length + 1)
    for seed in range(5):
        assert_array_equal(random_crop(samples, 7, default_rng(seed)), np.resize(samples, 7))


@of_each_short_length
def test_a_random_tiled_crop_of_a_short_utterance_repeats_it_from_the_drawn_sample(length):
    samples = np.arange(1, length + 1)
    for seed in range(5):
        crop = random_tiled_crop(samples, 7, default_rng(seed))
        assert_array_equal(crop, np.resize(np.roll(samples, 1 - crop[0]), 7))


of_each_published_seed = pytest.mark.parametrize("seed", [0, 1])


@pytest.mark.parametrize("length", [100, 64000, 64599, 64600, 64601, 130000])
@of_each_published_seed
def test_random_tiled_crops_equal_those_of_the_published_ctrsvdd_code(length, seed):
    """In every sample, and in the state of the generator afterwards."""
    reference = golden.read("pad_indices")
    published = np.random.RandomState(seed)
    rng = SimpleNamespace(integers=published.randint)
    crop = random_tiled_crop(np.arange(length), IN_THE_WILD_SAMPLES, rng)
    assert_array_equal(crop, np.cumsum(reference[f"svrand_{length}_seed{seed}"]))
    assert published.rand() == reference[f"svrand_{length}_seed{seed}_next"]


@pytest.mark.parametrize("length", [100, 64000, 64599, 64601, 130000])
@of_each_published_seed
def test_random_crops_equal_those_of_the_published_asvspoof5_code_if_the_start_drawn_is_the_same(length, seed):
    published = np.cumsum(golden.read("pad_indices")[f"a5rand_{length}_seed{seed}"])
    start = SimpleNamespace(integers=lambda high: int(published[0]))
    assert_array_equal(random_crop(np.arange(length), ASVSPOOF_SAMPLES, start), published)


@pytest.mark.parametrize(
    "crop, length, number, tolerance",
    [
        (random_crop, 10, 4, 46),  # of 175 expected, standard deviation 11.5
        (random_tiled_crop, 7, 7, 35),  # rotated; 100 expected
        (random_tiled_crop, 10, 3, 53),  # 0, 1, 2 of 0 to 3: as in the published code, never the last one
        (random_tiled_crop, 8, 1, 0),
    ],
)
def test_the_starts_of_random_crops_are_equally_likely(crop, length, number, tolerance):
    starts = np.bincount([crop(np.arange(length), 7, default_rng(seed))[0] for seed in range(700)])
    assert len(starts) == number
    assert_allclose(starts, 700 / number, rtol=0, atol=tolerance)
