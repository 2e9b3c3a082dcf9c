"""Back-ends that score frames, and utterances by their frames."""

import pytest
import torch
from builders import assert_near, input_error
from torch import Tensor
from torch.testing import assert_close

from nes2net import create_backend
from nes2net.models.backends.base import scores_of
from nes2net.models.backends.frame_backend import FrameBackend

OPTIONS = {
    **{name: {"nes_ratio": (4, 4)} for name in ("nes2net", "nes2net_x", "nes2net_x_selu", "nes2net_la")},
    "mean_linear": {"projection_dim": 6},
}
every = pytest.mark.parametrize("name", OPTIONS)


def create(name: str = "nes2net_x", **options) -> FrameBackend:
    torch.manual_seed(0)
    return create_backend(name, feature_dim=16, **OPTIONS[name], **options).double().eval()


def features(frames: int = 9) -> Tensor:
    return torch.randn(3, frames, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@every
def test_the_mean_of_the_logits_of_frames_is_the_logit_of_the_utterance_with_or_without_pooling(name):
    """Of `utterance="mean"`, the default: the last layer is linear."""
    pooled = create(name)
    framed = create(name, pool=None)
    framed.load_state_dict(pooled.state_dict())
    with torch.no_grad():
        logits = framed(features())
        expected = pooled(features())
        assert logits.std(dim=1).min() > 1e-3
        assert_near(logits.mean(dim=1), expected, 1e-12)
        assert_close(framed.utterance_logits(features()), expected)


@every
def test_with_or_without_pooling_segments_of_one_frame_have_the_logits_of_frames(name):
    framed = create(name, pool=None)
    for backend in (create(name), framed):
        assert torch.equal(backend.segments(features(), 16.0)[16.0], framed(features()))


@every
def test_segments_and_embedding_of_one_pass_equal_those_of_separate_passes(name):
    """The last layer gives the logits of the utterance for its embedding."""
    for utterance in ("mean", "min", "attentive"):
        backend = create(name, pool=None, utterance=utterance)
        with torch.no_grad():
            segments, embedding = backend.segments_and_embedding(features())
            assert torch.equal(segments[20.0], backend(features()))
            assert_close(embedding, backend.embed(features()))
            assert_close(backend.last_layer(embedding), backend.utterance_logits(features()))


@pytest.mark.parametrize(
    "options",
    [
        *({"score_rule": rule} for rule in ("logit", "difference", "probability")),
        {"head": "p2sgrad"},
        {"num_logits": 1},
    ],
)
def test_with_utterance_min_the_score_of_an_utterance_is_the_lowest_of_its_frames(options):
    backend = create(pool=None, utterance="min", **options)
    with torch.no_grad():
        frames = backend(features(40))
        logits = backend.utterance_logits(features(40))
    scores = scores_of(frames.flatten(0, 1), backend.score_rule).unflatten(0, (3, 40))
    assert_close(backend.scores(logits), scores.min(dim=1).values)
    assert len(set(scores.argmin(dim=1).tolist())) > 1  # the frame is chosen for each utterance


def test_with_utterance_min_the_gradient_reaches_only_the_frame_with_the_lowest_score():
    backend = create("mean_linear", pool=None, utterance="min", score_rule="logit")
    x = features().requires_grad_()
    backend.utterance_logits(x)[:, 1].sum().backward()
    lowest = backend(x)[..., 1].argmin(dim=1)
    assert x.grad.abs().sum(2).nonzero().tolist() == [[i, frame] for i, frame in enumerate(lowest.tolist())]


def test_with_utterance_attentive_the_logits_of_frames_are_weighted_by_a_softmax():
    backend = create(pool=None, utterance="attentive")
    first = backend.pooling.linear1
    second = backend.pooling.linear2
    with torch.no_grad():
        frames = backend.frames(features())
        energies = torch.tanh(frames @ first.weight.squeeze(2).T + first.bias) @ second.weight.squeeze(2).T
        expected = (energies.softmax(dim=1) * backend(features())).sum(dim=1)
        assert_close(backend.utterance_logits(features()), expected)


def test_segments_of_pooled_statistics_and_utterance_min_of_pooled_frames_are_refused():
    astp = create(pool="astp")
    assert astp.resolutions == ()
    with input_error("statistics of `model.backend.pool=astp`, not frames: use"):
        astp.segments(features())
    with input_error("backend.utterance=min` reads the frames, .* set `model.backend.pool=null`"):
        create(utterance="min")
