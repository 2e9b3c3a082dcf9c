"""Specmix: what holds for every batch, setting and seed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from nes2net.data.augment.specmix import Specmix

shapes = st.tuples(st.integers(1, 7), st.integers(1, 40), st.integers(1, 40))
seeds = st.integers(0, 2**32)


def specmixes(mix_labels):
    return st.builds(
        Specmix,
        frequency_bands=st.integers(0, 4),
        time_bands=st.integers(0, 4),
        gamma=st.floats(0, 1),
        probability=st.floats(0, 1),
        mix_labels=mix_labels,
    )


of_any_batch = given(shapes, specmixes(st.booleans()), seeds)


def batch_of(shape, seed=0):
    """Spectrograms of distinct values, which show where each comes from, and targets 0, 1, 0, …"""
    values = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return values.float().reshape(shape), torch.arange(shape[0]) % 2


def generator(seed):
    return torch.Generator().manual_seed(seed)


def pasted(mixed, spectrograms):
    """Where the mixed batch differs from the original, B×T×F."""
    return mixed.spectrograms != spectrograms


def mix(specmix, shape, seed):
    """A batch of this shape, its targets, and what is made of them."""
    spectrograms, targets = batch_of(shape)
    return spectrograms, targets, specmix(spectrograms, targets, generator(seed))


def partner_of(mixed, spectrograms, i):
    """The other sample that holds, at the same place, what is pasted into sample ``i``; ``i`` if there is none."""
    area = pasted(mixed, spectrograms)[i]
    pasted_values = mixed.spectrograms[i][area]
    for j, spectrogram in enumerate(spectrograms):
        if j != i and torch.equal(pasted_values, spectrogram[area]):
            return j
    return i


@of_any_batch
def test_the_own_share_that_specmix_reports_is_the_unchanged_share_of_the_area_of_a_spectrogram(shape, specmix, seed):
    spectrograms, _, mixed = mix(specmix, shape, seed)
    own_area = (~pasted(mixed, spectrograms)).double().mean((1, 2))
    assert_close(mixed.own_share.double(), own_area, atol=1e-6, rtol=0)


@of_any_batch
def test_the_area_pasted_into_a_spectrogram_is_the_same_area_of_one_other_of_the_batch(shape, specmix, seed):
    spectrograms, _, mixed = mix(specmix, shape, seed)
    for i in torch.where(mixed.own_share < 1)[0].tolist():
        assert partner_of(mixed, spectrograms, i) != i


@given(shapes, specmixes(st.just(True)), seeds)
def test_a_mixed_label_weighs_two_labels_by_the_shares_of_their_spectrograms_in_the_area(shape, specmix, seed):
    spectrograms, targets, mixed = mix(specmix, shape, seed)
    labels = torch.nn.functional.one_hot(targets, 2).float()
    for i, share in enumerate(mixed.own_share):
        expected = share * labels[i] + (1 - share) * labels[partner_of(mixed, spectrograms, i)]
        assert_close(mixed.targets[i], expected, atol=1e-6, rtol=0)


@given(shapes, specmixes(st.just(False)), seeds)
def test_a_mixed_spectrogram_keeps_its_own_label_if_labels_are_not_to_be_mixed(shape, specmix, seed):
    _, targets, mixed = mix(specmix, shape, seed)
    assert torch.equal(mixed.targets, torch.nn.functional.one_hot(targets, 2).float())


@of_any_batch
def test_specmix_repeats_its_result_with_the_same_seed(shape, specmix, seed):
    *_, mixed = mix(specmix, shape, seed)
    *_, again = mix(specmix, shape, seed)
    assert all(map(torch.equal, mixed, again))


@of_any_batch
def test_specmix_does_not_change_the_spectrograms_that_it_is_given(shape, specmix, seed):
    spectrograms, _, _ = mix(specmix, shape, seed)
    assert torch.equal(spectrograms, batch_of(shape)[0])


@of_any_batch
def test_the_pasted_area_consists_of_at_most_the_set_numbers_of_full_time_and_frequency_bands(shape, specmix, seed):
    """A band spans the whole other axis; n bands cover at most n times the share gamma of their own axis."""
    spectrograms, _, mixed = mix(specmix, shape, seed)
    for mask in pasted(mixed, spectrograms):
        in_time = mask.all(1)
        in_frequency = mask.all(0)
        assert torch.equal(mask, in_time.unsqueeze(1) | in_frequency.unsqueeze(0))  # a union of full bands
        if not mask.all():
            for axis, max_bands in ((in_time, specmix.time_bands), (in_frequency, specmix.frequency_bands)):
                starts = int((torch.diff(axis.int(), prepend=torch.zeros(1, dtype=torch.int)) == 1).sum())
                assert starts <= max_bands
                assert axis.sum() <= max_bands * math.floor(specmix.gamma * len(axis))


#: Each sample has its number as its value.
NUMBERED = torch.arange(2000.0).view(2000, 1, 1).expand(2000, 2, 100)
TARGETS = torch.zeros(2000, dtype=torch.long)


@pytest.fixture(scope="module")
def one_band():
    """Half of 2,000 samples are mixed, each in one band of at most 30 of 100 frequencies; and which are mixed."""
    mixed = Specmix(frequency_bands=1, time_bands=0, probability=0.5)(NUMBERED, TARGETS, generator(1))
    return mixed, mixed.own_share < 1


def test_the_probability_of_specmix_is_the_share_of_spectrograms_that_are_mixed(one_band):
    assert 0.46 < one_band[1].float().mean() < 0.54


def test_widths_of_a_pasted_band_are_drawn_evenly_from_1_to_the_share_gamma_of_its_axis(one_band):
    mixed, selected = one_band
    widths = (1 - mixed.own_share[selected]) * 100
    assert widths.min().round() == 1
    assert widths.max().round() == 30
    counts = torch.histc(widths, 5, 0.5, 30.5)
    assert counts.max() < 1.3 * counts.min()


def test_the_partners_of_mixed_spectrograms_are_drawn_evenly_from_the_batch(one_band):
    mixed, selected = one_band
    sources = mixed.spectrograms[selected].amax((1, 2)) + mixed.spectrograms[selected].amin((1, 2))
    partners = sources - torch.arange(2000.0)[selected]
    counts = torch.histc(partners, 4, 0, 2000)
    assert counts.max() < 1.3 * counts.min()
    assert len(partners.unique()) > 500


def test_pasted_bands_of_frequencies_lie_anywhere_from_the_lowest_to_the_highest(one_band):
    mixed, selected = one_band
    masks = pasted(mixed, NUMBERED)[selected][:, 0]
    centres = (masks * torch.arange(100.0)).sum(1) / masks.sum(1)
    assert centres.min() < 10
    assert centres.max() > 90
