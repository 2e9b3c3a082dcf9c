"""Crop and pad against the published index arrays."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from builders import golden, input_error
from numpy.random import default_rng
from numpy.testing import assert_array_equal

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


def test_every_crop_refuses_an_empty_utterance_by_its_name():
    rng = default_rng(0)
    for crop in (head_crop, *(partial(crop, rng=rng) for crop in (random_crop, random_tiled_crop))):
        with input_error("LA_T_1 has no samples"):
            crop(np.zeros(0), 7, utterance="LA_T_1")


of_each_short_length = pytest.mark.parametrize("length", [1, 3, 6, 7])


@of_each_short_length
def test_a_random_crop_of_a_short_utterance_repeats_it_from_its_start(length):
    """Also one of exactly the length asked for, on which the published ASVspoof 5 code fails (deviation 15)."""
    samples = np.arange(1, length + 1)
    for seed in range(5):
        assert_array_equal(random_crop(samples, 7, default_rng(seed)), np.resize(samples, 7))


@of_each_short_length
def test_a_random_tiled_crop_of_a_short_utterance_repeats_it_from_the_drawn_sample(length):
    samples = np.arange(1, length + 1)
    for seed in range(5):
        crop = random_tiled_crop(samples, 7, default_rng(seed))
        assert_array_equal(crop, np.resize(np.roll(samples, 1 - crop[0]), 7))


def golden_cases(reference, kind):
    for name in reference:
        if name.startswith(kind) and not name.endswith("_next"):
            length, seed = name.removeprefix(f"{kind}_").split("_seed")
            yield name, int(length), int(seed)


@pytest.mark.parametrize(
    "kind, lengths",
    [("svrand", [100, 64000, 64599, 64600, 64601, 130000]), ("a5rand", [100, 64000, 64599, 64601, 130000])],
)
def test_published_random_crops_of_shorter_and_longer_utterances_are_there_to_compare_with(kind, lengths):
    cases = golden_cases(golden.read("pad_indices"), kind)
    assert sorted({length for _, length, _ in cases}) == lengths


def test_random_tiled_crops_equal_those_of_the_published_ctrsvdd_code():
    """Every sample, and the number of draws."""
    reference = golden.read("pad_indices")
    for name, length, seed in golden_cases(reference, "svrand"):
        published = np.random.RandomState(seed)
        rng = SimpleNamespace(integers=published.randint)
        crop = random_tiled_crop(np.arange(length), IN_THE_WILD_SAMPLES, rng)
        assert_array_equal(crop, np.cumsum(reference[name]))
        assert published.rand() == reference[f"{name}_next"]


def test_random_crops_equal_those_of_the_published_asvspoof5_code_from_the_same_start():
    reference = golden.read("pad_indices")
    for name, length, _ in golden_cases(reference, "a5rand"):
        published = np.cumsum(reference[name])
        start = SimpleNamespace(integers=lambda high, start=int(published[0]): start)
        assert_array_equal(random_crop(np.arange(length), ASVSPOOF_SAMPLES, start), published)


@pytest.mark.parametrize(
    "crop, length, number, min_draws",
    [
        (random_crop, 10, 4, 129),  # of 175 expected, standard deviation 11.5
        (random_tiled_crop, 7, 7, 65),  # rotated; 100 expected
        (random_tiled_crop, 10, 3, 180),  # 0, 1, 2 of 0 to 3
        (random_tiled_crop, 8, 1, 699),
    ],
)
def test_the_starts_of_random_crops_are_equally_likely(crop, length, number, min_draws):
    """As published, a tiled crop of a longer utterance never has its last sample."""
    starts = np.bincount([crop(np.arange(length), 7, default_rng(seed))[0] for seed in range(700)])
    assert len(starts) == number
    assert starts.min() > min_draws
