"""Latent augmentation perturbs spoofed embeddings by the formulas of its docstring."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from nes2net.data.augment.latent import LatentAugmentation

TARGETS = torch.tensor([0, 1, 0, 0, 1, 0, 0])
SPOOF = TARGETS == 0
KINDS = ["noise", "affine", "mixup", "interpolation", "extrapolation"]


def embeddings(dtype=torch.float64, size=16):
    return torch.randn(7, size, dtype=dtype, generator=torch.Generator().manual_seed(0))


def perturbed(x, seed=1, targets=TARGETS, **settings):
    return LatentAugmentation(**{"probability": 1.0, **settings})(x, targets, np.random.default_rng(seed))


of_each_kind = pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, torch.bfloat16) for kind in KINDS), ("noise", torch.float32), ("mixup", torch.float64)]
)


@of_each_kind
def test_latent_augmentation_perturbs_only_embeddings_of_spoofs(kind, dtype):
    x = embeddings(dtype)
    y = perturbed(x, kinds=[kind])
    assert torch.equal(y[~SPOOF], x[~SPOOF])
    assert (y != x).any(1)[SPOOF].sum() >= 4  # a share of 0 or 1 may be drawn, in half precision


@of_each_kind
def test_embeddings_whose_mixed_label_has_any_share_of_bona_fide_are_not_perturbed(kind, dtype):
    x = embeddings(dtype)
    shares = torch.tensor([[1.0, 0], [0.5, 0.5], [0, 1], [1, 0], [0.9, 0.1], [0, 1], [1, 0]])
    y = perturbed(x, targets=shares, kinds=[kind])
    assert not (y != x).any(1)[shares[:, 1] > 0].any()
    assert (y != x).any(1)[shares[:, 1] == 0].sum() >= 2


@pytest.mark.parametrize("kind, low, high", [("mixup", 0, 1), ("interpolation", 0, 0.5), ("extrapolation", -0.5, 0)])
def test_each_spoofed_embedding_is_mixed_with_a_different_spoofed_partner_on_the_line_to_it(kind, low, high):
    """The result is x + λ(x' − x) with λ in the range of the kind; no two spoofs have the same partner x'."""
    x = embeddings()
    partners = []
    for i in torch.where(SPOOF)[0]:
        y = perturbed(x, kinds=[kind], factor=0.5)
        for j in torch.where(SPOOF)[0]:
            step = y[i] - x[i]
            direction = x[j] - x[i]
            if i != j and torch.linalg.matrix_rank(torch.stack([step, direction]), rtol=1e-9) == 1:
                share = ((step @ direction) / (direction @ direction)).item()
                assert low <= share <= high
                partners.append(j.item())
    assert sorted(partners) == torch.where(SPOOF)[0].tolist()


def test_mixup_draws_the_share_of_the_partner_from_a_beta_distribution_of_parameters_one_half():
    """By default: shares near 0 and 1 are likelier than in between."""
    x = torch.tensor([[0.0], [1.0]])
    both = torch.zeros(2, dtype=torch.long)
    shares = []
    for seed in range(400):
        y = perturbed(x, seed=seed, targets=both, kinds=["mixup"])
        shares += [y[0].item(), 1 - y[1].item()]
    for share, chance in ((0.1, 0.2048), (0.5, 0.5), (0.9, 0.7952)):  # 2/π · asin(√share)
        assert np.mean(np.array(shares) < share) == pytest.approx(chance, abs=0.05)


def test_noise_added_to_an_embedding_has_the_stated_share_of_the_level_of_the_embedding():
    x = 100 * embeddings(size=4096)
    noise = (perturbed(x, kinds=["noise"], noise=0.2) - x)[SPOOF]
    assert_close(noise.std(1) / x[SPOOF].square().mean(1).sqrt(), torch.full((5,), 0.2).double(), rtol=0.05, atol=0)


def affine_map():
    """Spoofed embeddings before and after an affine map, divided by their level before, and its factor and shift.

    Two embeddings of equal level determine the map in each dimension.
    """
    x = 100 * embeddings(size=4096)
    affine = perturbed(x, kinds=["affine"], affine=0.2)[SPOOF]
    level = x[SPOOF].square().mean(1, keepdim=True).sqrt()
    before = x[SPOOF] / level
    after = affine / level
    factor = (after[0] - after[1]) / (before[0] - before[1])
    shift = after[0] - factor * before[0]
    return before, after, factor, shift


def test_all_spoofed_embeddings_of_a_batch_get_the_same_affine_map():
    before, after, factor, shift = affine_map()
    assert_close(after[2:], factor * before[2:] + shift, rtol=1e-6, atol=1e-8)


def test_the_factors_and_shifts_of_an_affine_map_of_embeddings_have_the_stated_standard_deviation():
    *_, factor, shift = affine_map()
    assert factor.std() == pytest.approx(0.2, rel=0.1)
    assert shift.std() == pytest.approx(0.2, rel=0.1)


def test_the_factors_of_an_affine_map_of_embeddings_have_the_mean_1():
    *_, factor, _ = affine_map()
    assert factor.mean() == pytest.approx(1, abs=0.02)


def test_the_probability_of_latent_augmentation_is_the_share_of_spoofed_embeddings_that_it_changes():
    x = embeddings()
    changed = torch.stack([(perturbed(x, seed=i, probability=0.3) != x).any(1)[SPOOF] for i in range(200)])
    assert changed.float().mean() == pytest.approx(0.3, abs=0.06)


def test_one_kind_of_latent_augmentation_is_drawn_for_each_batch_at_equal_rates():
    x = embeddings()
    ranks = []
    differences = x[SPOOF][1:] - x[SPOOF][0]
    for i in range(40):  # noise leaves the space of the differences of the spoofed utterances, mixup does not
        moved = (perturbed(x, seed=i, kinds=["noise", "mixup"]) - x)[SPOOF]
        ranks.append(torch.linalg.matrix_rank(torch.cat([differences, moved]), rtol=1e-9).item())
    assert set(ranks) == {4, 9}
    assert 10 <= ranks.count(4) <= 30


def test_latent_noise_of_probability_1_perturbs_every_spoofed_embedding_in_half_precision():
    x = torch.randn(3000, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert (perturbed(x, targets=torch.zeros(3000).long(), kinds=["noise"]) != x).any(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_latent_augmentation_passes_a_finite_nonzero_gradient_to_each_embedding(kind):
    x = embeddings().requires_grad_()
    (gradient,) = torch.autograd.grad(perturbed(x, kinds=[kind]).square().sum(), x)
    assert gradient.isfinite().all()
    assert (gradient != 0).any(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_latent_augmentation_of_a_batch_with_one_spoof_or_none_gives_finite_embeddings(kind):
    x = embeddings()
    for targets in (torch.tensor([1, 1, 0, 1, 1, 1, 1]), torch.ones(7, dtype=torch.long)):
        y = perturbed(x, targets=targets, kinds=[kind])
        assert y.isfinite().all()
