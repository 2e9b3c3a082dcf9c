"""Losses agree with the published values and gradients, and parts with the whole."""

import math

import pytest
import torch
from builders import SHARED, golden
from torch import nn

from nes2net.losses import (
    AdditiveMarginSoftmax,
    AngularSoftmax,
    BinaryFocal,
    OneClassSoftmax,
    P2SGrad,
    Prototypes,
    WeightedCrossEntropy,
)

GOLDEN = golden.read("losses_schedules_names")


def criteria():
    torch.manual_seed(0)
    return {
        "cross_entropy": (WeightedCrossEntropy((0.1, 0.9)), 2),
        "plain mean": (WeightedCrossEntropy((0.1, 0.9), normalize=False), 2),
        "focal": (BinaryFocal(label_smoothing=0.1), 1),
        "angular_softmax": (AngularSoftmax(nn.Linear(6, 2, bias=False), (0.2, 0.8)), 6),
        "am_softmax": (AdditiveMarginSoftmax(6, 15.0, 0.2), 6),
        "oc_softmax": (OneClassSoftmax(6), 6),
        "p2sgrad": (P2SGrad(6), 6),
        "prototypes": (Prototypes(6), 6),
    }


@pytest.mark.parametrize(
    "name, criterion",
    [("focal", BinaryFocal(2.0, 0.25, label_smoothing=0.1)), ("weighted_ce", WeightedCrossEntropy((0.1, 0.9)))],
)
def test_values_and_gradients_are_the_published(name, criterion):
    published = GOLDEN[name]
    shape = (len(published["labels"]), -1)
    logits = torch.tensor(published["logits"], dtype=torch.float64).reshape(shape).requires_grad_()
    loss = criterion(logits, torch.tensor(published["labels"]).long())
    loss.backward()
    assert loss.item() == pytest.approx(published["loss"], rel=0, abs=1e-12)
    expected = torch.tensor(published["grad"], dtype=torch.float64).reshape(shape)
    torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", criteria())
@pytest.mark.parametrize("mixed", [False, True])
def test_parts_of_a_batch_add_up_to_the_batch(name, mixed):
    criterion, width = criteria()[name]
    outputs = torch.randn(7, width, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 0, 1, 0, 1, 0, 0])
    if mixed:
        shares = torch.linspace(0, 1, 7, dtype=torch.float64)
        targets = torch.stack([1 - shares, shares], 1)
    whole = criterion(outputs, targets, 3)
    (expected,) = torch.autograd.grad(whole, outputs)
    numerators, denominators = zip(*(criterion.parts(outputs[p], targets[p], 3) for p in (slice(0, 2), slice(2, 7))))
    weight = criterion.weight_of(targets)  # known before any output is
    torch.testing.assert_close(sum(denominators), weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(sum(numerators) / weight, whole, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(numerator / weight, outputs)[0] for numerator in numerators]
    torch.testing.assert_close(sum(gradients), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", criteria())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_outputs_in_half_precision_have_a_loss_in_float32(name, dtype):
    criterion, width = criteria()[name]
    outputs, targets = torch.randn(6, width).to(dtype), torch.arange(6) % 2
    loss = criterion(outputs, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, criterion(outputs.float(), targets), rtol=0, atol=0)


def test_focal_by_formula():
    """α·(1 − e^−ℓ)^γ·ℓ, written out, without smoothing and with other γ and α.

    A mixed label counts by its share of bona fide.
    """
    z, y = 0.7, 1
    entropy = math.log(1 + math.exp(-z))
    expected = 0.5 * (1 - math.exp(-entropy)) ** 3 * entropy
    assert BinaryFocal(3.0, 0.5)(torch.tensor([[z]]), torch.tensor([y])).item() == pytest.approx(expected, rel=1e-6)
    plain = BinaryFocal(0.0, 1.0)(torch.tensor([[z], [z]]), torch.tensor([1, 0]))
    both = nn.functional.binary_cross_entropy_with_logits(torch.tensor([z, z]), torch.tensor([1.0, 0.0]))
    assert plain.item() == pytest.approx(both.item(), rel=1e-6)
    smoothed = BinaryFocal(label_smoothing=0.1)(torch.tensor([[z]]), torch.tensor([0]))
    mixed = BinaryFocal()(torch.tensor([[z]]), torch.tensor([[0.95, 0.05]]))
    assert smoothed.item() == pytest.approx(mixed.item(), rel=1e-6)
    certain = torch.tensor([[200.0], [-200.0], [200.0]], requires_grad=True)
    loss = BinaryFocal(gamma=0.5)(certain, torch.tensor([1, 0, 0]))
    loss.backward()
    assert loss.isfinite() and certain.grad.isfinite().all()


def test_the_margin_makes_the_angle_cost_more_up_to_the_end():
    """ψ falls from 1 at θ = 0 to 1 − 2m at π, where ⌊mθ/π⌋ is m and the last piece still holds."""
    for margin in (1, 2, 3, 4):
        criterion = AngularSoftmax(nn.Linear(2, 2, bias=False), margin=margin)
        cosine = torch.linspace(1, -1, 1001, requires_grad=True)
        psi = criterion._psi(cosine)
        (slope,) = torch.autograd.grad(psi.sum(), cosine)
        assert psi[0] == 1 and psi[-1] == 1 - 2 * margin and psi.diff().max() < 0
        assert slope.min() > -1e-3 and slope[0] == slope[-1] == margin**2
    with torch.no_grad():
        criterion.head.weight.copy_(torch.eye(2))
    at_the_end = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], requires_grad=True)  # cos θ = ±1
    criterion(at_the_end, torch.tensor([0, 0, 1])).backward()
    assert at_the_end.grad.isfinite().all() and criterion.head.weight.grad.isfinite().all()


def test_the_plain_mean_of_weighted_losses_is_the_published():
    """MoE's loss; PyTorch's own sum, divided by the number of utterances, has the gradients."""
    logits = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.tensor([0, 0, 1, 0, 1, 0, 0]), torch.tensor([0.1, 0.9], dtype=torch.float64)
    found = WeightedCrossEntropy((0.1, 0.9), normalize=False)(logits, labels)
    expected = (weights[labels] * nn.functional.cross_entropy(logits, labels, reduction="none")).mean()
    assert found.item() == pytest.approx(expected.item(), rel=0, abs=1e-12)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    file = SHARED / "golden" / "zoo" / "losses.pt"
    if not file.is_file():
        pytest.skip(f"no {file}")
    content = torch.load(file, weights_only=True)
    published, labels = content["weighted_ce_unnormalised"], content["labels"]
    weights = published["class_weights"].tolist()
    for normalize, expected in ((False, published["loss"]), (True, published["loss_normalised"])):
        loss = WeightedCrossEntropy(weights, normalize=normalize)(published["logits"], labels)
        assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_margin_of_angular_softmax_grows_as_published():
    criterion = AngularSoftmax(nn.Linear(2, 2, bias=False))
    assert [criterion.annealed(step) for step in (0, 10, 10_000, None)] == [1500, 750, 5, 5]
