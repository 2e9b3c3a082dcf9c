"""Losses of logits agree with the published values, and all losses by parts, mixed labels and in half precision."""

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
HARD = torch.tensor([0, 0, 1, 0, 1, 0, 0])
SHARES = torch.stack([1 - torch.linspace(0, 1, 7).double(), torch.linspace(0, 1, 7).double()], 1)


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
@pytest.mark.parametrize("targets", [HARD, SHARES], ids=["hard", "mixed"])
def test_parts_of_a_batch_add_up_to_the_batch(name, targets):
    criterion, width = criteria()[name]
    outputs = torch.randn(7, width, dtype=torch.float64, requires_grad=True)
    whole = criterion(outputs, targets, 3)
    (expected,) = torch.autograd.grad(whole, outputs)
    numerators, denominators = zip(*(criterion.parts(outputs[p], targets[p], 3) for p in (slice(0, 2), slice(2, 7))))
    weight = criterion.weight_of(targets)  # known before any output is
    torch.testing.assert_close(sum(denominators), weight, rtol=1e-12, atol=0)
    torch.testing.assert_close(sum(numerators) / weight, whole, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(numerator / weight, outputs)[0] for numerator in numerators]
    torch.testing.assert_close(sum(gradients), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", criteria())
def test_a_mixed_label_of_one_class_is_that_class_and_half_precision_has_a_loss_in_float32(name):
    """The numerator of most losses is linear in the shares."""
    criterion, width = criteria()[name]
    outputs, whole = torch.randn(7, width), nn.functional.one_hot(HARD, 2).float()
    mixed = [criterion.parts(outputs, q)[0] for q in (HARD, whole, 1 - whole, whole.flip(1) / 2 + whole / 2)]
    torch.testing.assert_close(mixed[1], mixed[0])
    if name not in ("focal", "p2sgrad"):
        torch.testing.assert_close(mixed[3], (mixed[0] + mixed[2]) / 2)
    for dtype in (torch.float16, torch.bfloat16):
        loss = criterion(outputs.to(dtype), HARD)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, criterion(outputs.to(dtype).float(), HARD), rtol=0, atol=0)


def test_focal_by_formula():
    """α·(1 − e^−ℓ)^γ·ℓ, written out, without smoothing and with other γ and α.

    A mixed label counts by its share of bona fide.
    """
    z = torch.tensor([[0.7]])
    entropy = math.log(1 + math.exp(-0.7))
    expected = 0.5 * (1 - math.exp(-entropy)) ** 3 * entropy
    assert BinaryFocal(3.0, 0.5)(z, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)
    smoothed = BinaryFocal(label_smoothing=0.1)(z, torch.tensor([0]))
    assert smoothed.item() == pytest.approx(BinaryFocal()(z, torch.tensor([[0.95, 0.05]])).item(), rel=1e-6)
    certain = torch.tensor([[200.0], [-200.0], [200.0]], requires_grad=True)
    loss = BinaryFocal(gamma=0.5)(certain, torch.tensor([1, 0, 0]))
    loss.backward()
    assert loss.isfinite() and certain.grad.isfinite().all()


def test_the_plain_mean_of_weighted_losses_is_the_published():
    """MoE's loss; PyTorch's own sum, divided by the number of utterances, has the gradients."""
    logits = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    found = WeightedCrossEntropy((0.1, 0.9), normalize=False)(logits, HARD)
    weights = torch.tensor([0.1, 0.9], dtype=torch.float64)
    expected = (weights[HARD] * nn.functional.cross_entropy(logits, HARD, reduction="none")).mean()
    assert found.item() == pytest.approx(expected.item(), rel=0, abs=1e-12)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    file = SHARED / "golden" / "zoo" / "losses.pt"
    if not file.is_file():
        pytest.skip(f"no {file}")
    content = torch.load(file, weights_only=True)
    published, labels = content["weighted_ce_unnormalised"], content["labels"]
    for normalize, expected in ((False, published["loss"]), (True, published["loss_normalised"])):
        loss = WeightedCrossEntropy(published["class_weights"].tolist(), normalize=normalize)
        assert loss(published["logits"], labels).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_mixed_labels():
    """Σ_i Σ_c w_c q_ic ℓ_ic / Σ_i Σ_c w_c q_ic, written out."""
    logits, above, below = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), 0.0, 0.0
    for (a, b), (p, q) in zip(logits.tolist(), SHARES.tolist()):
        log_sum = math.log(math.exp(a) + math.exp(b))
        above += 0.1 * p * (log_sum - a) + 0.9 * q * (log_sum - b)
        below += 0.1 * p + 0.9 * q
    assert WeightedCrossEntropy((0.1, 0.9))(logits, SHARES).item() == pytest.approx(above / below, rel=1e-5)
