"""The contract of a back-end: logits in float32, and what back-ends of other packages may do."""

import pytest
import torch
from torch import nn

from nes2net import Detector, InputError, create_backend
from nes2net.models.backends.base import LogitLayer
from nes2net.models.backends.heads import AngularHead
from nes2net.scoring.kernel import score_or_raise


def embeddings(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(24, 64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_logit_layer_is_a_linear_layer(dtype):
    """With its names, numbers and gradients, bit for bit."""
    layer, plain = LogitLayer(64, 2).to(dtype), nn.Linear(64, 2).to(dtype)
    plain.load_state_dict(layer.state_dict())
    gradients = []
    given = embeddings(dtype)
    for linear in (layer, plain):
        x = given.clone().requires_grad_()
        logits = linear(x)
        logits.square().sum().backward()
        gradients.append([logits, x.grad, *(p.grad for p in linear.parameters())])
    assert all(a.dtype == dtype and torch.equal(a, b) for a, b in zip(*gradients))


@pytest.mark.parametrize("build", [LogitLayer, AngularHead])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_what_goes_in_and_not_what_comes_out(build, precision):
    layer, x = build(64, 2), embeddings(precision)
    with torch.autocast("cpu", precision):
        assert torch.equal(layer(x), layer(x.float())) and layer(x).dtype == torch.float32
    assert torch.equal(layer(x), layer(x.float()))
    layer.to(precision)
    found = layer(x)
    found.sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} == {precision}
    assert torch.equal(found, layer.float()(x.float()))


@pytest.mark.parametrize("rule, expected", [("logit", 2.0), ("difference", 3.0), ("probability", 0.95257413)])
def test_the_detector_applies_the_score_rule_of_its_back_end(rule, expected):
    torch.manual_seed(0)
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4], "score_rule": rule}
    detector = Detector.from_config({"frontend": {"name": "lps", "num_bins": 64}, "backend": backend}).eval()
    assert detector.backend.scores(torch.tensor([[-1.0, 2.0]])).item() == pytest.approx(expected)
    waveforms = 0.1 * torch.randn(2, 16000)
    with torch.no_grad():
        scores = detector.backend.scores(detector(waveforms))
    assert score_or_raise(detector, waveforms) == pytest.approx(scores.tolist(), rel=1e-6)
    assert detector.config["backend"]["score_rule"] == detector.score_rule == rule


RULES = {
    "cosine": "difference",
    "one_class": "cosine",
    "angular": "logit",
    "p2sgrad": "cosine",
    "prototypes": "difference",
}


@pytest.mark.parametrize("head", RULES)
def test_any_back_end_takes_any_head(head):
    features = torch.randn(3, 20, 64)
    for name in ("nes2net_x", "asp_mlp", "tcm") if head == "cosine" else ("asp_mlp",):
        backend = create_backend(name, feature_dim=64, head=head)
        logits = backend(features)
        assert logits.shape == (3, 2) and backend.score_rule == RULES[head]
        assert torch.equal(logits, backend.last_layer(backend.embed(features)))
        if head != "angular":
            assert logits.abs().max() <= 1 + 1e-6


def test_a_rule_that_compares_two_logits_refuses_one():
    with pytest.raises(InputError, match="compares 2 logits, the back-end gives 1: set num_logits=2"):
        create_backend("asp_mlp", feature_dim=8, score_rule="difference").scores(torch.zeros(3, 1))
