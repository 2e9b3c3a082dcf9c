"""Losses over the vectors of a head: the published values, heads that go with them, training."""

import pytest
import torch
from builders.golden import FOLDER

from nes2net.training.losses import (
    AdditiveMarginSoftmax,
    OneClassSoftmax,
    P2SGrad,
    additive_margin_losses,
)

GOLDEN = torch.load(FOLDER / "vector_losses.pt", weights_only=True)
BONAFIDE_FIRST = torch.tensor([1, 0])  # the published columns of am_softmax, put into ours


def embeddings():
    return GOLDEN["embeddings"].double().requires_grad_()


def check(criterion, name, vectors, gradient, durations=None):
    """Value and gradients in float64."""
    expected = GOLDEN[name]
    x = embeddings()
    criterion.double()
    loss = criterion(x, GOLDEN["labels"])
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss_f64"], rel=0, abs=1e-10)
    torch.testing.assert_close(x.grad, expected["grad_embeddings_f64"], rtol=0, atol=1e-10)
    torch.testing.assert_close(vectors.grad, gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["oc_softmax", "oc_softmax_defaults"])
def test_one_class_softmax_is_the_published(name):
    config = GOLDEN[name]["config"]
    criterion = OneClassSoftmax(16, config["alpha"], config["m_real"], config["m_fake"])
    criterion.load_state_dict({"center": GOLDEN[name]["center"]})
    check(criterion, name, criterion.center, GOLDEN[name]["grad_center_f64"])
    score = criterion.logits(embeddings())[:, 1]
    torch.testing.assert_close(score, GOLDEN[name]["score_f64"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["am_softmax", "am_softmax_s15_m02"])
def test_additive_margin_softmax_is_the_published(name):
    config = GOLDEN[name]["config"]
    criterion = AdditiveMarginSoftmax(16, config["scale"], config["margin"])
    criterion.load_state_dict({"centers": GOLDEN[name]["centers_published_row0_is_bonafide"][BONAFIDE_FIRST]})
    check(criterion, name, criterion.centers, GOLDEN[name]["grad_centers_f64"][BONAFIDE_FIRST])


@pytest.mark.parametrize("name", ["am_softmax_fixed_margin", "am_softmax_duration_margin"])
def test_a_margin_by_duration_is_that_of_the_third_party(name):
    published = GOLDEN[name]
    config = published["config"]
    margin = ("duration", config["slope"], config["intercept"]) if config["adaptive"] else config["margin"]
    criterion = AdditiveMarginSoftmax(16, config["scale"], margin)
    cosines = published["cosines"].double().requires_grad_()
    margins = criterion._margins(published["durations_s"].double())
    losses = additive_margin_losses(cosines, criterion.scale, margins)
    loss = losses.gather(1, published["labels_column1_is_bonafide"][:, None]).mean()
    loss.backward()
    assert loss.item() == pytest.approx(published["loss_f64"], rel=0, abs=1e-10)
    torch.testing.assert_close(cosines.grad, published["grad_cosines_f64"], rtol=0, atol=1e-10)


def test_p2sgrad_is_the_published():
    criterion = P2SGrad(16)
    criterion.load_state_dict({"weight": GOLDEN["p2sgrad"]["weight"]})
    check(criterion, "p2sgrad", criterion.weight, GOLDEN["p2sgrad"]["grad_weight_f64"])
    torch.testing.assert_close(criterion.logits(embeddings()), GOLDEN["p2sgrad"]["cosines_f64"], rtol=0, atol=1e-12)
