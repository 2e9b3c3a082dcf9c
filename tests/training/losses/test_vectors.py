"""Losses over the vectors of a head: the published values, and formulas written out."""

import math

import pytest
import torch
from builders import assert_near, golden
from torch import nn
from torch.testing import assert_close

from nes2net.models.backends.heads import AngularHead, renormed_cosines
from nes2net.models.registry import create_head
from nes2net.training.losses import (
    AdditiveAngularMarginSoftmax,
    AdditiveMarginSoftmax,
    AngularSoftmax,
    OneClassSoftmax,
    P2SGrad,
    Prototypes,
    vectors,
)

GOLDEN = golden.read("vector_losses")
BONAFIDE_FIRST = torch.tensor([1, 0])  # the published columns of am_softmax, put into ours


def embeddings():
    return GOLDEN["embeddings"].double().requires_grad_()


def check(criterion, name, gradient):
    """Value and gradients in float64, of embeddings and of the vectors."""
    x = embeddings()
    criterion.double()
    loss = criterion(x, GOLDEN["labels"])
    loss.backward()
    assert loss.item() == pytest.approx(GOLDEN[name]["loss_f64"], abs=1e-10)
    assert_near(x.grad, GOLDEN[name]["grad_embeddings_f64"], 1e-10)
    assert_near(next(criterion.parameters()).grad, gradient, 1e-10)


@pytest.mark.parametrize("name", ["oc_softmax", "oc_softmax_defaults"])
def test_loss_gradients_and_score_of_one_class_softmax_equal_those_of_the_published_code(name):
    config = GOLDEN[name]["config"]
    criterion = OneClassSoftmax(16, config["alpha"], config["m_real"], config["m_fake"])
    criterion.load_state_dict({"center": GOLDEN[name]["center"]})
    check(criterion, name, GOLDEN[name]["grad_center_f64"])
    score = criterion.logits(embeddings())[:, 1]
    assert_near(score, GOLDEN[name]["score_f64"], 1e-12)


@pytest.mark.parametrize("name", ["am_softmax", "am_softmax_s15_m02"])
def test_loss_and_gradients_of_additive_margin_softmax_equal_those_of_the_published_code(name):
    config = GOLDEN[name]["config"]
    criterion = AdditiveMarginSoftmax(16, config["scale"], config["margin"])
    criterion.load_state_dict({"centers": GOLDEN[name]["centers_published_row0_is_bonafide"][BONAFIDE_FIRST]})
    check(criterion, name, GOLDEN[name]["grad_centers_f64"][BONAFIDE_FIRST])


FOUR_CLASSES = golden.read("tracing/losses")


def four_classes(loss):
    """A parametrisation over the cases of ``loss``."""
    cases = [case for case in FOUR_CLASSES["cases"] if case["loss"] == loss]
    assert cases
    return pytest.mark.parametrize("case", cases)


def class_vectors():
    return nn.Parameter(torch.tensor(FOUR_CLASSES["weights"], dtype=torch.float64))


def check_case(case, loss_of, weights, tolerance):
    """Compare the loss of each sample and the norms of the gradients with those of the formula in float64."""
    x = torch.tensor(FOUR_CLASSES["embeddings"], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(FOUR_CLASSES["labels"])
    losses = torch.stack([loss_of(row[None], label[None]) for row, label in zip(x, labels)])
    assert losses.tolist() == pytest.approx(case["per_sample"], abs=tolerance)
    gradients = torch.autograd.grad(losses.mean(), (x, weights))
    norms = [gradient.norm().item() for gradient in gradients]
    assert norms == pytest.approx([case["grad_norm_embeddings"], case["grad_norm_weights"]], rel=1e-6)


def check_margin(case, loss_class, tolerance):
    criterion = loss_class(3, case["scale"], case["margin"], num_classes=4)
    criterion.head.centers = class_vectors()
    check_case(case, criterion, criterion.head.centers, tolerance)


@four_classes("am_softmax")
def test_am_softmax_of_four_classes_equals_its_formula(case):
    """The margin is rounded to float32, as in the published code."""
    check_margin(case, AdditiveMarginSoftmax, 2e-6)


@four_classes("aam_softmax")
def test_aam_softmax_of_four_classes_equals_its_formula(case):
    """One sample lies beyond π − margin, where the loss is steeper."""
    check_margin(case, AdditiveAngularMarginSoftmax, 1e-9)


def assert_margin_at(step, margin):
    """The margin of AAM-softmax with a warm-up of ten steps to 0.5."""
    criterion = AdditiveAngularMarginSoftmax(3, margin=0.5, margin_warmup=10)
    batch = torch.ones(1, 3), torch.tensor([0])
    with_margin = AdditiveAngularMarginSoftmax(3, margin=margin, head=criterion.head)
    assert criterion(*batch, step) == with_margin(*batch)


@pytest.mark.parametrize("step, margin", [(0, 0.0), (5, 0.25), (10, 0.5), (11, 0.5)])
def test_the_margin_of_aam_softmax_rises_evenly_to_its_final_value_in_its_warm_up(step, margin):
    assert_margin_at(step, margin)


def test_the_margin_of_aam_softmax_is_the_final_one_in_validation():
    """Validation has no step number."""
    assert_margin_at(None, 0.5)


@pytest.mark.parametrize(
    "name, margin",
    [("am_softmax_fixed_margin", 0.2), ("am_softmax_duration_margin", ("duration", 0.06, 0.14))],
    ids=["fixed", "by duration"],
)
def test_loss_and_gradients_of_am_softmax_with_a_fixed_or_duration_margin_equal_third_party_code(
    name, margin, monkeypatch
):
    monkeypatch.setattr(vectors, "cosines", lambda cosines, _: cosines)  # the reference begins with cosines
    published = GOLDEN[name]
    criterion = AdditiveMarginSoftmax(16, 15.0, margin)
    cosines = published["cosines"].double().requires_grad_()
    losses = criterion._losses_by_class(cosines, None, published["durations_s"].double())
    loss = losses.gather(1, published["labels_column1_is_bonafide"][:, None]).mean()
    loss.backward()
    assert loss.item() == pytest.approx(published["loss_f64"], abs=1e-10)
    assert_near(cosines.grad, published["grad_cosines_f64"], 1e-10)


def test_loss_gradients_and_logits_of_p2sgrad_equal_those_of_the_published_code():
    criterion = P2SGrad(16)
    criterion.load_state_dict({"weight": GOLDEN["p2sgrad"]["weight"]})
    check(criterion, "p2sgrad", GOLDEN["p2sgrad"]["grad_weight_f64"])
    assert_near(criterion.logits(embeddings()), GOLDEN["p2sgrad"]["cosines_f64"], 1e-12)


def test_renormed_cosines_scale_weight_columns_shorter_than_1e_5_by_1e5_and_others_to_unit_length():
    weight = torch.tensor([[3e-6, 3.0], [0, 4.0]])
    expected = torch.tensor([[0.3, 0.6]])
    assert_close(renormed_cosines(torch.tensor([[1.0, 0.0]]), weight), expected, rtol=1e-2, atol=0)


def prototypes(*options, **penalties):
    """The loss with prototypes at the angles 0.3 for bona fide, and 1.0 and 2.5 for spoof."""
    head = create_head({"name": "prototypes", "spoof_prototypes": 2}, 2, 2)
    criterion = Prototypes(2, *options, **penalties, head=head)
    angles = torch.tensor([0.3, 1.0, 2.5])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    head.load_state_dict({"bonafide": vectors[:1], "spoof": 3 * vectors[1:]})
    return criterion


def test_the_loss_of_prototypes_equals_its_formula():
    """The nearest prototype of a class, ArcFace's margin, and the two penalties."""
    criterion = prototypes(5.0, 0.3, collapse_penalty=0.7, separation_penalty=0.9)
    targets = torch.tensor([0, 1, 0])
    similarities = torch.tensor([0.9, 0.5, 3.14])  # nearest spoof prototypes: 1.0, 1.0, 2.5
    x = 2 * torch.stack([similarities.cos(), similarities.sin()], dim=1)
    bonafide = (similarities - 0.3).abs()
    spoof = torch.stack([(similarities - 1.0).abs(), (similarities - 2.5).abs()]).amin(0)
    losses = [
        -torch.log_softmax(5 * torch.stack([(spoof + 0.3).cos(), bonafide.cos()]), 0)[0],
        -torch.log_softmax(5 * torch.stack([spoof.cos(), (bonafide + 0.3).cos()]), 0)[1],
    ]
    class_loss = torch.where(targets == 0, losses[0], losses[1]).mean()
    # cos 2.2 is below 0
    collapse = torch.tensor(1.5).cos()
    separation = torch.tensor(0.7).cos() / 2
    assert_close(criterion(x, targets), class_loss + 0.7 * collapse + 0.9 * separation)


def test_the_loss_of_prototypes_has_the_published_scale_margin_and_penalties_by_default():
    batch = torch.randn(2, 2), torch.tensor([0, 1])
    assert torch.equal(prototypes()(*batch), prototypes(20.0, 0.2, 0.1, 0.1)(*batch))


def test_the_gradient_of_the_prototypes_loss_is_finite_for_an_embedding_opposite_to_a_prototype():
    criterion = prototypes()
    opposite = torch.tensor([[math.cos(1.0 + math.pi), math.sin(1.0 + math.pi)]], requires_grad=True)
    assert torch.autograd.grad(criterion(opposite, torch.tensor([0])), opposite)[0].isfinite().all()


def psi(theta, margin):
    """(−1)^k cos(mθ) − 2k on the k-th piece of [0, π], as in the SphereFace paper."""
    k = min(int(margin * theta / math.pi), margin - 1)
    return (-1) ** k * math.cos(margin * theta) - 2 * k


@pytest.mark.parametrize(
    "margin, step, annealed", [(1, 0, 1500.0), (2, 100, 1500 / 11), (3, 10**6, 5.0), (4, None, 5.0), (4, 0, 1500.0)]
)
def test_angular_softmax_equals_the_formula_of_its_paper_at_each_state_of_its_annealing(margin, step, annealed):
    """For mixed labels, too."""
    head = AngularHead(6, 2).double()
    embeddings = torch.randn(7, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shares = torch.tensor([0, 0, 1, 1, 0.3, 0.5, 0.9])  # of bona fide
    criterion = AngularSoftmax(head, (0.2, 0.8), margin=margin)
    above = 0.0
    below = 0.0
    for x, q in zip(embeddings, shares.tolist()):
        norm = x.norm().item()
        cosines = [torch.cosine_similarity(x, w, dim=0).item() for w in head.weight.detach()]
        for c, weight in ((0, 0.2 * (1 - q)), (1, 0.8 * q)):
            theta = math.acos(cosines[c])
            target = norm * (annealed * cosines[c] + psi(theta, margin)) / (1 + annealed)
            above += weight * (math.log(math.exp(target) + math.exp(norm * cosines[1 - c])) - target)
            below += weight
    loss = criterion(embeddings, torch.stack([1 - shares, shares], 1), step)
    assert loss.item() == pytest.approx(above / below, rel=1e-4)


def test_logits_of_angular_softmax_are_the_norm_times_the_differences_of_cosines():
    """The differences from the first cosine; the norm is that of the embedding."""
    head = AngularHead(6, 2).double()
    embeddings = torch.randn(7, 6, dtype=torch.float64)
    cosines = torch.cosine_similarity(embeddings[:, None], head.weight, dim=2)
    logits = embeddings.norm(dim=1, keepdim=True) * (cosines - cosines[:, :1])
    assert_close(AngularSoftmax(head).logits(embeddings), logits, rtol=1e-9, atol=1e-12)


def test_gradients_of_angular_softmax_are_finite_for_angles_of_0_and_180_degrees():
    criterion = AngularSoftmax(nn.Linear(2, 2, bias=False), margin=4)
    with torch.no_grad():
        criterion.head.weight.copy_(torch.eye(2))
    at_the_end = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], requires_grad=True)  # cos θ = ±1
    criterion(at_the_end, torch.tensor([0, 0, 1])).backward()
    assert at_the_end.grad.isfinite().all()
    assert criterion.head.weight.grad.isfinite().all()
