"""The contract of a back-end: logits in float32, and what back-ends of other packages may do."""

import pytest
import torch
from builders import input_error
from builders.runs import same
from torch import nn
from torch.testing import assert_close

from nes2net import Detector, create_backend
from nes2net.models.backends.base import LogitLayer
from nes2net.models.backends.heads import AngularHead
from nes2net.scoring.kernel import score_or_raise


def embeddings(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(24, 64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_logit_layer_has_the_numbers_and_gradients_of_a_linear_layer_to_the_bit(dtype):
    layer = LogitLayer(64, 2).to(dtype)
    plain = nn.Linear(64, 2).to(dtype)
    plain.load_state_dict(layer.state_dict())
    gradients = []
    inputs = embeddings(dtype)
    for linear in (layer, plain):
        x = inputs.clone().requires_grad_()
        logits = linear(x)
        logits.square().sum().backward()
        gradients.append([logits, x.grad, *(p.grad for p in linear.parameters())])
    assert same(*gradients)


@pytest.mark.parametrize("build", [LogitLayer, AngularHead])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_a_last_layer_gives_logits_of_float32_in_half_precision(build, precision):
    """Under autocast, for rounded inputs, and with rounded weights."""
    layer = build(64, 2)
    x = embeddings(precision)
    with torch.autocast("cpu", precision):
        assert torch.equal(layer(x), layer(x.float()))
        assert layer(x).dtype == torch.float32
    assert torch.equal(layer(x), layer(x.float()))
    logits = layer.to(precision)(x)
    assert torch.equal(logits, layer.float()(x.float()))


@pytest.mark.parametrize("rule", ["logit", "difference", "probability"])
def test_a_detector_scores_recordings_by_the_score_rule_of_its_back_end(rule):
    torch.manual_seed(0)
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4], "score_rule": rule}
    detector = Detector.from_config({"frontend": {"name": "lps", "num_bins": 64}, "backend": backend}).eval()
    waveforms = 0.1 * torch.randn(2, 16000)
    with torch.no_grad():
        scores = detector.backend.scores(detector(waveforms))
    assert score_or_raise(detector, waveforms) == pytest.approx(scores.tolist(), rel=1e-6)


RULES = {
    "cosine": "difference",
    "one_class": "cosine",
    "angular": "logit",
    "p2sgrad": "cosine",
    "prototypes": "difference",
}


@pytest.mark.parametrize("head", RULES)
def test_logits_of_a_back_end_are_those_of_its_head_for_the_embedding(head):
    """The score rule is that of the head."""
    features = torch.randn(3, 20, 64)
    for name, options in (("nes2net_x", {"nes_ratio": [4, 4]}), ("asp_mlp", {}), ("tcm", {"num_blocks": 1})):
        backend = create_backend(name, feature_dim=64, head=head, **options)
        assert backend.score_rule == RULES[head]
        assert torch.equal(backend(features), backend.last_layer(backend.embed(features)))


LOGITS = 4 * torch.randn(1000, 5, generator=torch.Generator().manual_seed(0))


def test_the_score_by_difference_is_the_log_odds_of_the_last_logit():
    """Of two logits their difference, of a single one itself."""
    odds = create_backend("asp_mlp", score_rule="difference")
    assert torch.equal(odds.scores(LOGITS[:, :1]), LOGITS[:, 0])
    assert torch.equal(odds.scores(LOGITS[:, :2]), LOGITS[:, 1] - LOGITS[:, 0])
    posterior = LOGITS.double().softmax(1)[:, -1]
    assert_close(odds.scores(LOGITS).double(), torch.logit(posterior), rtol=1e-4, atol=1e-4)


def test_the_scores_by_logit_and_by_probability_are_the_last_logit_and_its_softmax():
    assert torch.equal(create_backend("asp_mlp", score_rule="logit").scores(LOGITS), LOGITS[:, -1])
    probability = create_backend("asp_mlp", score_rule="probability")
    for logits in (LOGITS, LOGITS[:, :2]):
        assert_close(probability.scores(logits), logits.softmax(1)[:, -1])


def test_posteriors_of_several_logits_are_their_softmax_and_of_a_single_one_its_sigmoid():
    backend = create_backend("asp_mlp")
    assert_close(backend.posteriors(LOGITS), LOGITS.double().softmax(1))
    assert_close(backend.posteriors(LOGITS[:, :1])[:, 1], torch.sigmoid(LOGITS[:, 0].double()))


def test_a_detector_has_the_same_classes_and_posteriors_after_it_was_saved_and_loaded(tmp_path):
    backend = {"name": "mean_linear", "num_logits": 3, "classes": ["A01", "A02", "bonafide"]}
    detector = Detector.from_config({"frontend": {"name": "lps", "num_bins": 64}, "backend": backend}).eval()
    waveforms = torch.randn(2, 16000)
    for path in (tmp_path / "detector.pth", tmp_path / "folder"):
        detector.save(path)
        loaded = Detector.from_pretrained(path, "cpu")
        assert loaded.classes == ("A01", "A02", "bonafide")
        assert torch.equal(loaded.posteriors(waveforms), detector.posteriors(waveforms))


def test_a_list_of_classes_without_a_different_name_for_each_logit_is_refused():
    for names in (["A01", "A02"], ["A01", "A01", "bonafide"], ["A01", "A02", "A02", "bonafide"]):
        with input_error("classes must have 3 different names, because num_logits is 3, not A01"):
            create_backend("mean_linear", num_logits=3, classes=names)
