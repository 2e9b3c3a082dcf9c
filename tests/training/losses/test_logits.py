"""Losses of logits: the published values and gradients, and formulas written out."""

import math

import pytest
import torch
from builders import assert_near, golden
from torch import nn
from torch.testing import assert_close

from nes2net.training.losses import BinaryFocal, WeightedCrossEntropy

GOLDEN = golden.read("losses_schedules_names")


@pytest.mark.parametrize(
    "name, criterion",
    [("focal", BinaryFocal(2.0, 0.25, label_smoothing=0.1)), ("weighted_ce", WeightedCrossEntropy((0.1, 0.9)))],
)
def test_values_and_gradients_of_focal_and_weighted_cross_entropy_losses_equal_the_published_code(name, criterion):
    published = GOLDEN[name]
    shape = (len(published["labels"]), -1)
    logits = torch.tensor(published["logits"], dtype=torch.float64).reshape(shape).requires_grad_()
    loss = criterion(logits, torch.tensor(published["labels"]).long())
    loss.backward()
    assert loss.item() == pytest.approx(published["loss"], abs=1e-12)
    expected = torch.tensor(published["grad"], dtype=torch.float64).reshape(shape)
    assert_near(logits.grad, expected, 1e-12)


def test_focal_loss_and_its_gradients_are_finite_for_logits_of_200_and_minus_200():
    certain = torch.tensor([[200.0], [-200.0], [200.0]], requires_grad=True)
    loss = BinaryFocal(gamma=0.5)(certain, torch.tensor([1, 0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert certain.grad.isfinite().all()


def test_cross_entropy_of_a_batch_without_any_label_has_the_value_0_and_the_gradient_0():
    logits = torch.randn(2, 2, requires_grad=True)
    loss = WeightedCrossEntropy((0.1, 0.9))(logits, torch.zeros(2, 2))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_cross_entropy_without_normalisation_is_the_plain_mean_of_the_weighted_losses_of_pytorch():
    """Value and gradients."""
    logits = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 0, 1, 0, 0])
    plain_mean = WeightedCrossEntropy((0.1, 0.9), normalize=False)(logits, labels)
    weights = torch.tensor([0.1, 0.9], dtype=torch.float64)
    expected = (weights[labels] * nn.functional.cross_entropy(logits, labels, reduction="none")).mean()
    assert plain_mean.item() == pytest.approx(expected.item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (plain_mean, expected)]
    assert_near(*gradients, 1e-12)


def test_cross_entropy_of_mixed_labels_equals_its_formula():
    """Σ_i Σ_c w_c q_ic ℓ_ic / Σ_i Σ_c w_c q_ic, written out."""
    logits = torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
    above = 0.0
    below = 0.0
    shares = [(1 - q / 6, q / 6) for q in range(7)]
    for (a, b), (p, q) in zip(logits.tolist(), shares):
        log_sum = math.log(math.exp(a) + math.exp(b))
        above += 0.1 * p * (log_sum - a) + 0.9 * q * (log_sum - b)
        below += 0.1 * p + 0.9 * q
    loss = WeightedCrossEntropy((0.1, 0.9))(logits, torch.tensor(shares))
    assert loss.item() == pytest.approx(above / below, rel=1e-5)


def test_cross_entropy_of_smoothed_labels_equals_pytorchs():
    logits = torch.randn(5, 3, dtype=torch.float64)
    targets = torch.tensor([0, 1, 2, 2, 0])
    smoothed = WeightedCrossEntropy(label_smoothing=0.15, num_classes=3)(logits, targets)
    assert_close(smoothed, torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.15))
